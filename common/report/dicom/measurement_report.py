"""A DICOM structured report of measurements (SR, template TID 1500), whatever was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pydicom
from pydicom.sr.codedict import codes

from .source import MAKER, NOT_CLINICAL, Algorithm, Source


def measurement_report(
    groups: Sequence[Any],
    procedure: tuple[str, str, str],
    evidence: Sequence[pydicom.Dataset],
    source: Source,
    algorithm: Algorithm,
    parts: Sequence[str],
) -> pydicom.Dataset:
    """A report that names what measured, and the limits of its weights.

    Args:
        groups: of measurements, as highdicom makes them.
        procedure: code of what was examined: scheme, value, meaning.
        evidence: what was measured.
        source: the images.
        algorithm: what measured.
        parts: what the UIDs are a function of, besides the source.
    """
    import highdicom as hd  # here, because it takes a second to import and only DICOM needs it

    scheme, value, meaning = procedure
    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=source.uid("device", algorithm.name, algorithm.weights),
        name=algorithm.name,
        manufacturer_name=MAKER,
        model_name=f"{algorithm.name} {algorithm.version}",
        serial_number=algorithm.weights[:16],
    )
    content = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(
            observer_device_context=hd.sr.ObserverContext(codes.DCM.Device, device)
        ),
        procedure_reported=hd.sr.CodedConcept(value, scheme, meaning),
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    limits = hd.sr.TextContentItem(
        name=codes.DCM.Comment,
        value=f"{algorithm.trust} {NOT_CLINICAL} {algorithm.limits}".strip(),
        relationship_type=hd.sr.RelationshipTypeValues.CONTAINS,
    )
    content[0].ContentSequence.append(limits)
    made: pydicom.Dataset = hd.sr.Comprehensive3DSR(
        evidence=evidence,
        content=content,
        **source.new_object("SR", *parts, *filter(None, [algorithm.trust])),
        is_complete=True,
        is_final=False,
        is_verified=False,
        series_description=f"{algorithm.name} measurements"[:64],
    )
    made.ManufacturerModelName, made.SoftwareVersions = algorithm.name, algorithm.version
    made.CompletionFlagDescription = NOT_CLINICAL
    return made
