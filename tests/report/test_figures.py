"""Figures of slices and curves, by their pixels."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from figures import CLASSES, pixels

from common.report.comparison import draw_comparison
from common.report.curves import draw_curves


def test_comparison(tmp_path: Path, rng: np.random.Generator) -> None:
    truth, prediction = np.zeros((60, 80), np.uint8), np.zeros((60, 80), np.uint8)
    truth[10:30, 10:30], prediction[10:30, 40:60] = 1, 2
    path = tmp_path / "comparison.png"
    images, columns = [rng.random((60, 80))] * 3, ["a", "b" * 90, "$c"]
    draw_comparison(path, images, [truth] * 3, {"prediction": [prediction] * 3}, CLASSES, columns)
    picture = pixels(path)
    third = (picture.shape[0] - 40 - 46) // 3
    rows = [picture[40 + row * third : 40 + (row + 1) * third] for row in range(3)]
    seen = [[bool((np.abs(row - np.array(s.colour)) <= 40).all(-1).sum() > 50) for s in CLASSES[:2]] for row in rows]
    assert seen == [[False, False], [True, False], [False, True]]
    with pytest.raises(ValueError, match=r"got \[1, 1, 1, 0\]"):
        draw_comparison(path, [truth], [truth], {"prediction": [truth]}, CLASSES, [])
    with pytest.raises(ValueError, match="one shape"):
        draw_comparison(path, [truth], [truth[1:]], {"prediction": [truth]}, CLASSES, ["a"])


def test_a_comparison_has_one_row_per_prediction_and_room_for_the_given_lines(tmp_path: Path) -> None:
    image, empty, block = np.zeros((60, 60)), np.zeros((60, 60), np.uint8), np.zeros((60, 60), np.uint8)
    block[20:40, 20:40] = 1
    path, predictions = tmp_path / "comparison.png", {"$first": [empty], "second " * 30: [block]}
    heights = {}
    for lines in ((), ("title",), ("title", "note")):
        draw_comparison(path, [image], [empty], predictions, CLASSES, ["a"], True, None, *lines)
        heights[len(lines)] = pixels(path).shape[0]
    assert (heights[1] - heights[0], heights[2] - heights[0]) == (24, 48)
    picture = pixels(path)
    quarter = (picture.shape[0] - 88 - 46) // 4
    rows = [picture[88 + row * quarter : 88 + (row + 1) * quarter, 40:-40] for row in range(4)]
    seen = [bool((np.abs(row - np.array(CLASSES[0].colour)) <= 40).all(-1).any()) for row in rows]
    assert seen == [False, False, False, True], "only the last row has a mask"


def test_a_window_draws_equal_values_equally_in_all_slices(tmp_path: Path) -> None:
    images = [np.full((40, 40), -0.3), np.linspace(-0.3, 1.0, 1600).reshape(40, 40)]
    path, masks = tmp_path / "comparison.png", [np.zeros((40, 40), np.uint8)] * 2
    draw_comparison(path, images, masks, {}, CLASSES, ["", ""], sides=False, window=(-1.0, 0.4))
    picture = pixels(path)
    left, right = picture[60:400, 60:400], picture[60:400, -300:-30]
    assert set(np.unique(left)) <= {127, 128}, "-0.3 is half way"
    assert (right == 255).all(-1).any(), "0.4 and above is white"


@pytest.mark.parametrize("epochs", [0, 1, 3, 100])
def test_curves_with_missing_values(tmp_path: Path, epochs: int) -> None:
    rows = [
        {"epoch": float(epoch), "loss": 1 / epoch, "dice_lung": 0.9, "dice_ground-glass": float("nan")}
        for epoch in range(1, epochs + 1)
    ]
    path = tmp_path / "curves.png"
    draw_curves(path, rows, ["loss"], ["dice_lung", "dice_ground-glass", "dice_absent"], title="run")
    assert pixels(path).shape == (460, 1200, 3)


def test_figures_do_not_change_the_users_matplotlib(tmp_path: Path) -> None:
    """No pyplot, so neither a display nor a figure of the user's is touched."""
    code = "import sys, common.report.overlay, common.report.curves; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
