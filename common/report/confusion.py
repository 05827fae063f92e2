"""Confusion matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from . import canvas


def draw_confusion(path: str | Path, matrices: Mapping[str, np.ndarray], classes: Sequence[str]) -> None:
    """Draw confusion matrices side by side: rows are the ground truth, columns the prediction.

    Cells show counts, and are shaded by their share of the row.

    Args:
        path: PNG to write; its folder is made if it is missing.
        matrices: counts (classes, classes), by what they count.
        classes: names in order.
    """
    side, left = 300, 150
    figure = canvas.new_figure(len(matrices) * (side + left) + canvas.MARGIN, side + 130)
    for position, (name, counts) in enumerate(matrices.items()):
        axes = canvas.add_panel(figure, left + position * (side + left), 70, side, side)
        fill_confusion(axes, counts, classes, f"{name}; rows: ground truth", "prediction")
    canvas.save(figure, path)


def fill_confusion(axes: Axes, counts: np.ndarray, classes: Sequence[str], title: str, xlabel: str) -> None:
    """Draw a confusion matrix (classes, classes) into a panel."""
    axes.set_axis_on()
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1.2)
    for (row, column), count in np.ndenumerate(counts):
        colour = canvas.BACKGROUND if share[row, column] < 0.6 else canvas.TEXT
        axes.text(column, row, f"{int(count)}", ha="center", va="center", color=colour, size=12)
    axes.set_xticks(range(len(classes)), classes, color=canvas.FAINT, size=10)
    axes.set_yticks(range(len(classes)), classes, color=canvas.FAINT, size=10)
    axes.tick_params(length=0)
    axes.set_xlabel(xlabel, color=canvas.FAINT, size=10)
    axes.set_title(title, color=canvas.TEXT, size=12, loc="left")
    for spine in axes.spines.values():
        spine.set_visible(False)
