"""Overlay of an ultrasound image or clip: frames with their masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from . import canvas
from .comparison import check_slices
from .grid import ImageGrid, height_over_width
from .styles import ClassStyle


def draw_frame_overlay(
    path: str | Path,
    images: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    classes: Sequence[ClassStyle],
    titles: Sequence[str],
    title: str = "",
    note: str = "",
    below: float = 0.0,
    draw_below: Callable[[ImageGrid], None] | None = None,
) -> None:
    """Draw frames of a case, and the same frames with their masks below; a single frame has its mask at its side.

    Args:
        path: PNG to write, at most 1600 pixels wide; its folder is made if it is missing.
        images: grey levels 0..255, arrays (rows, columns), all of one shape.
        masks: integers, same shape as their image.
        classes: what the values of the masks mean; other values are not drawn.
        titles: small text on each frame.
        title: first line, usually the case.
        note: second line.
        below: room between frames and legend, in pixels.
        draw_below: draws into that room.
    """
    check_slices(images, [masks], titles)
    rows = [height_over_width(images[0].T)] * 2
    grid = ImageGrid(len(images), rows, title=title, note=note, legend=classes, below=below, turn_single_column=True)
    for column, (image, mask) in enumerate(zip(images, masks, strict=True)):
        plain, painted = grid.panel(0, column), grid.panel(1, column)
        for axes in (plain, painted):
            canvas.show(axes, image.T, (0, 255), 1.0)
        canvas.paint(painted, mask.T, classes, 1.0)
        canvas.add_label(plain, 0.02, 0.95, titles[column])
    if draw_below is not None:
        draw_below(grid)
    grid.save(path)
