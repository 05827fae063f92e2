"""Figure of the steps from a slice to its pseudo-label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from ..report import canvas
from ..report.grid import ImageGrid, height_over_width
from ..report.styles import ClassStyle

COLUMNS = ("slice", "lung by threshold", "clusters, mean HU", "pseudo-label")


def draw_pseudo_labels(
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
    """Draw the slices of a case, one per row: the slice, its lung, the clusters, the pseudo-label.

    Slices are cropped to the body.

    Args:
        path: PNG to write; its folder is made if it is missing.
        image: HU, (X, Y, N) in LPS order, like the other arrays.
        lung: above 0 in the lungs.
        clusters: numbers in the order of ``classes``.
        label: above 0 in ground-glass.
        centres: mean of each cluster in HU, (N, clusters).
        slices: numbers of the slices.
        classes: background, lung, ground-glass.
        title: first line, usually the case.
        aspect: height of a pixel over its width.
    """
    _, lung_style, lesion_style = classes
    field = canvas.body_field(image)
    share = float((label > 0).sum()) / max(1.0, float((lung > 0).sum()))
    grid = ImageGrid(
        len(COLUMNS),
        [height_over_width(image[field], aspect)] * len(slices),
        title=title,
        note=f"ground-glass {share:.1%} of the lung in these slices",
        titles=COLUMNS,
        labels=[f"slice {number}" for number in slices],
        legend=classes,
    )
    for row in range(len(slices)):
        plane, inside, groups, found = (array[field][..., row] for array in (image, lung, clusters, label))
        plain, by_threshold, clustered, labelled = (grid.panel(row, column) for column in range(len(COLUMNS)))
        for axes in (plain, by_threshold, labelled):
            canvas.show(axes, plane, canvas.LUNG_WINDOW, aspect)
        canvas.mark_sides(plain)
        canvas.outline(by_threshold, inside > 0, lung_style)
        _show_clusters(clustered, groups, classes, aspect)
        means = [f"{style.name} {round(float(mean))}" for style, mean in zip(classes, centres[row], strict=True)]
        canvas.add_label(clustered, 0.02, 0.95, ", ".join(means))
        mask = np.select([found > 0, inside > 0], [lesion_style.value, lung_style.value])
        canvas.paint(labelled, mask, (lung_style, lesion_style), aspect)
    grid.save(path)


def _show_clusters(axes: Axes, clusters: np.ndarray, classes: Sequence[ClassStyle], aspect: float) -> None:
    """Draw clusters (X, Y) in the colours of their classes."""
    colours: Any = [canvas.BACKGROUND, *(style.rgb for style in classes[1:])]
    axes.imshow(
        clusters.T, cmap=ListedColormap(colours), vmin=0, vmax=len(classes) - 1, aspect=aspect, interpolation="nearest"
    )
