"""A picture of how a volume's pseudo-labels came about."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..report.canvas import (
    BACKGROUND,
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
    add_title,
    body_field,
    contour,
    label_row,
    mark_sides,
    new_figure,
    paint,
    save,
    show,
    write,
)
from ..report.styles import ClassStyle

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = ("slice", "lung by threshold", "clusters, mean HU", "pseudo-label")
SIDE, TITLES = 14, 24  # pixels, beside the panels for slice numbers and above them for titles
WINDOW = (-1350.0, 150.0)  # HU


def pseudo_label_sheet(
    path: str | Path,
    image: np.ndarray,
    lung: np.ndarray,
    clusters: np.ndarray,
    label: np.ndarray,
    centres: np.ndarray,
    slices: Sequence[int],
    classes: Sequence[ClassStyle],
    title: str = "",
    aspect: float = 1.0,
) -> None:
    """Sheet of a case, a slice a row: the slice, its lung, the clusters, the label; cropped to the body.

    Args:
        path: PNG to write; its folder is made where missing.
        image: HU, (X, Y, N) in LPS order, as the other arrays.
        lung: positive in the lungs.
        clusters: numbers in the order of ``classes``.
        label: positive in ground-glass.
        centres: mean of each cluster in HU, (N, clusters).
        slices: their numbers.
        classes: background, lung, ground-glass.
        title: first line, usually the case.
        aspect: height of a pixel over its width.
    """
    _, lung_style, lesion_style = classes
    field = body_field(image)
    edge, top = MARGIN + SIDE, HEADER + TITLES
    panel = min(CELL, (WIDTH - edge - MARGIN - (len(COLUMNS) - 1) * GAP) / len(COLUMNS))
    tall = panel * (field[1].stop - field[1].start) * aspect / (field[0].stop - field[0].start)
    width = edge + len(COLUMNS) * (panel + GAP) - GAP + MARGIN
    figure = new_figure(width, top + len(slices) * (tall + GAP) + FOOTER)
    write(figure, MARGIN, 22, title, 13)
    share = float((label > 0).sum()) / max(1.0, float((lung > 0).sum()))
    write(figure, MARGIN, 46, f"ground-glass {share:.1%} of the lung in these slices", 10.5, FAINT)
    for row, number in enumerate(slices):
        plane, inside, groups, found = (array[field[0], field[1], row] for array in (image, lung, clusters, label))
        for column, name in enumerate(COLUMNS):
            axes = add_panel(figure, edge + column * (panel + GAP), top + row * (tall + GAP), panel, tall)
            if row == 0:
                add_title(axes, name, panel)
            if name == COLUMNS[2]:
                _show_clusters(axes, groups, classes, aspect)
                means = (
                    f"{style.name} {round(float(mean))}" for style, mean in zip(classes, centres[row], strict=True)
                )
                add_label(axes, 0.02, 0.95, ", ".join(means))
                continue
            show(axes, plane, WINDOW, aspect)
            if name == COLUMNS[0]:
                label_row(axes, f"slice {number}", panel, tall)
                mark_sides(axes)
            elif name == COLUMNS[1]:
                contour(axes, inside > 0, lung_style)
            else:
                mask = np.select([found > 0, inside > 0], [lesion_style.value, lung_style.value])
                paint(axes, mask, (lung_style, lesion_style), aspect)
    add_legend(figure, classes)
    save(figure, path)


def _show_clusters(axes: Axes, clusters: np.ndarray, classes: Sequence[ClassStyle], aspect: float) -> None:
    """Clusters (X, Y) in the colours of their classes."""
    from matplotlib.colors import ListedColormap

    colours: Any = [BACKGROUND, *(style.rgb for style in classes[1:])]
    axes.imshow(
        clusters.T, cmap=ListedColormap(colours), vmin=0, vmax=len(classes) - 1, aspect=aspect, interpolation="nearest"
    )
