"""The layout that all figures of images share: panels in rows and columns, their names, a heading, a legend."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from . import canvas
from .styles import ClassStyle

TITLES, LABELS, LEGEND = 24, 14, 46  # pixels that they take above, beside and below the panels


def height_over_width(image: np.ndarray, aspect: float = 1.0) -> float:
    """Height of an image (X, Y) over its width, if a pixel is ``aspect`` times as high as wide."""
    return image.shape[1] * aspect / image.shape[0]


class ImageGrid:
    """Figure of panels in rows and columns, all of one width, together at most 1600 pixels wide.

    Args:
        columns: number of columns.
        rows: height of each row over the width of a panel; see ``height_over_width``.
        title: first line above the panels; None takes no room.
        note: second line; None takes no room.
        titles: text above each column; none take no room.
        labels: text beside each row, drawn upright; none take no room.
        legend: classes named below the panels; none take no room.
        widest: width of a panel at most, in pixels.
        heading: room between note and panels, in pixels; by default what ``titles`` need.
        caption: room below each panel, in pixels.
        right: room to the right of the panels, in pixels.
        below: room between panels and legend, in pixels.
        turn_single_column: lay a single column out as a row, which fits a screen better.
        hatched: the legend says what hatching means.

    Attributes:
        figure: the figure.
        width: of a panel, in pixels.
        heights: of each row's panels, in pixels.
        lefts: of each column, in pixels from the left.
        tops: of each row, in pixels from the top.
        end: where the room below the panels begins, in pixels from the top.

    Example:
        >>> grid = ImageGrid(len(images), [1.0, 1.0], title="case_1", labels=("image", "prediction"), legend=classes)
        >>> for column, (image, mask) in enumerate(zip(images, masks)):
        ...     for row in (0, 1):
        ...         canvas.show(grid.panel(row, column), image, canvas.LUNG_WINDOW, 1.0)
        ...     canvas.paint(grid.panel(1, column), mask, classes, 1.0)
        >>> grid.save("case_1.png")
    """

    def __init__(
        self,
        columns: int,
        rows: Sequence[float],
        *,
        title: str | None = None,
        note: str | None = None,
        titles: Sequence[str] = (),
        labels: Sequence[str] = (),
        legend: Sequence[ClassStyle] = (),
        widest: float = canvas.CELL,
        heading: float | None = None,
        caption: float = 0.0,
        right: float = canvas.MARGIN,
        below: float = 0.0,
        turn_single_column: bool = False,
        hatched: bool = False,
    ) -> None:
        self.hatched = hatched
        self.legend, self.turned = legend, turn_single_column and columns == 1
        if self.turned:
            columns, rows = len(rows), rows[:1]
        left = canvas.MARGIN + (LABELS if labels else 0)
        free = canvas.WIDTH - left - right - (columns - 1) * canvas.GAP
        self.width = min(widest, free / columns)
        self.lefts = [left + column * (self.width + canvas.GAP) for column in range(columns)]
        width = left + right + columns * (self.width + canvas.GAP) - canvas.GAP

        heading = (TITLES if titles else 0) if heading is None else heading
        top, bottom = canvas.heading_height(title, note) + heading, LEGEND if legend else canvas.MARGIN
        self.heights = [self.width * row for row in rows]
        *offsets, end = accumulate((height + caption + canvas.GAP for height in self.heights), initial=0.0)
        self.tops, self.end = [top + offset for offset in offsets], top + end

        self.figure = canvas.new_figure(width, self.end + below + bottom)
        canvas.write_heading(self.figure, title, note)
        self.panels = [
            [canvas.add_panel(self.figure, left, top, self.width, height) for left in self.lefts]
            for top, height in zip(self.tops, self.heights, strict=True)
        ]
        self._name_columns(titles)
        self._name_rows(labels)

    def panel(self, row: int, column: int) -> Axes:
        """Axes of a panel, counted from the upper left."""
        return self.panels[0][row] if self.turned else self.panels[row][column]

    def save(self, path: str | Path) -> None:
        """Add the legend and write a PNG; its folder is made if it is missing."""
        if self.legend:
            canvas.add_legend(self.figure, self.legend, self.hatched)
        canvas.save(self.figure, path)

    def _name_columns(self, titles: Sequence[str]) -> None:
        for column, title in enumerate(titles):
            text = canvas.shortened(title, self.width, 9)
            self.panels[0][column].set_title(text, color=canvas.TEXT, size=9, pad=7, parse_math=False)

    def _name_rows(self, labels: Sequence[str]) -> None:
        for row, label in enumerate(labels):
            axes, text = self.panels[row][0], canvas.shortened(label, self.heights[row], 11)
            side = axes.text(-10 / self.width, 0.5, text, color=canvas.FAINT, size=11, rotation=90, ha="center")
            side.set(transform=axes.transAxes, va="center", parse_math=False)
