"""Synthetic chest CT and lung ultrasound, made from a seed, and written in the layouts of public data sets."""

from .cache import phantom_dir
from .chest_ct import ChestCT, chest_ct
from .layouts import (
    write_coronacases,
    write_medseg,
    write_medseg_arrays,
    write_medseg_pictures,
    write_mosmed,
    write_radiopaedia,
)
from .scanner import SECOND, STANDARD, Scanner
from .sheet import sheet
from .ultrasound import (
    DIAGNOSES,
    INDICES,
    UltrasoundFrame,
    lung_ultrasound,
    lung_ultrasound_clip,
    ultrasound_sheet,
    write_pocus,
    write_semantic_lung,
)

__all__ = [
    "DIAGNOSES",
    "INDICES",
    "SECOND",
    "STANDARD",
    "ChestCT",
    "Scanner",
    "UltrasoundFrame",
    "chest_ct",
    "lung_ultrasound",
    "lung_ultrasound_clip",
    "phantom_dir",
    "sheet",
    "ultrasound_sheet",
    "write_coronacases",
    "write_medseg",
    "write_medseg_arrays",
    "write_medseg_pictures",
    "write_mosmed",
    "write_pocus",
    "write_radiopaedia",
    "write_semantic_lung",
]
