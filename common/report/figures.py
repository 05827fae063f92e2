"""Pictures as PNG: a case with its mask, predictions beside the truth, confusion matrices, training curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .canvas import (
    BACKGROUND,
    CELL,
    FAINT,
    FOOTER,
    GAP,
    HEADER,
    LINES,
    MARGIN,
    TEXT,
    WIDTH,
    add_label,
    add_legend,
    add_panel,
    add_plot,
    add_title,
    body_field,
    label_row,
    mark_sides,
    new_figure,
    paint,
    save,
    show,
    write,
)
from .styles import ClassStyle

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def _chosen(mask: np.ndarray, classes: Sequence[ClassStyle], count: int) -> list[int]:
    """Up to ``count`` slices at even quantiles of lesion area, with the largest one, from superior to inferior."""
    lesions = [style.value for style in classes if style.is_lesion]
    lungs = [style.value for style in classes if style.name == "lung"]
    area = np.ones(mask.shape[2])
    for values in (lungs, lesions):
        found = sum(((mask == value).sum(axis=(0, 1)) for value in values), start=np.zeros(mask.shape[2]))
        area = found if found.any() else area
    quantiles = (np.arange(count) + 0.5) / count
    chosen = np.unique(np.searchsorted(np.cumsum(area) / area.sum(), quantiles)).tolist()
    largest = int(area.argmax())
    if area[chosen].max() < area[largest]:
        chosen.remove(min(chosen, key=lambda index: abs(index - largest)))
        chosen.append(largest)
    return sorted(chosen, reverse=True)


def overlay(
    path: str | Path,
    image: np.ndarray,
    mask: np.ndarray,
    classes: Sequence[ClassStyle],
    title: str = "",
    window: tuple[float, float] = (-1350.0, 150.0),
    slices: int = 6,
    note: str = "",
    spacing: tuple[float, float, float] | None = None,
) -> None:
    """Sheet of a case: axial slices above, the same with the mask below; side by side for a single slice.

    Slices lie at even quantiles of the lesion area (without lesions, of the lung), the one with most lesion among them,
    from superior to inferior, cropped to the body. Their numbers count from 1 at the most inferior.

    Args:
        path: PNG to write, at most 1600 pixels wide; its folder is made where missing.
        image: HU, (X, Y, Z) in LPS order.
        mask: integers, same shape.
        classes: what the values of the mask mean; others are not drawn.
        title: first line, usually the case.
        window: HU that are drawn black and white.
        slices: the most slices to show.
        note: second line.
        spacing: voxel size in mm; None draws square pixels.

    Raises:
        ValueError: for an image or a mask without three axes, shapes that differ, or ``slices`` below 1.
    """
    if image.ndim != 3 or image.shape != mask.shape or image.size == 0:
        raise ValueError(f"Image and mask have one shape (X, Y, Z), got {image.shape} and {mask.shape}. Reorient both.")
    if slices < 1:
        raise ValueError(f"A sheet shows 1 slice or more, got slices={slices}.")
    chosen = _chosen(mask, classes, slices)
    field = body_field(image[:, :, chosen])
    aspect = spacing[1] / spacing[0] if spacing else 1.0  # height of a pixel over its width
    columns = max(2, len(chosen))
    panel = min(CELL, (WIDTH - 2 * MARGIN - (columns - 1) * GAP) / columns)
    tall = panel * (field[1].stop - field[1].start) * aspect / (field[0].stop - field[0].start)
    rows = 1 if len(chosen) == 1 else 2
    figure = new_figure(2 * MARGIN + columns * (panel + GAP) - GAP, HEADER + rows * (tall + GAP) + FOOTER)
    write(figure, MARGIN, 22, title, 13)
    write(figure, MARGIN, 46, note, 10.5, FAINT)
    for position, index in enumerate(chosen):
        plane = image[field[0], field[1], index]
        plain = add_panel(figure, MARGIN + position * (panel + GAP), HEADER, panel, tall)
        show(plain, plane, window, aspect)
        mark_sides(plain)
        if image.shape[2] > 1:
            add_label(plain, 0.02, 0.95, f"{index + 1} / {image.shape[2]}")
        beside, below = (panel + GAP, 0.0) if rows == 1 else (0.0, tall + GAP)
        left = MARGIN + position * (panel + GAP)
        painted = add_panel(figure, left + beside, HEADER + below, panel, tall)
        show(painted, plane, window, aspect)
        paint(painted, mask[field[0], field[1], index], classes, aspect)
    add_legend(figure, classes)
    save(figure, path)


def comparison(
    path: str | Path,
    images: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    predictions: Mapping[str, Sequence[np.ndarray]],
    classes: Sequence[ClassStyle],
    titles: Sequence[str],
    sides: bool = True,
    window: tuple[float, float] | None = None,
    title: str = "",
    note: str = "",
) -> None:
    """Sheet of slices: image, truth and each prediction below each other, one slice a column.

    Args:
        path: PNG to write, at most 1600 pixels wide; its folder is made where missing.
        images: arrays (X, Y) in LPS order of any range.
        truths: integers, the shape of their image.
        predictions: by name of the row, integers, the shape of their image.
        classes: what the values of the masks mean; others are not drawn.
        titles: text above each column.
        sides: mark the patient's right and left, which ultrasound does not know.
        window: values that are drawn black and white; None takes each image's 1st and 99th percentile.
        title: first line, without which it takes no room.
        note: second line, likewise.

    Raises:
        ValueError: for no slices, lists of differing length, or shapes that differ.
    """
    check_slices(images, [truths, *predictions.values()], titles)
    lines = [line for line in ((title, 13.0, TEXT), (note, 10.5, FAINT)) if line[0]]
    edge, header = MARGIN + 14, 40 + 24 * len(lines)
    panel = min(0.75 * CELL, (WIDTH - edge - MARGIN - (len(images) - 1) * GAP) / len(images))
    tall = panel * max(image.shape[1] / image.shape[0] for image in images)
    width = edge + MARGIN + len(images) * (panel + GAP) - GAP
    rows = {"image": None, "truth": truths, **predictions}
    figure = new_figure(width, header + len(rows) * (tall + GAP) + FOOTER)
    for number, line in enumerate(lines):
        write(figure, MARGIN, 22 + 24 * number, *line)
    for column, image in enumerate(images):
        levels = window or (float(np.percentile(image, 1)), float(np.percentile(image, 99)))
        for row, (name, masks) in enumerate(rows.items()):
            axes = add_panel(figure, edge + column * (panel + GAP), header + row * (tall + GAP), panel, tall)
            show(axes, image, levels, 1.0)
            if masks is None:
                add_title(axes, titles[column], panel)
                if sides:
                    mark_sides(axes)
            else:
                paint(axes, masks[column], classes, 1.0)
            if column == 0:
                label_row(axes, name, panel, tall)
    add_legend(figure, classes)
    save(figure, path)


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


def check_slices(images: Sequence[np.ndarray], masks: Sequence[Sequence[np.ndarray]], titles: Sequence[str]) -> None:
    """Raise ValueError unless there is one of each per slice, of one shape."""
    lengths = [len(each) for each in (images, *masks, titles)]
    if len(set(lengths)) > 1 or not images:
        raise ValueError(f"Give an image, its masks and a title for each of one or more slices, got {lengths}.")
    for image, *drawn in zip(images, *masks, strict=True):
        if image.ndim != 2 or any(mask.shape != image.shape for mask in drawn):
            shapes = ", ".join(str(each.shape) for each in (image, *drawn))
            raise ValueError(f"An image and its masks have one shape (X, Y), got {shapes}. Put them on one grid.")


def _lines(axes: Axes, rows: Sequence[Mapping[str, float]], columns: Sequence[str], prefix: str) -> None:
    """One line a column over epochs, without its missing values, labelled with its last one."""
    for position, column in enumerate(columns):
        points = [(row.get("epoch", number), row.get(column, np.nan)) for number, row in enumerate(rows, start=1)]
        axes.set_xlim(0.5, max([2.0, *(point[0] for point in points)]) + 0.5)
        finite = [point for point in points if np.isfinite(point[1])]
        name = column.removeprefix(prefix).replace("_", " ")
        name += f"  {finite[-1][1]:.3f}" if finite else "  none"
        marker = "o" if len(rows) <= 30 else None
        x, y = zip(*finite, strict=True) if finite else ((), ())
        axes.plot(x, y, color=LINES[position % len(LINES)], lw=1.8, marker=marker, ms=4, label=name)


def curves(
    path: str | Path,
    rows: Sequence[Mapping[str, float]],
    loss_columns: Sequence[str],
    score_columns: Sequence[str],
    title: str = "",
    score: str = "Dice",
) -> None:
    """Training curves: losses on the left, scores on the right, over epochs; legends tell the last values.

    Args:
        path: PNG to write, 1200 pixels wide; its folder is made where missing.
        rows: a mapping an epoch; ``epoch`` counts from 1 where missing. Missing values and NaN are left out.
        loss_columns: keys of losses; several share a logarithmic scale.
        score_columns: keys of scores, drawn from 0 to 1 where none is beyond; a prefix ``<score>_`` is left out of
            their names.
        title: line above.
        score: what the scores are.
    """
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    several = len(loss_columns) > 1
    figure = new_figure(1200, 520 if several else 460)
    write(figure, MARGIN, 22, title, 13)
    for left, name, columns in ((70, "loss", loss_columns), (670, score, score_columns)):
        axes = add_plot(figure, left, 62, 510, 330, name, "epoch")
        _lines(axes, rows, columns, f"{score.lower()}_")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        values = [row.get(column, np.nan) for row in rows for column in columns]
        if columns is score_columns and not any(value < 0 or value > 1 for value in values):
            axes.set_ylim(-0.02, 1.02)
        frame: dict[str, Any] = {"loc": "best", "facecolor": BACKGROUND, "edgecolor": "none", "framealpha": 0.8}
        if columns is loss_columns and several:
            axes.set_yscale("symlog", linthresh=0.1)  # terms of several sizes, of either sign
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            frame = {"loc": "upper left", "bbox_to_anchor": (-0.03, -0.14), "ncols": 3, "frameon": False}
        if columns:
            axes.legend(labelcolor=TEXT, fontsize=9 if several else 10, **frame)
    save(figure, path)
