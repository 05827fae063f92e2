"""Which pydicom reads DICOM here."""

from __future__ import annotations

from importlib.metadata import version

OLDEST = 3


def check_pydicom() -> None:
    """MONAI Label's environment holds pydicom 2, and with it a highdicom that makes no volumes.

    Raises:
        ValueError: where pydicom is too old.
    """
    found = version("pydicom")
    if int(found.partition(".")[0]) < OLDEST:
        raise ValueError(
            f"DICOM is read with pydicom {OLDEST} or later, got {found}. Update pydicom and highdicom, or give NIfTI "
            "(pictures and clips for ultrasound); MONAI Label itself converts what a DICOMweb server gives it."
        )
