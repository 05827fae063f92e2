"""A case with its mask, as a sheet of slices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .canvas import (
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
    body_field,
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
    chosen = _slices_to_show(mask, classes, slices)
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
