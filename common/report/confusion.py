"""Confusion matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .canvas import (
    BACKGROUND,
    FAINT,
    MARGIN,
    TEXT,
    add_panel,
    new_figure,
    save,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def confusion_picture(path: str | Path, matrices: Mapping[str, np.ndarray], classes: Sequence[str]) -> None:
    """Confusion matrices side by side: rows are truth, columns prediction; counts, shaded by their share of the row.

    Args:
        path: PNG to write; its folder is made where missing.
        matrices: counts (classes, classes), by what they count.
        classes: names in order.
    """
    side, left = 300, 150
    figure = new_figure(len(matrices) * (side + left) + MARGIN, side + 130)
    for position, (name, counts) in enumerate(matrices.items()):
        axes = add_panel(figure, left + position * (side + left), 70, side, side)
        confusion_axes(axes, counts, classes, f"{name}; rows are the truth", "prediction")
    save(figure, path)


def confusion_axes(axes: Axes, counts: np.ndarray, classes: Sequence[str], title: str, across: str) -> None:
    """A confusion matrix (classes, classes), shaded by the share of the row; ``across`` is what the columns are."""
    axes.set_axis_on()
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1.2)
    for (row, column), count in np.ndenumerate(counts):
        colour = BACKGROUND if share[row, column] < 0.6 else TEXT
        axes.text(column, row, f"{int(count)}", ha="center", va="center", color=colour, size=12)
    axes.set_xticks(range(len(classes)), classes, color=FAINT, size=10)
    axes.set_yticks(range(len(classes)), classes, color=FAINT, size=10)
    axes.tick_params(length=0)
    axes.set_xlabel(across, color=FAINT, size=10)
    axes.set_title(title, color=TEXT, size=12, loc="left")
    for spine in axes.spines.values():
        spine.set_visible(False)
