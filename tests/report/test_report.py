"""Burden, its table and the pictures, by hand-worked numbers and by pixels."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from common.report.burden import burden_columns, burden_row, lesion_burden
from common.report.comparison import draw_comparison
from common.report.curves import draw_curves
from common.report.overlay import _slices_to_show, draw_overlay
from common.report.styles import ClassStyle
from common.severity import severity_class

CLASSES = (
    ClassStyle("ground-glass", 1, (255, 176, 0)),
    ClassStyle("consolidation", 2, (220, 38, 127)),
    ClassStyle("lung", 3, (100, 143, 255)),
    ClassStyle("background", 0, (0, 0, 0)),
)
VALUES = {"ground-glass": 1, "consolidation": 2}


def block() -> tuple[np.ndarray, np.ndarray]:
    """Lung of 10x10x10 voxels, 300 of them ground-glass; 100 of consolidation, half of them outside that lung."""
    mask, lung = np.zeros((20, 20, 20), np.uint8), np.zeros((20, 20, 20), bool)
    lung[:10, :10, :10] = True
    mask[:3, :10, :10] = 1
    mask[9:11, :10, :5] = 2
    return mask, lung


def pixels(path: Path) -> np.ndarray:
    """PNG as (rows, columns, 3)."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def near(picture: np.ndarray, colour: tuple[int, int, int], tolerance: int = 40) -> np.ndarray:
    """Pixels of about this colour, away from the legend at the bottom."""
    return (np.abs(picture - np.array(colour)) <= tolerance).all(-1)[:-50]


@pytest.mark.parametrize(
    ("share", "name"),
    [
        (0.0, "CT-0"),
        (1e-9, "CT-1"),
        (0.2499, "CT-1"),
        (0.25, "CT-2"),
        (0.4999, "CT-2"),
        (0.5, "CT-3"),
        (0.7499, "CT-3"),
        (0.75, "CT-4"),
        (1.0, "CT-4"),
    ],
)
def test_severity_at_its_bounds(share: float, name: str) -> None:
    assert severity_class(share) == name


@pytest.mark.parametrize("share", [-0.01, 1.01, float("nan")])
def test_severity_of_no_share(share: float) -> None:
    with pytest.raises(ValueError, match="The share of lung"):
        severity_class(share)


def test_burden_of_a_block() -> None:
    # voxels of 1 x 2 x 5 mm are 0.01 ml; the lung is its 1000 voxels and the 50 of consolidation outside it
    burden = lesion_burden(*block(), VALUES, 0.01)
    assert burden == {
        "lung_ml": 10.5,
        "ground_glass_ml": 3.0,
        "consolidation_ml": 1.0,
        "lesion_ml": 4.0,
        "share_of_lung": 0.381,
        "severity": "CT-2",
    }


def test_burden_with_an_oblique_affine() -> None:
    turn = np.deg2rad(30)
    affine = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, -1]]) @ np.diag(
        [1, 2, 5]
    )
    burden = lesion_burden(*block(), VALUES, float(abs(np.linalg.det(affine))) / 1000)
    assert burden["lung_ml"] == 10.5


def test_burden_of_a_picture_has_no_volume() -> None:
    burden = lesion_burden(*block(), VALUES, None)
    assert [burden[f"{name}_ml"] for name in ("lung", "ground_glass", "consolidation", "lesion")] == [None] * 4
    assert (burden["share_of_lung"], burden["severity"]) == (0.381, "CT-2")


def test_burden_without_lung_and_without_lesion() -> None:
    nothing, lung = np.zeros((4, 4, 4), np.uint8), np.ones((4, 4, 4), bool)
    assert lesion_burden(nothing, ~lung, VALUES, 1.0)["share_of_lung"] is None
    assert lesion_burden(nothing, ~lung, VALUES, 1.0)["severity"] is None
    assert lesion_burden(nothing, lung, VALUES, 1.0)["severity"] == "CT-0"


def test_severity_counts_before_rounding() -> None:
    mask = np.zeros((100_000,), np.uint8)
    mask[0] = 1
    burden = lesion_burden(mask, np.ones(mask.shape, bool), VALUES, None)
    assert (burden["share_of_lung"], burden["severity"]) == (0.0, "CT-1")


def test_burden_rejects_wrong_arguments() -> None:
    mask, lung = block()
    with pytest.raises(ValueError, match="one shape"):
        lesion_burden(mask, lung[1:], VALUES, 1.0)
    with pytest.raises(ValueError, match="must hold integers, got float64"):
        lesion_burden(mask.astype(float), lung, VALUES, 1.0)
    with pytest.raises(ValueError, match="its own value"):
        lesion_burden(mask, lung, {"a": 1, "b": 1}, 1.0)
    with pytest.raises(ValueError, match="positive"):
        lesion_burden(mask, lung, VALUES, 0.0)


def test_a_row_has_the_columns_of_its_classes() -> None:
    row = burden_row("a/1", lesion_burden(*block(), VALUES, 0.01), "network", VALUES)
    assert list(row) == ["case", *burden_columns(VALUES), "lung_from"]
    assert list(row.values()) == ["a/1", 10.5, 3.0, 1.0, 4.0, 0.381, "CT-2", "network"]
    with pytest.raises(ValueError, match="same classes"):
        burden_row("a", lesion_burden(*block(), {"other": 1}, None), "network", VALUES)
    with pytest.raises(ValueError, match="'guess'"):
        burden_row("a", lesion_burden(*block(), VALUES, None), "guess", VALUES)


def test_overlay_is_upright(tmp_path: Path) -> None:
    image = np.full((120, 120, 1), -500.0)
    image[90:110, 10:30] = 100.0  # LPS: first axis to the left, second to posterior
    path = tmp_path / "overlay.png"
    draw_overlay(path, image, np.zeros(image.shape, np.uint8), CLASSES)
    picture = pixels(path)
    panel = picture[64:-46, 18 : picture.shape[1] // 2 - 3]
    rows, columns = np.nonzero((panel > 240).all(-1))
    assert rows.mean() < 0.35 * panel.shape[0], "anterior is up"
    assert columns.mean() > 0.65 * panel.shape[1], "the patient's left is at the right"


def test_overlay_shows_each_class_where_it_is(tmp_path: Path) -> None:
    image, mask = np.full((100, 100, 8), -900.0), np.zeros((100, 100, 8), np.uint8)
    mask[10:90, 10:90], mask[20:40, 20:40], mask[60:80, 60:80] = 3, 1, 2
    path = tmp_path / "a" / "overlay.png"
    draw_overlay(path, image, mask, CLASSES, title="$case_1$ \\alpha {", note="x %", spacing=(0.7, 0.7, 5.0))
    picture = pixels(path)
    assert picture.shape[1] <= 1600 and path.stat().st_size < 1_000_000
    middle = 64 + (picture.shape[0] - 64 - 46) // 2
    for style in CLASSES[:3]:
        found = near(picture, style.colour)
        assert found[middle:].sum() > 100, f"{style.name} is drawn"
        assert not found[:middle].any(), "the upper row is the image alone"


@pytest.mark.parametrize("shape", [(64, 80, 1), (64, 80, 30), (1, 1, 1), (512, 512, 2)])
def test_overlay_of_an_empty_mask(tmp_path: Path, shape: tuple[int, int, int], rng: np.random.Generator) -> None:
    path = tmp_path / "overlay.png"
    draw_overlay(path, rng.normal(-500, 300, shape), np.zeros(shape, np.uint8), CLASSES[:2], title="t" * 500)
    assert 200 < pixels(path).shape[1] <= 1600


def test_overlay_of_pixels_that_are_not_square(tmp_path: Path) -> None:
    sizes = []
    for spacing in (None, (1.0, 2.0, 1.0)):
        image, mask = np.zeros((90, 60, 1)), np.zeros((90, 60, 1), int)
        draw_overlay(tmp_path / "overlay.png", image, mask, CLASSES, spacing=spacing)
        sizes.append(pixels(tmp_path / "overlay.png").shape[0] - 64 - 6 - 46)
    assert sizes[1] == pytest.approx(2 * sizes[0], abs=3)


def test_overlay_chooses_the_slices_with_lesions() -> None:
    mask = np.zeros((10, 10, 40), np.uint8)
    mask[..., 5:35] = 3
    assert (min(_slices_to_show(mask, CLASSES, 6)), max(_slices_to_show(mask, CLASSES, 6))) == (7, 32), (
        "spread over the lung"
    )
    mask[:2, 0, 10:20] = 1
    mask[:5, 0, 12] = 2  # the largest
    chosen = _slices_to_show(mask, CLASSES, 4)
    assert 12 in chosen and set(chosen) <= set(range(10, 20)) and len(chosen) == 4
    assert chosen == sorted(chosen, reverse=True)
    assert _slices_to_show(mask, CLASSES, 1) == [12]


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


def test_a_comparison_has_a_row_for_each_prediction_and_room_for_the_lines_that_are_given(tmp_path: Path) -> None:
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


def test_figures_leave_the_users_matplotlib_alone(tmp_path: Path) -> None:
    """No pyplot, so neither a display nor a figure of the user's is touched."""
    code = "import sys, common.report.overlay, common.report.curves; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
