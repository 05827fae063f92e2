"""Paired dots: each patient's score by both runs, joined by a line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.lines import Line2D

from ..report import canvas
from ..statistics import Paired

PANEL, HEIGHT, ACROSS = 290, 330, 5  # pixels, pixels, panels in a row
BETTER, WORSE = canvas.line_colour(2), canvas.line_colour(0)


def draw_pairs(
    path: Path, pairs: Mapping[str, np.ndarray], results: Mapping[str, Paired], names: Sequence[str], note: str
) -> None:
    """Draw one panel per score: the pairs, and beside them both means with their intervals.

    Args:
        path: of the picture.
        pairs: by score: (2, patients), mean scores of each patient.
        results: comparison of each score.
        names: of the two runs.
        note: below the title.
    """
    across = min(ACROSS, len(pairs))
    down = math.ceil(len(pairs) / across)
    left, top = 62, 100
    width = max(560, across * PANEL + left)
    figure = canvas.new_figure(width, down * (HEIGHT + 70) + top + 20)
    canvas.write_heading(figure, f"{names[1]} against {names[0]}", note)
    for number, (score, values) in enumerate(pairs.items()):
        x, y = left + number % across * PANEL, top + number // across * (HEIGHT + 70)
        axes = canvas.add_plot(figure, x, y, PANEL - 72, HEIGHT, "", "")
        result = results[score]
        axes.set_title(canvas.shortened(score.replace("_", " "), PANEL, 11), color=canvas.TEXT, size=11, loc="left")
        rising = values[1] >= values[0]
        strength = max(0.15, min(0.9, 12 / max(1, len(rising))))
        for chosen, colour in ((rising, BETTER), (~rising, WORSE)):
            axes.plot([0, 1], values[:, chosen], color=colour, lw=1.0, alpha=strength, marker="o", ms=4)
        for place, mean in ((-0.22, result.first), (1.22, result.second)):
            reach = np.nan_to_num([[mean.value - mean.low], [mean.high - mean.value]])
            axes.errorbar(place, mean.value, reach, fmt="D", color=canvas.TEXT, ms=6, capsize=4, lw=1.5)
        axes.set_xlim(-0.5, 1.5)
        axes.set_xticks([0, 1], [canvas.shortened(name, 105, 9) for name in names])
        axes.grid(False, axis="x")
    handles = [
        Line2D([], [], color=BETTER, marker="o", ms=4, label=f"{names[1]} equal or higher"),
        Line2D([], [], color=WORSE, marker="o", ms=4, label="lower"),
        Line2D([], [], color=canvas.TEXT, marker="D", ls="", label="mean and 95 % interval"),
    ]
    figure.legend(handles=handles, loc="lower center", frameon=False, fontsize=10, labelcolor=canvas.TEXT, ncols=3)
    canvas.save(figure, path)
