"""Training curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from . import canvas

Rows = Sequence[Mapping[str, float]]


def draw_curves(
    path: str | Path,
    rows: Rows,
    loss_columns: Sequence[str],
    score_columns: Sequence[str],
    title: str = "",
    score: str = "Dice",
) -> None:
    """Draw losses on the left and scores on the right, over epochs; legends show the last values.

    Args:
        path: PNG to write, 1200 pixels wide; its folder is made if it is missing.
        rows: one mapping per epoch. ``epoch`` counts from 1 if it is missing. Missing values and NaN are left out.
        loss_columns: keys of losses; several share a logarithmic scale.
        score_columns: keys of scores, drawn from 0 to 1 unless a value lies outside. The legend leaves out a prefix
            ``<score>_``.
        title: line above.
        score: what the scores are.
    """
    several = len(loss_columns) > 1
    figure = canvas.new_figure(1200, 520 if several else 460)
    canvas.write_heading(figure, title)
    losses = canvas.add_plot(figure, 70, 62, 510, 330, "loss", "epoch")
    scores = canvas.add_plot(figure, 670, 62, 510, 330, score, "epoch")
    for axes, columns in ((losses, loss_columns), (scores, score_columns)):
        _draw_lines(axes, rows, columns, f"{score.lower()}_")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if not any(value < 0 or value > 1 for value in _values(rows, score_columns)):
        scores.set_ylim(-0.02, 1.02)
    size = 9 if several else 10
    if several:
        losses.set_yscale("symlog", linthresh=0.1)  # terms of several sizes, of either sign
        losses.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        below: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (-0.03, -0.14), "ncols": 3, "frameon": False}
        losses.legend(labelcolor=canvas.TEXT, fontsize=size, **below)
    elif loss_columns:
        losses.legend(loc="best", fontsize=size, **canvas.LEGEND_IN_PLOT)
    if score_columns:
        scores.legend(loc="best", fontsize=size, **canvas.LEGEND_IN_PLOT)
    canvas.save(figure, path)


def _values(rows: Rows, columns: Sequence[str]) -> list[float]:
    return [row.get(column, np.nan) for row in rows for column in columns]


def _draw_lines(axes: Axes, rows: Rows, columns: Sequence[str], prefix: str) -> None:
    """One line per column over epochs, without missing values, labelled with its last value."""
    for position, column in enumerate(columns):
        points = [(row.get("epoch", number), row.get(column, np.nan)) for number, row in enumerate(rows, start=1)]
        axes.set_xlim(0.5, max([2.0, *(point[0] for point in points)]) + 0.5)
        finite = [point for point in points if np.isfinite(point[1])]
        name = column.removeprefix(prefix).replace("_", " ")
        name += f"  {finite[-1][1]:.3f}" if finite else "  none"
        marker = "o" if len(rows) <= 30 else None
        x, y = zip(*finite, strict=True) if finite else ((), ())
        axes.plot(x, y, color=canvas.line_colour(position), lw=1.8, marker=marker, ms=4, label=name)
