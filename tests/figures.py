"""Figures as pixels, and the classes that they show, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from common.report.styles import ClassStyle

CLASSES = (
    ClassStyle("ground-glass", 1, (255, 176, 0)),
    ClassStyle("consolidation", 2, (220, 38, 127)),
    ClassStyle("lung", 3, (100, 143, 255)),
    ClassStyle("background", 0, (0, 0, 0)),
)


def pixels(path: Path) -> np.ndarray:
    """PNG as (rows, columns, 3)."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def near(picture: np.ndarray, colour: tuple[int, int, int], tolerance: int = 40) -> np.ndarray:
    """Pixels of about this colour, away from the legend at the bottom."""
    return (np.abs(picture - np.array(colour)) <= tolerance).all(-1)[:-50]
