"""Dictionary transforms that MONAI lacks."""

from .ct import LoadScand, NormalizeSlicesd, WindowCTd, check_intensity
from .masks import AddLungd, ClassIndexd, LesionMaskd, LungMaskd, OutsideLungd
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
    "AddLungd",
    "ClassIndexd",
    "Diagnosed",
    "FlipAndGaind",
    "LabelClassesd",
    "LesionMaskd",
    "LoadFramed",
    "LoadScand",
    "LungMaskd",
    "MaskValuesd",
    "MeasureSharesd",
    "NameIndexd",
    "NormalizeSlicesd",
    "OutsideLungd",
    "WindowCTd",
    "check_intensity",
]
