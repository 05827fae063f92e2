"""A diagnosis of an ultrasound clip as a DICOM structured report (SR, template TID 1500)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pydicom
from pydicom.sr.codedict import codes

from .measurement_report import measurement_report
from .source import SCHEME, Algorithm, Source

PROCEDURE = ("SCT", "16310003", "Diagnostic Ultrasonography")
DIAGNOSIS = ("439401001", "SCT", "Diagnosis")
DECISION = "decision"
PERCENT = 2  # decimals


def diagnosis_report(
    found: Mapping[str, Any], diagnoses: Mapping[str, tuple[str, ...]], source: Source, algorithm: Algorithm
) -> pydicom.Dataset:
    """A report of the probability of each diagnosis, of the most probable one, and of the maps that decided.

    Probabilities are the network's own, and shares are of the image, both in percent (UCUM).

    Args:
        found: row of ``cases.csv``: ``diagnosis``, ``probability_<diagnosis>``, ``share_<map>``.
        diagnoses: codes: scheme, value, meaning.
        source: the clip, from ``read_instance``.
        algorithm: what diagnosed.

    Raises:
        ValueError: if a diagnosis has no code.
    """
    import highdicom as hd  # here, because it takes a second to import and only DICOM needs it

    (clip,) = source.images
    image = hd.sr.SourceImageForMeasurementGroup(clip.SOPClassUID, clip.SOPInstanceUID)
    common: dict[str, Any] = {"finding_sites": [hd.sr.FindingSite(codes.SCT.Lung)], "source_images": [image]}

    def concept(name: str) -> Any:
        if name not in diagnoses:
            raise ValueError(f"metadata.json has no code for the diagnosis {name}, which a report needs.")
        scheme, value, meaning = diagnoses[name]
        return hd.sr.CodedConcept(value, scheme, meaning)

    def percent(name: Any, share: Any) -> Any:
        return hd.sr.Measurement(name=name, value=round(100 * float(share), PERCENT), unit=codes.UCUM.Percent)

    def tracked(name: str) -> Any:
        return hd.sr.TrackingIdentifier(uid=source.uid("tracking", name, algorithm.weights), identifier=name)

    of_each = {key.removeprefix("probability_"): key for key in found if key.startswith("probability_")}
    groups = [
        hd.sr.MeasurementsAndQualitativeEvaluations(
            tracking_identifier=tracked(name),
            finding_type=concept(name),
            measurements=[percent(codes.DCM.Probability, found[key])],
            **common,
        )
        for name, key in of_each.items()
    ]
    shares = [key.removeprefix("share_") for key in found if key.startswith("share_")]
    groups.append(
        hd.sr.MeasurementsAndQualitativeEvaluations(
            tracking_identifier=tracked(DECISION),
            measurements=[
                percent(
                    hd.sr.CodedConcept(f"share-{number}", SCHEME, f"Share of image: {name}"), found[f"share_{name}"]
                )
                for number, name in enumerate(shares)
            ],
            qualitative_evaluations=[
                hd.sr.QualitativeEvaluation(hd.sr.CodedConcept(*DIAGNOSIS), concept(str(found["diagnosis"])))
            ],
            **common,
        )
    )
    parts = [f"{key} {found[key]}" for key in sorted(found)]
    return measurement_report(groups, PROCEDURE, [clip], source, algorithm, parts)
