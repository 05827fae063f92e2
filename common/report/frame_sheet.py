"""Frames of a clip with their masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .canvas import (
    CELL,
    FAINT,
    FOOTER,
    GAP,
    HEADER,
    MARGIN,
    WIDTH,
    add_label,
    add_legend,
    add_panel,
    new_figure,
    paint,
    save,
    show,
    write,
)
from .comparison import check_slices
from .styles import ClassStyle

if TYPE_CHECKING:
    pass


def frame_sheet(
    path: str | Path,
    images: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    classes: Sequence[ClassStyle],
    titles: Sequence[str],
    title: str = "",
    note: str = "",
) -> None:
    """Sheet of an ultrasound case: frames above, the same with their masks below; side by side for a single one.

    Args:
        path: PNG to write, at most 1600 pixels wide; its folder is made where missing.
        images: grey levels 0..255, arrays (rows, columns), all of one shape.
        masks: integers, the shape of their image.
        classes: what the values of the masks mean; others are not drawn.
        titles: small text on each frame.
        title: first line, usually the case.
        note: second line.
    """
    check_slices(images, [masks], titles)
    columns = max(2, len(images))
    panel = min(CELL, (WIDTH - 2 * MARGIN - (columns - 1) * GAP) / columns)
    tall = panel * images[0].shape[0] / images[0].shape[1]
    rows = 1 if len(images) == 1 else 2
    figure = new_figure(2 * MARGIN + columns * (panel + GAP) - GAP, HEADER + rows * (tall + GAP) + FOOTER)
    write(figure, MARGIN, 22, title, 13)
    write(figure, MARGIN, 46, note, 10.5, FAINT)
    for position, (image, mask) in enumerate(zip(images, masks, strict=True)):
        left = MARGIN + position * (panel + GAP)
        plain = add_panel(figure, left, HEADER, panel, tall)
        show(plain, image.T, (0, 255), 1.0)
        add_label(plain, 0.02, 0.95, titles[position])
        beside, below = (panel + GAP, 0.0) if rows == 1 else (0.0, tall + GAP)
        painted = add_panel(figure, left + beside, HEADER + below, panel, tall)
        show(painted, image.T, (0, 255), 1.0)
        paint(painted, mask.T, classes, 1.0)
    add_legend(figure, classes)
    save(figure, path)
