"""Images with one label per slice, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def picture(path: Path, seed: int = 0, lungs: bool = True) -> Path:
    """A body on black, of a brightness that the seed decides, with or without two dark lungs, where it is noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    row, column = np.mgrid[-1:1:24j, -1:1:24j]
    grey = np.clip(600 * (1 - np.hypot(column, row)), 0, 180 + seed % 71)
    if lungs:
        inside = ((np.abs(column) - 0.4) / 0.3) ** 2 + (row / 0.5) ** 2 < 1
        grey[inside] = np.random.default_rng(seed).integers(50, 70, inside.sum())
    Image.fromarray(grey.astype(np.uint8)).save(path)
    return path


def write_table(root: Path, rows: list[str], heading: str = "image,label,patient") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "labels.csv").write_text("\n".join([heading, *rows]) + "\n")
    return root
