"""Volumes of lesions as a DICOM structured report (SR, template TID 1500), tied to their segmentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pydicom
from pydicom.sr.codedict import codes

from ...severity import MEANINGS
from ..burden import class_column
from ..styles import ClassStyle
from .measurement_report import measurement_report
from .segmentation import segments
from .source import SCHEME, Algorithm, Source

PROCEDURE = ("LN", "24627-2", "CT Chest")
SHARE = ("share-of-lung", SCHEME, "Share of lung volume")
ALL_LESIONS = "all lesions"


def structured_report(
    burden: Mapping[str, Any],
    made: pydicom.Dataset,
    source: Source,
    styles: Sequence[ClassStyle],
    algorithm: Algorithm,
) -> pydicom.Dataset:
    """A report of the volume and the share of the lung of each lesion class, and of all together with their severity.

    Each class refers to its segment, and so to the slices that it was found in. Volumes are in ml, shares in percent
    (UCUM). What was not measured, because the pixel size or the lung is not known, is left out.

    Args:
        burden: from ``common.report.burden.lesion_burden``.
        made: the segmentation, from ``segmentation``.
        source: the series.
        styles: classes of the mask; lung and background are no findings.
        algorithm: what made the mask.
    """
    import highdicom as hd

    lung, millilitre = burden.get("lung_ml"), hd.sr.CodedConcept("ml", "UCUM", "Milliliter")

    def measured(volume: Any, share: Any = None) -> list[Any]:
        found = []
        if volume is not None:
            found.append(hd.sr.Measurement(name=codes.SCT.Volume, value=float(volume), unit=millilitre))
            share = float(volume) / float(lung) if share is None and lung else share
        if share is not None:
            name = hd.sr.CodedConcept(*SHARE)
            found.append(hd.sr.Measurement(name=name, value=round(100 * float(share), 2), unit=codes.UCUM.Percent))
        return found

    frames = made.PerFrameFunctionalGroupsSequence
    found_in = {frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber for frame in frames}
    groups: list[Any] = []
    for number, style in enumerate(segments(styles), start=1):
        if not style.is_lesion:
            continue
        scheme, value, meaning = style.code
        common: dict[str, Any] = {
            "tracking_identifier": hd.sr.TrackingIdentifier(
                uid=source.uid("tracking", style.name, algorithm.weights), identifier=style.name
            ),
            "finding_type": hd.sr.CodedConcept(value, scheme, meaning),
            "finding_sites": [hd.sr.FindingSite(codes.SCT.Lung)],
            "measurements": measured(burden.get(class_column(style.name))),
        }
        if number in found_in:
            segment = hd.sr.ReferencedSegment.from_segmentation(made, segment_number=number)
            groups.append(
                hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_segment=segment, **common)
            )
        else:
            groups.append(hd.sr.MeasurementsAndQualitativeEvaluations(**common))
    graded = []
    if burden.get("severity"):
        grade = str(burden["severity"])
        meaning = f"{grade}: {MEANINGS[grade]} involved"
        graded = [hd.sr.QualitativeEvaluation(codes.SCT.Severity, hd.sr.CodedConcept(grade, SCHEME, meaning))]
    groups.append(
        hd.sr.MeasurementsAndQualitativeEvaluations(
            tracking_identifier=hd.sr.TrackingIdentifier(
                uid=source.uid("tracking", ALL_LESIONS, algorithm.weights), identifier=ALL_LESIONS
            ),
            finding_type=codes.SCT.Lesion,
            finding_sites=[hd.sr.FindingSite(codes.SCT.Lung)],
            measurements=measured(burden.get("lesion_ml"), burden.get("share_of_lung")),
            qualitative_evaluations=graded,
        )
    )
    parts = (str(made.SOPInstanceUID), *(f"{key} {value}" for key, value in sorted(burden.items())))
    return measurement_report(groups, PROCEDURE, [*source.images, made], source, algorithm, parts)
