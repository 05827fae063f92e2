"""Figures of the weak GAN: decomposed slices, and curves of how well lesions are localised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..report import canvas
from ..report.comparison import check_slices
from ..report.grid import ImageGrid, height_over_width
from ..report.styles import ClassStyle

GROUND_TRUTH = ClassStyle("ground truth", 1, (255, 176, 0))
COLOUR_BAR = 58  # pixels to the right of the panels


def draw_separation(
    path: str | Path,
    images: Sequence[np.ndarray],
    heatmaps: Sequence[np.ndarray],
    titles: Sequence[str],
    normals: Sequence[np.ndarray] | None = None,
    truths: Sequence[np.ndarray] | None = None,
) -> None:
    """Draw slices side by side: in each column the input, its normal version, the heatmap and the ground truth.

    The ground truth is a contour over the input. Slices of one shape are cropped to the lungs, and to the heatmap where
    it lies outside the lungs.

    Args:
        path: PNG to write, at most 1600 pixels wide; its folder is made if it is missing.
        images: arrays (X, Y) in LPS order, -1..1.
        heatmaps: 0..1, same shape as their image.
        titles: text above each column.
        normals: normal versions, -1..1, same shape as their image; None leaves the row out.
        truths: ground truth, 0 and 1, same shape as their image; None leaves the row out.

    Raises:
        ValueError: without slices, or if lists differ in length or shapes differ.
    """
    rows = {"input": images, "normal version": normals, "heatmap": heatmaps, "ground truth": truths}
    shown = {name: planes for name, planes in rows.items() if planes is not None}
    check_slices(images, list(shown.values())[1:], titles)
    field = _field(images, heatmaps)
    grid = ImageGrid(
        len(images),
        [max(height_over_width(image[field]) for image in images)] * len(shown),
        titles=titles,
        labels=list(shown),
        widest=0.75 * canvas.CELL,
        right=COLOUR_BAR,
    )
    for row, (name, planes) in enumerate(shown.items()):
        for column, plane in enumerate(planes):
            axes = grid.panel(row, column)
            if name == "heatmap":
                axes.imshow(plane[field].T, cmap="inferno", vmin=0, vmax=1, origin="upper")
            else:
                canvas.show(axes, (images[column] if name == "ground truth" else plane)[field], (-1, 1), 1.0)
            if name == "ground truth":
                canvas.outline(axes, plane[field] > 0.5, GROUND_TRUTH)
            if name == "input":
                canvas.mark_sides(axes)
    _add_colour_bar(grid, list(shown).index("heatmap"))
    grid.save(path)


def _add_colour_bar(grid: ImageGrid, row: int) -> None:
    """Colour bar to the right of a row."""
    left, height = grid.lefts[-1] + grid.width + canvas.GAP, grid.heights[row]
    axes = canvas.add_panel(grid.figure, left, grid.tops[row] + 6, 10, height - 12)  # shorter, for numbers at its ends
    axes.set_axis_on()
    bar = grid.figure.colorbar(grid.panel(row, 0).images[0], cax=axes, ticks=[0, 0.5, 1])
    bar.outline.set_visible(False)  # type: ignore[operator]
    axes.tick_params(colors=canvas.FAINT, labelsize=9, length=0)


def _field(images: Sequence[np.ndarray], heatmaps: Sequence[np.ndarray]) -> tuple[slice, ...]:
    """Find the part of slices (X, Y) with an image above -1 or a heatmap above 0.1; all of it if there is none."""
    if len({image.shape for image in images}) > 1:
        return (slice(None), slice(None))
    seen = (np.max(images, axis=0) > -1) | (np.max(heatmaps, axis=0) > 0.1)
    if not seen.any():
        return (slice(None), slice(None))
    spare = max(seen.shape) // 16  # for the marks of the patient's sides
    ends = [(where.min() - spare, where.max() + 1 + spare) for where in np.nonzero(seen)]
    return tuple(slice(max(0, low), high) for low, high in ends)


def draw_localisation(
    path: str | Path,
    points: Mapping[str, np.ndarray],
    areas: Sequence[float],
    thresholds: np.ndarray,
    dice: Mapping[str, np.ndarray],
    threshold: float,
    title: str = "",
) -> None:
    """Draw precision over recall with the areas below on the left, and Dice over the threshold on the right.

    Args:
        path: PNG to write, 1200 pixels wide; its folder is made if it is missing.
        points: (N, 2) by name of the curve: precision and recall in 0..1, from recall 0. N may be 0. Precision is
            constant from one point back to the point before it.
        areas: below these curves; NaN if there is no curve.
        thresholds: (T,), of the heatmap.
        dice: (T,) by name of the curve; NaN if there is no ground truth with lesions.
        threshold: the threshold to mark.
        title: line above.
    """
    figure = canvas.new_figure(1200, 460)
    canvas.write_heading(figure, title)
    left = canvas.add_plot(figure, 70, 62, 510, 330, "precision", "recall")
    for number, ((name, curve), area) in enumerate(zip(points.items(), areas, strict=True)):
        if len(curve):
            precision, recall = curve.T
            colour = canvas.LINES[number]
            left.step(recall, precision, where="pre", color=colour, lw=1.8, label=f"{name}, area {area:.3f}")
    right = canvas.add_plot(figure, 670, 62, 510, 330, "Dice", "threshold of the heatmap")
    for number, (name, values) in enumerate(dice.items()):
        if np.isfinite(values).all():
            best = int(values.argmax())
            name += f", best {values[best]:.3f} at {thresholds[best]:.2f}"
            right.plot(thresholds, values, color=canvas.LINES[number], lw=1.8, marker="o", ms=4, label=name)
    for axes in (left, right):
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        if axes.lines:
            axes.legend(loc="best", fontsize=10, **canvas.LEGEND_IN_PLOT)
        else:
            axes.text(0.5, 0.5, "no lesions in the ground truth", color=canvas.FAINT, size=11, ha="center")
    right.axvline(threshold, color=canvas.TEXT, lw=1.2, ls=":", zorder=1)
    right.text(threshold + 0.01, 0.985, f"{threshold:g}", color=canvas.TEXT, size=10, va="top")
    canvas.save(figure, path)
