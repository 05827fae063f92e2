"""Predictions beside the ground truth, a slice per column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .canvas import (
    CELL,
    FAINT,
    FOOTER,
    GAP,
    MARGIN,
    TEXT,
    WIDTH,
    add_legend,
    add_panel,
    add_title,
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
    pass


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


def check_slices(images: Sequence[np.ndarray], masks: Sequence[Sequence[np.ndarray]], titles: Sequence[str]) -> None:
    """Raise ValueError unless there is one of each per slice, of one shape."""
    lengths = [len(each) for each in (images, *masks, titles)]
    if len(set(lengths)) > 1 or not images:
        raise ValueError(f"Give an image, its masks and a title for each of one or more slices, got {lengths}.")
    for image, *drawn in zip(images, *masks, strict=True):
        if image.ndim != 2 or any(mask.shape != image.shape for mask in drawn):
            shapes = ", ".join(str(each.shape) for each in (image, *drawn))
            raise ValueError(f"An image and its masks have one shape (X, Y), got {shapes}. Put them on one grid.")
