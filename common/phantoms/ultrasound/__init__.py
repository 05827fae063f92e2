"""Synthetic lung ultrasound with A-lines, B-lines and dense labels, made from a seed."""

from .findings import DIAGNOSES
from .image import UltrasoundFrame, lung_ultrasound, lung_ultrasound_clip
from .labels import INDICES
from .layouts import write_pocus, write_semantic_lung
from .sheet import ultrasound_sheet

__all__ = [
    "DIAGNOSES",
    "INDICES",
    "UltrasoundFrame",
    "lung_ultrasound",
    "lung_ultrasound_clip",
    "ultrasound_sheet",
    "write_pocus",
    "write_semantic_lung",
]
