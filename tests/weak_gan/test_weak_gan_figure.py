"""Figures of what the weak GAN separates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from heatmaps import evaluate
from PIL import Image

from common.weak_gan.picture import SeparationPicture


def test_the_figure_shows_the_slice_with_the_largest_lesions_of_each_case(tmp_path: Path) -> None:
    truths = np.zeros((6, 8, 8))
    for index, area in enumerate((1, 3, 2, 0, 5, 6)):
        truths[index, 0, :area] = 1
    picture = SeparationPicture(tmp_path / "figure.png", columns=2)
    normal = torch.zeros(6, 1, 8, 8)
    evaluate(1 - truths, truths, picture, normal=normal)
    kept = sorted((lesion, title) for lesion, title, _ in picture.best.values())
    assert kept == [(3.0, "case0, slice 1"), (6.0, "case2, slice 5")]
    whole = Image.open(tmp_path / "figure.png").size
    evaluate(1 - truths, None, picture)
    assert {title for _, title, _ in picture.best.values()} == {"case1, slice 3", "case0, slice 0"}, (
        "by the mean of the heatmap"
    )
    bare = Image.open(tmp_path / "figure.png").size
    assert bare[1] < 0.6 * whole[1], "without rows of normal versions and ground truth"
