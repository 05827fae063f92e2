"""A paper's table as a figure: our runs beside the paper's numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..report.canvas import BACKGROUND, FAINT, LINES, MARGIN, TEXT, add_plot, new_figure, save, write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .measured import Measured


def _framed(width: float, title: str, subtitle: str, rows: int = 1) -> tuple[Figure, Axes]:
    """Figure with both lines of text, and axes with room for a legend of some rows below."""
    figure = new_figure(width, 500 + 20 * rows)
    write(figure, MARGIN, 22, title, 13)
    write(figure, MARGIN, 46, subtitle, 10.5, FAINT)
    axes = add_plot(figure, 70, 74, width - 70 - MARGIN, 340, "", "")
    axes.tick_params(length=0, which="minor")
    axes.grid(False, axis="x")
    return figure, axes


def _columns(labels: Sequence[str], width: float) -> int:
    """How many columns of a legend, filled one by one, fit into a width in pixels."""
    for columns in range(len(labels), 1, -1):
        longest = [
            max(map(len, part)) for part in np.array_split(np.array(labels), columns)
        ]  # as matplotlib deals them
        if sum(7.5 * letters + 60 for letters in longest) <= width:
            return columns
    return 1


def draw_curve(path: Path, measured: Measured, subtitle: str) -> None:
    """A line a heading over the variants' places: our mean, standard deviation and runs, the paper's as diamonds."""
    table, cells = measured.table, {variant: measured.cells(variant) for variant in measured.table.variants}
    label, places = table.curve or ("", {})
    figure, axes = _framed(1000, table.title, subtitle)
    for number, heading in enumerate(table.columns):
        colour = LINES[number % len(LINES)]
        found = [(places[variant], cells[variant][heading]) for variant in table.variants]
        for x, cell in found:
            axes.plot([x] * len(cell.values), list(cell.values.values()), ".", color=colour, alpha=0.6)
        points = [(x, cell.mean, cell.std or 0.0) for x, cell in found if cell.mean is not None]
        if points:
            across, mean, std = zip(*points, strict=True)
            axes.errorbar(across, mean, std, fmt="o-", color=colour, ms=6, capsize=3, lw=1.6, label=f"{heading}, ours")
        given = [(places[variant], row[heading][0]) for variant, row in table.paper.items() if heading in row]
        if given:
            axes.plot(*zip(*given, strict=True), "D", color=colour, mfc=BACKGROUND, ms=7, label=f"{heading}, paper")
    axes.set_xticks(sorted(places.values()))
    axes.set_xlabel(label, color=FAINT, size=10)
    figure.legend(loc="lower center", ncols=4, frameon=False, fontsize=10, labelcolor=TEXT)
    save(figure, path)


def draw(path: Path, measured: Measured, subtitle: str) -> None:
    """Under each heading, a variant a colour: our mean (disc), standard deviation and runs, the paper's (diamond)."""
    from matplotlib.lines import Line2D

    table, cells = measured.table, {variant: measured.cells(variant) for variant in measured.table.variants}
    width = min(1600, max(900, 160 + 45 * len(table.columns) * (1 + len(table.variants))))
    marks = {"ours: mean, standard deviation, runs": "o", "paper": "D"}
    labels = [*table.variants, *marks]
    columns = _columns(labels, width - 2 * MARGIN)
    figure, axes = _framed(width, table.title, subtitle, math.ceil(len(labels) / columns))
    step = 0.8 / max(1, len(table.variants))
    for row, variant in enumerate(table.variants):
        colour = LINES[row % len(LINES)]
        for column, (heading, cell) in enumerate(cells[variant].items()):
            x = column - 0.4 + (row + 0.5) * step
            axes.plot([x - 0.2 * step] * len(cell.values), list(cell.values.values()), ".", color=colour, alpha=0.6)
            paper = table.paper_score(variant, heading)
            for place, (mean, std), mark in (
                (x - 0.2 * step, (cell.mean, cell.std), "o"),
                (x + 0.2 * step, paper, "D"),
            ):
                if mean is not None:
                    face = colour if mark == "o" else BACKGROUND
                    axes.errorbar(place, mean, std, fmt=mark, color=colour, mfc=face, ms=7, capsize=3, lw=1.4)
    found = [value for row in cells.values() for cell in row.values() for value in cell.values.values()]
    if found and 0 <= min(found) and max(found) <= 1:  # scores: a deviation may reach beyond, the axis should not
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, -0.03), min(high, 1.03))
    axes.set_xlim(-0.5, len(table.columns) - 0.5)
    axes.set_xticks(range(len(table.columns)), [heading.replace(" ", "\n") for heading in table.columns])
    axes.set_xticks([column + 0.5 for column in range(len(table.columns) - 1)], minor=True)
    axes.grid(axis="x", which="minor", color="#2a2e36", lw=0.8)
    handles = [
        Line2D([], [], color=LINES[i % len(LINES)], marker="s", ls="", label=v) for i, v in enumerate(table.variants)
    ]
    faces = {"o": FAINT, "D": BACKGROUND}
    handles += [Line2D([], [], color=FAINT, marker=m, mfc=faces[m], label=name) for name, m in marks.items()]
    figure.legend(handles=handles, loc="lower center", ncols=columns, frameon=False, fontsize=10, labelcolor=TEXT)
    save(figure, path)
