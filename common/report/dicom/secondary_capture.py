"""The overlay as a picture that every viewer shows (secondary capture)."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image

from .source import NOT_CLINICAL, Algorithm, Source

COMMENT = f"Colours and text are burnt in. {NOT_CLINICAL}"


def secondary_capture(picture: Path, source: Source, algorithm: Algorithm) -> pydicom.Dataset:
    """A picture as a DICOM object of the source's study.

    Args:
        picture: an image file.
        source: the series.
        algorithm: what made it. The UIDs are a function of the source, the weights and the pixels.
    """
    import highdicom as hd

    with Image.open(picture) as opened:
        pixels = np.asarray(opened.convert("RGB"))
    parts = (algorithm.weights, hashlib.sha256(pixels.tobytes()).hexdigest())
    made: pydicom.Dataset = hd.sc.SCImage.from_ref_dataset(
        ref_dataset=source.images[0],
        pixel_array=pixels,
        photometric_interpretation=hd.PhotometricInterpretationValues.RGB,
        bits_allocated=8,
        coordinate_system=hd.CoordinateSystemNames.PATIENT,
        patient_orientation=("L", "P"),
        **source.new_object("SC", *parts),
        transfer_syntax_uid=pydicom.uid.ExplicitVRLittleEndian,
    )
    made.SeriesDescription = f"{algorithm.name} overlay"[:64]
    made.ManufacturerModelName, made.SoftwareVersions = algorithm.name, algorithm.version
    made.Laterality = ""  # both lungs
    made.ImageComments, made.BurnedInAnnotation = COMMENT, "YES"
    return made
