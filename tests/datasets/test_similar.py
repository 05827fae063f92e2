"""Slices that look alike stay on one side of a split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter, shift

from common.datasets.ct.similar import look_alikes
from common.datasets.splits import split


@pytest.fixture
def cases(tmp_path: Path) -> list[dict[str, Any]]:
    """Eight different pictures, the first three again: brighter, noisy, and moved by two pixels of 96."""
    random = np.random.default_rng(0)
    pictures = [gaussian_filter(random.normal(size=(96, 96)), 12) for _ in range(8)]
    pictures = [128 + 40 * (picture - picture.mean()) / picture.std() for picture in pictures]
    pictures += [
        pictures[0] * 0.7 + 60,
        pictures[1] + random.normal(0, 15, (96, 96)),
        shift(pictures[2], 2, mode="wrap"),
    ]
    paths = [tmp_path / f"{index}.png" for index in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(path)
    return [
        {"image": path, "label": path, "case": path.stem, "patient": None, "source": "made", "intensity": "8bit"}
        for path in paths
    ]


def test_copies_are_found_in_spite_of_brightness_noise_and_a_small_shift(cases: list[dict[str, Any]]) -> None:
    groups = look_alikes(cases)
    assert groups[8:] == groups[:3]
    assert len(set(groups)) == 8
    named = [{**case, "patient": "A"} if index in (3, 4) else case for index, case in enumerate(cases)]
    assert look_alikes(named)[3:5] == ["A", "A"]
    assert len(set(look_alikes(named))) == 7
    assert look_alikes(cases[:1]) == ["alike 0"]


def test_no_fold_separates_them(cases: list[dict[str, Any]]) -> None:
    held_out = []
    for fold in range(4):
        sides = split(cases, kind="similar", fold=fold, folds=4, alike=look_alikes)
        names = {name: {case["case"] for case in side} for name, side in sides.items()}
        assert len(names["training"]) + len(names["validation"]) == len(cases)
        for first, second in (("0", "8"), ("1", "9"), ("2", "10")):
            assert (first in names["training"]) == (second in names["training"])
        held_out += sorted(names["validation"])
    assert sorted(held_out) == sorted(case["case"] for case in cases)  # each is held out once
