"""What a researcher reads after a run: lesion burden tables, overlays, comparisons and training curves."""

from .burden import BurdenTable, lesion_burden, severity_class
from .figures import comparison, curves, overlay
from .styles import ClassStyle

__all__ = ["BurdenTable", "ClassStyle", "comparison", "curves", "lesion_burden", "overlay", "severity_class"]
