"""Dictionary transforms that MONAI lacks."""

from .ct import LoadScand, NormalizeSlicesd, WindowCTd, check_intensity
from .masks import AddLungd, ClassIndexd, LesionMaskd, LesionsFirstd, LungMaskd, OutsideLungd
from .pseudo_labels import ClustersInLungd, LungByThresholdd, MiddleSlicesd, OpenAndCloseLesiond
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
    "ClustersInLungd",
    "Diagnosed",
    "FlipAndGaind",
    "LabelClassesd",
    "LesionMaskd",
    "LesionsFirstd",
    "LoadFramed",
    "LoadScand",
    "LungByThresholdd",
    "LungMaskd",
    "MaskValuesd",
    "MeasureSharesd",
    "MiddleSlicesd",
    "NameIndexd",
    "NormalizeSlicesd",
    "OpenAndCloseLesiond",
    "OutsideLungd",
    "WindowCTd",
    "check_intensity",
]
