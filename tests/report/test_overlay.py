"""Overlays are upright and show each class where it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from figures import CLASSES, near, pixels

from common.report.overlay import _slices_to_show, draw_overlay


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


def test_uncertain_lesions_alone_are_hatched_and_the_legend_says_so(tmp_path: Path) -> None:
    image, mask = np.full((100, 100, 1), -900.0), np.zeros((100, 100, 1), np.uint8)
    mask[20:40, 20:40], mask[60:80, 60:80] = 1, 2
    pictures = []
    for name, uncertain in (("plain", np.zeros(mask.shape, bool)), ("hatched", mask == 2)):
        draw_overlay(tmp_path / name, image, mask, CLASSES, uncertain=uncertain)
        pictures.append(pixels(tmp_path / name))
    changed = (pictures[0] != pictures[1]).any(-1)
    assert changed[-46:].any(), "the legend has one more entry"
    panel = changed[64:-46, changed.shape[1] // 2 :]
    rows, columns = np.nonzero(panel)
    assert 0.55 < rows.min() / len(panel) and rows.max() / len(panel) < 0.85
    assert 0.55 < columns.min() / panel.shape[1] and columns.max() / panel.shape[1] < 0.85
    assert 0.05 < panel[rows.min() : rows.max(), columns.min() : columns.max()].mean() < 0.8, "lines, no fill"


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
