"""Predictions below the ground truth, one slice per column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from . import canvas
from .grid import ImageGrid, height_over_width
from .styles import ClassStyle


def draw_comparison(
    path: str | Path,
    images: Sequence[np.ndarray],
    truths: Sequence[np.ndarray] | None,
    predictions: Mapping[str, Sequence[np.ndarray]],
    classes: Sequence[ClassStyle],
    titles: Sequence[str],
    sides: bool = True,
    window: tuple[float, float] | None = None,
    title: str = "",
    note: str = "",
) -> None:
    """Draw slices side by side: in each column the image, the ground truth and the predictions.

    Args:
        path: PNG to write, at most 1600 pixels wide; its folder is made if it is missing.
        images: arrays (X, Y) in LPS order, with values of any range.
        truths: ground truth, integers, same shape as their image; None if there is none, or one among the predictions.
        predictions: by name of the row, integers, same shape as their image.
        classes: what the values of the masks mean; other values are not drawn.
        titles: text above each column.
        sides: mark the patient's right and left; False for ultrasound, where they are unknown.
        window: values that are drawn black and white; None takes each image's 1st and 99th percentile.
        title: first line; it takes no room if empty.
        note: second line, likewise.

    Raises:
        ValueError: without slices, or if lists differ in length or shapes differ.
    """
    masks = {"image": None, **({} if truths is None else {"ground truth": truths}), **predictions}
    check_slices(images, [each for each in masks.values() if each is not None], titles)
    grid = ImageGrid(
        len(images),
        [max(height_over_width(image) for image in images)] * len(masks),
        title=title or None,
        note=note or None,
        titles=titles,
        labels=list(masks),
        legend=classes,
        widest=0.75 * canvas.CELL,
    )
    for column, image in enumerate(images):
        levels = window or (float(np.percentile(image, 1)), float(np.percentile(image, 99)))
        for row, drawn in enumerate(masks.values()):
            axes = grid.panel(row, column)
            canvas.show(axes, image, levels, 1.0)
            if drawn is not None:
                canvas.paint(axes, drawn[column], classes, 1.0)
            elif sides:
                canvas.mark_sides(axes)
    grid.save(path)


def check_slices(images: Sequence[np.ndarray], masks: Sequence[Sequence[np.ndarray]], titles: Sequence[str]) -> None:
    """Raise ValueError unless each slice has an image, its masks and a title, all of one shape."""
    lengths = [len(each) for each in (images, *masks, titles)]
    if len(set(lengths)) > 1 or not images:
        raise ValueError(f"Give an image, its masks and a title for each of one or more slices; got {lengths} of them.")
    for image, *drawn in zip(images, *masks, strict=True):
        if image.ndim != 2 or any(mask.shape != image.shape for mask in drawn):
            shapes = ", ".join(str(each.shape) for each in (image, *drawn))
            raise ValueError(f"An image and its masks need one shape (X, Y), got {shapes}. Bring them to one grid.")
