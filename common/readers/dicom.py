"""The version of pydicom that DICOM needs, and its warnings."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

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
            "(pictures and clips for ultrasound); MONAI Label itself converts what a DICOMweb server gives it."
        )


@contextmanager
def quietly() -> Iterator[None]:
    """Silence pydicom, which warns of each element that breaks the standard, twice.

    A process of ``Isolated`` collects what it logs.
    """
    log = logging.getLogger("pydicom")
    level = log.level
    if log.propagate:
        log.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
