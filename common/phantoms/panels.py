"""Parts of the pictures that show phantoms beside their labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]

# Colours that people with colour-deficient vision tell apart, too.
YELLOW: Colour = (255, 176, 0)
ORANGE: Colour = (254, 97, 0)
MAGENTA: Colour = (220, 38, 127)
VIOLET: Colour = (120, 94, 240)
BLUE: Colour = (100, 143, 255)

# White space beside and below each panel, pixels.
GAP = 6


def in_grey(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns grey levels (Y, X) as (Y, X, 3) RGB."""
    return np.repeat(grey[:, :, None], 3, axis=2)


def coloured(
    picture: NDArray[np.uint8], layers: Iterable[tuple[NDArray[np.bool_], Colour, float]]
) -> NDArray[np.uint8]:
    """Lays colours over a picture (Y, X, 3), each with its mask (Y, X) and its opacity 0..1."""
    shown = picture.astype(np.float32)
    for mask, colour, opacity in layers:
        shown[mask] = (1 - opacity) * shown[mask] + opacity * np.array(colour, np.float32)
    return shown.astype(np.uint8)


def column(panels: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Returns panels (Y, X, 3) one above the other with white gaps."""
    return np.concatenate([np.pad(panel, ((0, GAP), (0, GAP), (0, 0)), constant_values=255) for panel in panels])
