"""Synthetic chest CT with lesions of COVID-19, made from a seed, and written in the layouts of public data sets."""

from .chest_ct import ChestCT, chest_ct
from .layouts import (
    phantom_dir,
    write_medseg,
    write_medseg_arrays,
    write_medseg_pictures,
    write_radiopaedia,
)
from .scanner import SECOND, STANDARD, Scanner
from .sheet import sheet

__all__ = [
    "SECOND",
    "STANDARD",
    "ChestCT",
    "Scanner",
    "chest_ct",
    "phantom_dir",
    "sheet",
    "write_medseg",
    "write_medseg_arrays",
    "write_medseg_pictures",
    "write_radiopaedia",
]
