"""Pictures of an audit's findings, each in its surroundings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..report.canvas import (
    CELL,
    FAINT,
    FILL,
    FOOTER,
    HEADER,
    MARGIN,
    TEXT,
    WIDTH,
    add_legend,
    add_panel,
    mark_sides,
    new_figure,
    save,
    shortened,
    show,
    write,
)
from ..report.styles import ClassStyle
from .findings import KINDS, Finding

SHOWN, OF_A_KIND = 12, 4  # cells of the sheet; the largest of each kind that are shown before others
SIDE, WIDEST, ABREAST = 120.0, 1.2, 4  # mm, side of a cell; side over a finding that is larger; cells in a row
SPACE, CAPTION, SIZE = 12, 46, 9.5  # pixels between cells; pixels below a cell; points
LINES: tuple[Any, ...] = ("-", "-", (0, (3, 3)))  # lung, truth, prediction: dashed, so that an equal truth shows
WINDOW = (-1350.0, 150.0)  # HU
LUNG, TRUTH, PREDICTION = (
    ClassStyle("lung", 1, (100, 143, 255)),
    ClassStyle("truth", 2, (255, 176, 0)),
    ClassStyle("prediction", 3, (220, 38, 127)),
)


@dataclass(frozen=True, eq=False)
class Cell:
    """A finding in its surroundings, all (columns, rows): scan; lung, truth and prediction; the finding itself."""

    case: str
    image: np.ndarray
    outlines: list[np.ndarray]
    marked: np.ndarray
    aspect: float  # height of a pixel over its width


def cut_out(case: str, finding: Finding, arrays: Sequence[np.ndarray], pixel: np.ndarray) -> Cell:
    """Cut a finding's surroundings out of scan, lung, truth and prediction (X, Y, Z)."""
    shape = finding.pixels.shape
    side = max(SIDE, *(WIDEST * pixel * shape))
    field, place = [], []
    for first, length, size, whole in zip(finding.corner, shape, pixel, arrays[0].shape[:2], strict=True):
        width = min(whole, round(side / size))
        start = min(max(0, round(first + (length - width) / 2)), whole - width)
        field.append(slice(start, start + width))
        place.append(slice(first - start, first - start + length))
    image, *outlines = (array[field[0], field[1], finding.slice - 1].copy() for array in arrays)
    marked = np.zeros(image.shape, bool)
    marked[place[0], place[1]] = finding.pixels
    return Cell(case, image, outlines, marked, float(pixel[1] / pixel[0]))


def largest(candidates: Iterable[Finding]) -> list[Finding]:
    """Those for the sheet, largest first. What is left out now would also be left out of more candidates."""
    order = sorted(candidates, key=lambda finding: -finding.size)
    first = [each for kind in KINDS for each in [one for one in order if one.kind == kind][:OF_A_KIND]]
    chosen = [*first, *(each for each in order if each not in first)][:SHOWN]
    return sorted(chosen, key=lambda finding: -finding.size)


def draw_sheet(path: Path, cells: Mapping[Finding, Cell], title: str, note: str) -> None:
    """The sheet: a cell for each finding, below a line that sums up."""
    rows = -(-len(cells) // ABREAST)
    columns = -(-len(cells) // max(1, rows)) or 1
    panel = min(CELL, (WIDTH - 2 * MARGIN - (columns - 1) * SPACE) / columns)
    tall = panel + CAPTION + SPACE
    figure = new_figure(
        2 * MARGIN + columns * (panel + SPACE) - SPACE, HEADER + rows * tall + (FOOTER - SPACE if cells else 0)
    )
    write(figure, MARGIN, 22, title, 13)
    write(figure, MARGIN, 46, note, 10.5, FAINT)
    for position, (finding, cell) in enumerate(cells.items()):
        left, top = MARGIN + position % columns * (panel + SPACE), HEADER + position // columns * tall
        axes = add_panel(figure, left, top, panel, panel)
        show(axes, cell.image, WINDOW, cell.aspect)
        axes.autoscale(False)
        colour = (TRUTH if finding.kind == KINDS[0] else PREDICTION).rgb
        axes.imshow(cell.marked.T[..., None] * np.array([*colour, FILL / 2]), origin="upper", aspect=cell.aspect)
        grid = [np.arange(-1, size + 1) for size in cell.image.shape]
        for style, area, line in zip((LUNG, TRUTH, PREDICTION), cell.outlines, LINES, strict=True):
            if area.any():
                edges = np.pad(area.T, 1, mode="edge").astype(np.float32)  # no line where the cell cuts an area
                axes.contour(*grid, edges, levels=[0.5], colors=[style.rgb], linewidths=1.5, linestyles=[line])
        mark_sides(axes)
        where = f", slice {finding.slice}, {finding.kind}"
        name = shortened(cell.case, panel - 0.7 * SIZE * len(where), SIZE)
        write(figure, left, top + panel + 14, name + where, SIZE, TEXT)
        covered = f"{finding.area_pixels} pixels" if finding.area_mm2 is None else f"{finding.area_mm2:.0f} mm²"
        sure = "" if finding.probability is None else f", p {finding.probability:.2f}"
        write(figure, left, top + panel + 34, f"{covered}, {finding.mean_hu:.0f} HU{sure}", SIZE, FAINT)
    if cells:
        add_legend(figure, (LUNG, TRUTH, PREDICTION))
    save(figure, path)
