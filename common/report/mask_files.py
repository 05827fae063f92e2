"""Masks and volumes as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image

from ..files import complete_file
from .styles import ClassStyle


def mask_palette(styles: Sequence[ClassStyle]) -> np.ndarray:
    """Colours of mask values, uint8 (256, 3); black for 0 and for values of no class."""
    palette = np.zeros((256, 3), np.uint8)
    for style in styles:
        palette[style.value] = style.colour if style.value else 0
    return palette


def save_picture_mask(path: Path, mask: np.ndarray, palette: np.ndarray) -> None:
    """Save mask values, uint8 (rows, columns), as a png that viewers show in the colours of the classes."""
    image = Image.fromarray(mask).convert("P")
    image.putpalette(palette.tobytes())
    image.save(path)


def save_volume(path: str | Path, values: np.ndarray, affine: np.ndarray) -> None:
    """Save a NIfTI file in mm, completely or not at all; its folder is created if needed."""
    volume = nibabel.Nifti1Image(values, affine)
    volume.header.set_xyzt_units("mm")
    with complete_file(path) as part:
        nibabel.save(volume, part)
