"""The layout of figures of images: sizes and places in pixels, worked by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.report.grid import ImageGrid, height_over_width
from common.report.styles import ClassStyle

CLASSES = [ClassStyle("lung", 1, (100, 143, 255))]


def size(grid: ImageGrid) -> tuple[float, float]:
    """Width and height of the figure in pixels."""
    width, height = grid.figure.get_size_inches() * 100
    return pytest.approx(width), pytest.approx(height)


def test_panels_fill_the_width_and_their_names_take_room() -> None:
    bare = ImageGrid(4, [1.0, 0.5])
    assert bare.width == (1600 - 2 * 18 - 3 * 6) / 4 == 386.5
    assert (bare.lefts, bare.tops) == ([18, 410.5, 803, 1195.5], [16, 16 + 386.5 + 6])
    assert size(bare) == (1600, 16 + 386.5 + 6 + 193.25 + 6 + 18)
    named = ImageGrid(4, [1.0], title="a", note="b", titles=list("abcd"), labels=["image"], legend=CLASSES)
    assert (named.lefts[0], named.tops[0]) == (18 + 14, 16 + 2 * 24 + 24)
    assert size(named) == (1600, 88 + named.width + 6 + 46)


def test_few_panels_are_no_wider_than_they_may_be() -> None:
    grid = ImageGrid(2, [2.0], widest=100, right=50, heading=10, caption=20)
    assert (grid.width, grid.heights, grid.tops) == (100, [200], [26])
    assert size(grid) == (18 + 100 + 6 + 100 + 50, 26 + 200 + 20 + 6 + 18)


def test_a_single_column_may_lie_on_its_side() -> None:
    turned = ImageGrid(1, [1.0, 1.0], widest=100, turn_single_column=True)
    assert (len(turned.lefts), len(turned.tops)) == (2, 1)
    assert turned.panel(1, 0) is turned.panels[0][1]
    upright = ImageGrid(2, [1.0, 1.0], widest=100, turn_single_column=True)
    assert (len(upright.lefts), len(upright.tops)) == (2, 2) and upright.panel(1, 0) is upright.panels[1][0]


def test_a_panel_is_drawn_at_its_place(tmp_path: Path) -> None:
    grid = ImageGrid(2, [1.0, 2.0], widest=100)
    grid.panel(1, 1).imshow(np.full((2, 1), 1.0), cmap="gray", vmin=0, vmax=1, aspect="auto")
    grid.save(tmp_path / "new" / "grid.png")
    with Image.open(tmp_path / "new" / "grid.png") as picture:
        white = np.asarray(picture.convert("L")) > 250
    rows, columns = np.nonzero(white)
    assert (columns.min(), columns.max() + 1) == (18 + 100 + 6, 18 + 206)
    assert (rows.min(), rows.max() + 1) == (16 + 100 + 6, 16 + 106 + 200)


def test_height_over_width_counts_the_shape_of_pixels() -> None:
    assert height_over_width(np.zeros((40, 20, 3))) == 0.5  # 40 columns, 20 rows
    assert height_over_width(np.zeros((40, 20)), aspect=3.0) == 1.5
