"""Training curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .canvas import (
    BACKGROUND,
    LINES,
    MARGIN,
    TEXT,
    add_plot,
    new_figure,
    save,
    write,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
