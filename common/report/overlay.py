"""Overlay of a CT case: some of its slices, with the mask drawn over them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from . import canvas
from .grid import ImageGrid, height_over_width
from .styles import ClassStyle


def _slices_to_show(mask: np.ndarray, classes: Sequence[ClassStyle], count: int) -> list[int]:
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


def draw_overlay(
    path: str | Path,
    image: np.ndarray,
    mask: np.ndarray,
    classes: Sequence[ClassStyle],
    title: str = "",
    window: tuple[float, float] = canvas.LUNG_WINDOW,
    slices: int = 6,
    note: str = "",
    spacing: tuple[float, float, float] | None = None,
    uncertain: np.ndarray | None = None,
) -> None:
    """Draw axial slices of a case, and the same slices with the mask below; a single slice has its mask at its side.

    Slices lie at even quantiles of the lesion area (or of the lung area, if there are no lesions). The slice with the
    largest lesion area is always among them. They are ordered from superior to inferior and cropped to the body. Slice
    numbers count from 1 at the most inferior.

    Args:
        path: PNG to write, at most 1600 pixels wide; its folder is made if it is missing.
        image: HU, (X, Y, Z) in LPS order.
        mask: integers, same shape.
        classes: what the values of the mask mean; other values are not drawn.
        title: first line, usually the case.
        window: HU that are drawn black and white.
        slices: number of slices to show, at most.
        note: second line.
        spacing: voxel size in mm; None draws square pixels.
        uncertain: bool, shape of the mask: lesions that are hatched.

    Raises:
        ValueError: for an image or a mask without three axes, shapes that differ, or ``slices`` below 1.
    """
    if image.ndim != 3 or image.shape != mask.shape or image.size == 0:
        raise ValueError(
            f"Image and mask need one shape (X, Y, Z), got {image.shape} and {mask.shape}. Bring both to one grid."
        )
    if slices < 1:
        raise ValueError(f"An overlay shows 1 slice or more, got slices={slices}.")
    chosen = _slices_to_show(mask, classes, slices)
    field = canvas.body_field(image[:, :, chosen])
    aspect = spacing[1] / spacing[0] if spacing else 1.0  # height of a pixel over its width
    rows = [height_over_width(image[field], aspect)] * 2
    hatched = uncertain is not None and bool(uncertain[:, :, chosen].any())
    grid = ImageGrid(
        len(chosen), rows, title=title, note=note, legend=classes, turn_single_column=True, hatched=hatched
    )
    for column, index in enumerate(chosen):
        plain, painted = grid.panel(0, column), grid.panel(1, column)
        for axes in (plain, painted):
            canvas.show(axes, image[field][..., index], window, aspect)
        canvas.paint(painted, mask[field][..., index], classes, aspect)
        if uncertain is not None:
            canvas.hatch(painted, uncertain[field][..., index])
        canvas.mark_sides(plain)
        if image.shape[2] > 1:
            canvas.add_label(plain, 0.02, 0.95, f"{index + 1} / {image.shape[2]}")
    grid.save(path)
