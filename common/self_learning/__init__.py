"""Self-learning of DRSegUNet without manual labels (Balantrapu, *DRSegUNet*, 2021, sections 4.4.2 and 5.5)."""

from .freezing import freeze_first
from .levels import chosen_cases
from .stages import SelfLearning

__all__ = ["SelfLearning", "chosen_cases", "freeze_first"]
