"""What a 3-D picture consists of: surfaces, panels, directions of view.

The process that draws imports this module for every picture, so it needs only NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# From where the camera looks (RAS), letters of the sides on the left and right, name
VIEWS = (((0, 1, 0), "RL", "from the front"), ((-1, 0, 0), "AP", "from the left"))


@dataclass(frozen=True)
class Part:
    """A surface of a picture.

    Args:
        name: in the legend.
        vertices, faces: see ``common.view.surfaces.surface``.
        colour: red, green, blue, 0..255.
        opacity: 0..1; below 1 it is drawn as a shell of glass, dense at its outline.
    """

    name: str
    vertices: np.ndarray
    faces: np.ndarray
    colour: tuple[int, int, int]
    opacity: float = 1.0


@dataclass(frozen=True)
class Panel:
    """Surfaces that are drawn together, with a title and a note below it."""

    title: str
    parts: Sequence[Part]
    note: str = ""
