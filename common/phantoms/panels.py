"""Parts of the figures that show phantoms above their labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Colour = tuple[int, int, int]

# Distinct with colour-deficient vision, too
YELLOW: Colour = (255, 176, 0)
ORANGE: Colour = (254, 97, 0)
MAGENTA: Colour = (220, 38, 127)
VIOLET: Colour = (120, 94, 240)
BLUE: Colour = (100, 143, 255)

GAP = 6  # pixels, white, to the right of each panel and below it


def grey_to_rgb(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Turn grey levels (Y, X) into RGB (Y, X, 3)."""
    return np.repeat(grey[:, :, None], 3, axis=2)


def coloured(image: NDArray[np.uint8], layers: Iterable[tuple[NDArray[np.bool_], Colour, float]]) -> NDArray[np.uint8]:
    """Lay colours over an image (Y, X, 3), each with its mask (Y, X) and its opacity 0..1."""
    shown = image.astype(np.float32)
    for mask, colour, opacity in layers:
        shown[mask] = (1 - opacity) * shown[mask] + opacity * np.array(colour, np.float32)
    return shown.astype(np.uint8)


def save_columns(path: str | Path, columns: Iterable[Sequence[NDArray[np.uint8]]]) -> Path:
    """Write panels (Y, X, 3) as an image file: columns side by side, the panels of a column below each other."""
    gaps = ((0, GAP), (0, GAP), (0, 0))
    padded = [np.concatenate([np.pad(panel, gaps, constant_values=255) for panel in column]) for column in columns]
    Image.fromarray(np.concatenate(padded, axis=1)).save(path)
    return Path(path)
