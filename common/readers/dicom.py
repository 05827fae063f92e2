"""The version of pydicom that DICOM needs."""

from __future__ import annotations

from importlib.metadata import version

try:
    from pydicom import pixels
except ImportError:  # pydicom 2, which check_pydicom refuses; MONAI Label imports this and reads NIfTI
    pixels = None  # type: ignore[assignment]

OLDEST = 3


def check_pydicom() -> None:
    """Refuse pydicom 2, which MONAI Label's environment holds with a highdicom that cannot read volumes.

    Raises:
        ValueError: where pydicom is too old.
    """
    found = version("pydicom")
    if int(found.partition(".")[0]) < OLDEST:
        raise ValueError(
            f"DICOM needs pydicom {OLDEST} or later, got {found}. Update pydicom and highdicom, or give NIfTI "
            "(images and clips for ultrasound); MONAI Label itself converts what a DICOMweb server gives it."
        )
