"""Dictionary transforms that MONAI lacks."""

from .ct import ClassIndexd, LoadScand, NormalizeSlicesd, WindowCTd, check_intensity
from .ultrasound import (
    Diagnosed,
    FlipAndGaind,
    LabelClassesd,
    LoadFramed,
    MaskValuesd,
    MeasureSharesd,
    NameIndexd,
)

__all__ = [
    "ClassIndexd",
    "Diagnosed",
    "FlipAndGaind",
    "LabelClassesd",
    "LoadFramed",
    "LoadScand",
    "MaskValuesd",
    "MeasureSharesd",
    "NameIndexd",
    "NormalizeSlicesd",
    "WindowCTd",
    "check_intensity",
]
