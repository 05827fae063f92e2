"""Masks as DICOM segmentations (SEG), on the slices of their series."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pydicom
from pydicom.sr.codedict import codes

from ...reliability.measures import STEPS
from ...settings import check_names
from ..styles import ClassStyle
from .source import Algorithm, Source

KINDS = ("binary", "labelmap", "fractional")  # a label map is supplement 243 to DICOM, which few viewers show yet


def segments(styles: Sequence[ClassStyle]) -> list[ClassStyle]:
    """The classes that become segments, in the order of their numbers from 1: all but background."""
    return [style for style in styles if style.name != "background"]


def segmentation(
    values: np.ndarray, source: Source, styles: Sequence[ClassStyle], algorithm: Algorithm, kind: str = "binary"
) -> pydicom.Dataset:
    """A DICOM segmentation of a mask or of probabilities: a segment for each class, on the slices of the series itself.

    Study, patient and frame of reference are the source's, and each plane refers to its source image. The UIDs are a
    function of the source, the weights and the values, so that the same result is the same object.

    Args:
        values: label map (columns, rows, slices); if ``fractional``, probabilities as uint8 in steps of 1/255,
            (segments, columns, rows, slices).
        source: the series, from ``read_source``.
        styles: classes of the mask with their codes; background is no segment.
        algorithm: what made the mask.
        kind: ``binary`` or ``fractional``, a plane for each segment and slice in which it is; or ``labelmap``, one for
            each slice.

    Raises:
        ValueError: for another kind, a class without a code, or slices without one frame of reference.

    Example:
        >>> files = sorted(Path("series").glob("*.dcm"))
        >>> made = segmentation(mask, read_source(files, affine), styles, Algorithm("ct_drsegunet", "0.1.0", sha))
        >>> made.save_as("mask.dcm")
    """
    import highdicom as hd  # here, because it takes a second to import and only DICOM needs it

    check_names("kind of segmentation", [kind], KINDS)
    shown = segments(styles)
    without = [style.name for style in shown if len(style.code) != 3]
    if without:
        raise ValueError(f"metadata.json has no code for {', '.join(without)}, which a DICOM segmentation needs.")
    if len(frames_of := {str(image.get("FrameOfReferenceUID") or "") for image in source.images}) > 1:
        raise ValueError(f"the slices have {len(frames_of)} frames of reference. Export the series again.")
    if frames_of == {""}:
        raise ValueError("the slices name no frame of reference (FrameOfReferenceUID), which a segmentation needs.")
    made_by = algorithm.identification()
    described = []
    for number, style in enumerate(shown, start=1):
        scheme, value, meaning = style.code
        described.append(
            hd.seg.SegmentDescription(
                segment_number=number,
                segment_label=style.name,
                segmented_property_category=(
                    codes.SCT.MorphologicallyAbnormalStructure if style.is_lesion else codes.SCT.AnatomicalStructure
                ),
                segmented_property_type=hd.sr.CodedConcept(value, scheme, meaning),
                algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
                algorithm_identification=made_by,
                tracking_id=style.name,
                tracking_uid=source.uid("tracking", style.name, algorithm.weights),
                display_color=hd.color.CIELabColor.from_rgb(*style.colour),
            )
        )
    if kind == "fractional":
        pixels = np.ascontiguousarray(values.transpose(3, 2, 1, 0)[source.planes]).astype(np.float32) / STEPS
    else:
        numbers = np.zeros(256, np.uint8)
        numbers[[style.value for style in shown]] = range(1, len(shown) + 1)
        pixels = np.stack([numbers[values[..., plane]].T for plane in source.planes])
    content = hashlib.sha256(pixels.tobytes()).hexdigest()
    parts = (algorithm.name, algorithm.version, algorithm.weights, kind, content)
    made: pydicom.Dataset = hd.seg.Segmentation(
        source_images=source.images,
        pixel_array=pixels,
        segmentation_type=kind.upper(),
        segment_descriptions=described,
        **source.new_object("SEG", *parts, *filter(None, [algorithm.trust])),
        manufacturer_model_name=algorithm.name,
        software_versions=algorithm.version,
        device_serial_number=algorithm.weights[:16],
        content_description=_described(algorithm, shown)[:64],
        series_description=f"{algorithm.name} segmentation"[:64],
    )
    shared = made.SharedFunctionalGroupsSequence[0]
    if "SegmentIdentificationSequence" in shared:  # of one segment; highdicom's reports look for it at the frames
        for frame in made.PerFrameFunctionalGroupsSequence:
            frame.SegmentIdentificationSequence = shared.SegmentIdentificationSequence
        del shared.SegmentIdentificationSequence
    return made


def _described(algorithm: Algorithm, shown: Sequence[ClassStyle]) -> str:
    """The content in a line: what must be known first, of which 64 characters are kept."""
    if algorithm.unusual:
        return f"Unusual input: {algorithm.unusual}"
    expected = "" if algorithm.dice is None else f"expected Dice {algorithm.dice:.2f}, "
    return f"{algorithm.name}: {expected}{', '.join(style.name for style in shown)}"
