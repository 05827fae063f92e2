"""Figure of an audit's findings, each with its surroundings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ..report import canvas
from ..report.grid import ImageGrid
from ..report.styles import ClassStyle
from .findings import KINDS, Finding

SHOWN, OF_A_KIND = 12, 4  # findings to draw, at most; largest of each kind that are always among them
COLUMNS, CAPTION, SIZE = 4, 46, 9.5  # panels in a row, at most; pixels below a panel; points
SIDE, WIDEST = 120.0, 1.2  # side of a panel in mm, or this many times a larger finding
LINES: tuple[Any, ...] = ("-", "-", (0, (3, 3)))  # the prediction is dashed, so that an equal ground truth shows
LUNG, GROUND_TRUTH, PREDICTION = (
    ClassStyle("lung", 1, (100, 143, 255)),
    ClassStyle("ground truth", 2, (255, 176, 0)),
    ClassStyle("prediction", 3, (220, 38, 127)),
)


@dataclass(frozen=True, eq=False)
class Surroundings:
    """A finding in its surroundings, all (columns, rows): scan; lung, ground truth and prediction; the finding."""

    case: str
    image: np.ndarray
    areas: list[np.ndarray]
    finding: np.ndarray
    aspect: float  # height of a pixel over its width


def crop_surroundings(case: str, finding: Finding, arrays: Sequence[np.ndarray], pixel: np.ndarray) -> Surroundings:
    """Crop scan, lung, ground truth and prediction (X, Y, Z) to the surroundings of a finding; ``pixel`` in mm."""
    shape = finding.pixels.shape
    side = max(SIDE, *(WIDEST * pixel * shape))
    field, place = [], []
    for first, length, size, whole in zip(finding.corner, shape, pixel, arrays[0].shape[:2], strict=True):
        width = min(whole, round(side / size))
        start = min(max(0, round(first + (length - width) / 2)), whole - width)
        field.append(slice(start, start + width))
        place.append(slice(first - start, first - start + length))
    image, *areas = (array[field[0], field[1], finding.slice - 1].copy() for array in arrays)
    mask = np.zeros(image.shape, bool)
    mask[place[0], place[1]] = finding.pixels
    return Surroundings(case, image, areas, mask, float(pixel[1] / pixel[0]))


def largest_findings(candidates: Iterable[Finding]) -> list[Finding]:
    """Select the findings to draw, largest first.

    A finding that is left out would also be left out of any larger set of candidates, so it need not be kept.
    """
    order = sorted(candidates, key=lambda finding: -finding.size)
    first = [each for kind in KINDS for each in [one for one in order if one.kind == kind][:OF_A_KIND]]
    chosen = [*first, *(each for each in order if each not in first)][:SHOWN]
    return sorted(chosen, key=lambda finding: -finding.size)


def draw_findings(path: Path, findings: Mapping[Finding, Surroundings], title: str, note: str) -> None:
    """Draw a panel for each finding, with a caption, below a title and a note."""
    rows = -(-len(findings) // COLUMNS)
    columns = -(-len(findings) // max(1, rows)) or 1
    legend = (LUNG, GROUND_TRUTH, PREDICTION) if findings else ()
    grid = ImageGrid(columns, [1.0] * rows, title=title, note=note, legend=legend, caption=CAPTION)
    for position, (finding, surroundings) in enumerate(findings.items()):
        row, column = divmod(position, columns)
        _draw_finding(grid.panel(row, column), finding, surroundings)
        left, top = grid.lefts[column], grid.tops[row] + grid.heights[row]
        where = f", slice {finding.slice}, {finding.kind}"
        name = canvas.shortened(surroundings.case, grid.width - canvas.GAP - 0.7 * SIZE * len(where), SIZE)
        canvas.write(grid.figure, left, top + 14, name + where, SIZE)
        canvas.write(grid.figure, left, top + 34, _measured(finding), SIZE, canvas.FAINT)
    grid.save(path)


def _draw_finding(axes: Axes, finding: Finding, shown: Surroundings) -> None:
    canvas.show(axes, shown.image, canvas.LUNG_WINDOW, shown.aspect)
    axes.autoscale(False)
    colour = (PREDICTION if finding.kind == KINDS[1] else GROUND_TRUTH).rgb
    fill = shown.finding.T[..., None] * np.array([*colour, canvas.FILL / 2])
    axes.imshow(fill, origin="upper", aspect=shown.aspect)
    grid = [np.arange(-1, size + 1) for size in shown.image.shape]
    for style, area, line in zip((LUNG, GROUND_TRUTH, PREDICTION), shown.areas, LINES, strict=True):
        if area.any():
            edges = np.pad(area.T, 1, mode="edge").astype(np.float32)  # no line where the border of the panel cuts it
            axes.contour(*grid, edges, levels=[0.5], colors=[style.rgb], linewidths=1.5, linestyles=[line])
    canvas.mark_sides(axes)


def _measured(finding: Finding) -> str:
    area = f"{finding.area_pixels} pixels" if finding.area_mm2 is None else f"{finding.area_mm2:.0f} mm²"
    probability = "" if finding.probability is None else f", p {finding.probability:.2f}"
    return f"{area}, {finding.mean_hu:.0f} HU{probability}"
