"""A paper's table as a figure: our runs beside the paper's numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..report import canvas
from .measured import Cell, Measured

MARKS = {"ours: mean, standard deviation, runs": "o", "paper": "D"}
COUNTS = 100  # numbers as large as this, beside smaller ones, are not seen on a linear axis
LEGEND: dict[str, Any] = {"loc": "lower center", "frameon": False, "fontsize": 10, "labelcolor": canvas.TEXT}


def draw_scores(path: Path, measured: Measured, subtitle: str) -> None:
    """Draw the scores under each heading of the table, with one colour per variant and quoted row.

    Our mean is a disc, with the standard deviation and the single runs; the paper's number is a diamond.
    """
    table = measured.table
    headings = table.drawn
    rows = [*table.variants, *table.quoted]
    width = min(1600, max(900, 160 + 45 * len(headings) * (1 + len(rows))))
    labels = [*rows, *MARKS]
    columns = _legend_columns(labels, width - 2 * canvas.MARGIN)
    figure, axes = _add_axes(width, table.title, subtitle, math.ceil(len(labels) / columns))
    cells = {variant: measured.cells(variant) for variant in table.variants}
    step = 0.8 / max(1, len(rows))
    for number, row in enumerate(rows):
        for column, heading in enumerate(headings):
            x, shift = column - 0.4 + (number + 0.5) * step, 0.2 * step
            cell = cells[row][heading] if row in cells else Cell({})
            _draw_cell(axes, (x - shift, x + shift), cell, table.paper_score(row, heading), canvas.line_colour(number))
    values = [value for row in cells.values() for name in headings for value in row[name].values.values()]
    _fit_to_values(axes, values)
    axes.set_xlim(-0.5, len(headings) - 0.5)
    axes.set_xticks(range(len(headings)), [heading.replace(" ", "\n") for heading in headings])
    axes.set_xticks([column + 0.5 for column in range(len(headings) - 1)], minor=True)
    axes.grid(axis="x", which="minor", color=canvas.GRID_LINE, lw=0.8)
    figure.legend(handles=_legend_entries(rows), ncols=columns, **LEGEND)
    canvas.save(figure, path)


def draw_curve(path: Path, measured: Measured, subtitle: str) -> None:
    """Draw one line per heading over the places of the variants: our mean, standard deviation and runs.

    The paper's numbers are diamonds.
    """
    table, cells = measured.table, {variant: measured.cells(variant) for variant in measured.table.variants}
    label, places = table.curve or ("", {})
    figure, axes = _add_axes(1000, table.title, subtitle)
    for number, heading in enumerate(table.drawn):
        colour = canvas.line_colour(number)
        found = [(places[variant], cells[variant][heading]) for variant in table.variants]
        for x, cell in found:
            axes.plot([x] * len(cell.values), list(cell.values.values()), ".", color=colour, alpha=0.6)
        points = [(x, cell.mean, cell.std or 0.0) for x, cell in found if cell.mean is not None]
        if points:
            x_ours, mean, std = zip(*points, strict=True)
            axes.errorbar(x_ours, mean, std, fmt="o-", color=colour, ms=6, capsize=3, lw=1.6, label=f"{heading}, ours")
        given = [(places[variant], row[heading][0]) for variant, row in table.paper.items() if heading in row]
        if given:
            face, name = canvas.BACKGROUND, f"{heading}, paper"
            axes.plot(*zip(*given, strict=True), "D", color=colour, mfc=face, ms=7, label=name)
    axes.set_xticks(sorted(places.values()))
    axes.set_xlabel(label, color=canvas.FAINT, size=10)
    figure.legend(ncols=4, **LEGEND)
    canvas.save(figure, path)


def _add_axes(width: float, title: str, subtitle: str, rows: int = 1) -> tuple[Figure, Axes]:
    """Figure with both lines of text, and axes with room for a legend of some rows below."""
    figure = canvas.new_figure(width, 500 + 20 * rows)
    canvas.write_heading(figure, title, subtitle)
    axes = canvas.add_plot(figure, 70, 74, width - 70 - canvas.MARGIN, 340, "", "")
    axes.tick_params(length=0, which="minor")
    axes.grid(False, axis="x")
    return figure, axes


def _draw_cell(
    axes: Axes, places: tuple[float, float], cell: Cell, paper: tuple[float | None, float | None], colour: str
) -> None:
    """Draw our score and the paper's at their places on the horizontal axis."""
    axes.plot([places[0]] * len(cell.values), list(cell.values.values()), ".", color=colour, alpha=0.6)
    scores = ((cell.mean, cell.std), paper)
    for x, (mean, std), mark in zip(places, scores, MARKS.values(), strict=True):
        if mean is not None:
            face = colour if mark == "o" else canvas.BACKGROUND
            axes.errorbar(x, mean, std, fmt=mark, color=colour, mfc=face, ms=7, capsize=3, lw=1.4)


def _fit_to_values(axes: Axes, values: Sequence[float]) -> None:
    """Keep the axis of scores near 0..1, beyond which a deviation may reach; counts have a logarithmic axis."""
    if values and 0 <= min(values) and max(values) <= 1:
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, -0.03), min(high, 1.03))
    elif values and min(values) >= 0 and max(values) >= COUNTS:
        axes.set_yscale("symlog", linthresh=1.0)
        axes.set_ylim(bottom=0)


def _legend_columns(labels: Sequence[str], width: float) -> int:
    """Number of legend columns, filled one after the other, that fit into a width in pixels."""
    for columns in range(len(labels), 1, -1):
        parts = np.array_split(np.array(labels), columns)  # as matplotlib distributes them
        if sum(7.5 * max(map(len, part)) + 60 for part in parts) <= width:
            return columns
    return 1


def _legend_entries(rows: Sequence[str]) -> list[Line2D]:
    """A square in the colour of each row, and the marks of our score and the paper's."""
    colours = [
        Line2D([], [], color=canvas.line_colour(number), marker="s", ls="", label=row)
        for number, row in enumerate(rows)
    ]
    faces = {"o": canvas.FAINT, "D": canvas.BACKGROUND}
    return colours + [
        Line2D([], [], color=canvas.FAINT, marker=mark, mfc=faces[mark], label=name) for name, mark in MARKS.items()
    ]
