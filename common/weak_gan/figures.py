"""Pictures of lesions that a network parts from normal lung: slices, and curves of how well they are found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..report.canvas import (
    BACKGROUND,
    CELL,
    FAINT,
    GAP,
    LINES,
    MARGIN,
    TEXT,
    WIDTH,
    add_panel,
    add_plot,
    add_title,
    contour,
    label_row,
    mark_sides,
    new_figure,
    save,
    show,
    write,
)
from ..report.comparison import check_slices
from ..report.styles import ClassStyle

TRUTH = ClassStyle("truth", 1, (255, 176, 0))
HEADER, BAR = 40, 58  # pixels; room for titles above, and for the colour bar at the right


def separation_sheet(
    path: str | Path,
    images: Sequence[np.ndarray],
    heats: Sequence[np.ndarray],
    titles: Sequence[str],
    normals: Sequence[np.ndarray] | None = None,
    truths: Sequence[np.ndarray] | None = None,
) -> None:
    """Sheet of slices: input, normal version, lesion map, and truth as a contour over the input, one slice a column.

    Slices of one shape are cropped to the lungs, and to heat outside them, if there is any.

    Args:
        path: PNG to write, at most 1600 pixels wide; its folder is made where missing.
        images: arrays (X, Y) in LPS order, -1..1.
        heats: 0..1, the shape of their image.
        titles: text above each column.
        normals: normal versions, -1..1, the shape of their image; None leaves the row out.
        truths: 0 and 1, the shape of their image; None leaves the row out.

    Raises:
        ValueError: for no slices, lists of differing length, or shapes that differ.
    """
    rows = {"input": images, "normal version": normals, "lesion map": heats, "truth": truths}
    shown = {name: planes for name, planes in rows.items() if planes is not None}
    check_slices(images, list(shown.values())[1:], titles)
    field = _field(images, heats)
    edge = MARGIN + 14
    panel = min(0.75 * CELL, (WIDTH - edge - BAR - (len(images) - 1) * GAP) / len(images))
    tall = panel * max(image[field].shape[1] / image[field].shape[0] for image in images)
    right = edge + len(images) * (panel + GAP) - GAP
    figure = new_figure(right + BAR, HEADER + len(shown) * (tall + GAP) + MARGIN)
    for row, (name, planes) in enumerate(shown.items()):
        top = HEADER + row * (tall + GAP)
        for column, plane in enumerate(planes):
            axes = add_panel(figure, edge + column * (panel + GAP), top, panel, tall)
            if name == "lesion map":
                heat = axes.imshow(plane[field].T, cmap="inferno", vmin=0, vmax=1, origin="upper")
            else:
                show(axes, (images[column] if name == "truth" else plane)[field], (-1, 1), 1.0)
            if name == "truth":
                contour(axes, plane[field] > 0.5, TRUTH)
            if row == 0:
                add_title(axes, titles[column], panel)
                mark_sides(axes)
            if column == 0:
                label_row(axes, name, panel, tall)
        if name == "lesion map":
            bar = add_panel(
                figure, right + GAP, top + 6, 10, tall - 12
            )  # ends lie within, for the height of the numbers
            bar.set_axis_on()
            figure.colorbar(heat, cax=bar, ticks=[0, 0.5, 1]).outline.set_visible(False)  # type: ignore[operator]
            bar.tick_params(colors=FAINT, labelsize=9, length=0)
    save(figure, path)


def _field(images: Sequence[np.ndarray], heats: Sequence[np.ndarray]) -> tuple[slice, ...]:
    """The part of slices (X, Y) that holds more than -1, or heat above 0.1, in any of them; else all of it."""
    if len({image.shape for image in images}) > 1:
        return (slice(None), slice(None))
    seen = (np.max(images, axis=0) > -1) | (np.max(heats, axis=0) > 0.1)
    if not seen.any():
        return (slice(None), slice(None))
    spare = max(seen.shape) // 16  # for the marks of the patient's sides
    ends = [(where.min() - spare, where.max() + 1 + spare) for where in np.nonzero(seen)]
    return tuple(slice(max(0, low), high) for low, high in ends)


def localisation_picture(
    path: str | Path,
    points: np.ndarray,
    area: float,
    thresholds: np.ndarray,
    dice: Mapping[str, np.ndarray],
    threshold: float,
    title: str = "",
) -> None:
    """Precision against recall with the area below on the left, Dice against threshold on the right.

    Args:
        path: PNG to write, 1200 pixels wide; its folder is made where missing.
        points: (N, 2), precision and recall in 0..1, from recall 0; a precision holds back to the point before it. N
            may be 0.
        area: below the curve; NaN where there is none.
        thresholds: (T,) of heat.
        dice: by name of the curve, (T,); NaN where there is none.
        threshold: that is marked.
        title: line above.
    """
    figure = new_figure(1200, 460)
    write(figure, MARGIN, 22, title, 13)
    left = add_plot(figure, 70, 62, 510, 330, "precision", "recall")
    if len(points):
        precision, recall = points.T
        left.step(recall, precision, where="pre", color=LINES[0], lw=1.8, label=f"area {area:.3f}")
        left.fill_between(recall, precision, step="pre", color=LINES[0], alpha=0.12, lw=0)
    right = add_plot(figure, 670, 62, 510, 330, "Dice", "threshold of heat")
    for number, (name, values) in enumerate(dice.items()):
        if np.isfinite(values).all():
            at = int(values.argmax())
            name += f", best {values[at]:.3f} at {thresholds[at]:.2f}"
            right.plot(thresholds, values, color=LINES[number], lw=1.8, marker="o", ms=4, label=name)
    for axes in (left, right):
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        if axes.lines:
            frame = {"facecolor": BACKGROUND, "edgecolor": "none", "framealpha": 0.8}
            axes.legend(loc="lower left", labelcolor=TEXT, fontsize=10, **frame)
        else:
            axes.text(0.5, 0.5, "no truth holds lesions", color=FAINT, size=11, ha="center")
    right.axvline(threshold, color=TEXT, lw=1.2, ls=":", zorder=1)
    right.text(threshold + 0.01, 0.985, f"{threshold:g}", color=TEXT, size=10, va="top")
    save(figure, path)
