"""Tables of ultrasound segmentation agree with scikit-learn."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from csv_rows import rows_by_name
from sklearn.metrics import accuracy_score, jaccard_score
from ultrasound_classes import DENSE, MERGE, SPARSE

from common.handlers.pixel_scores import PixelScores


def pixel_scores(predicted: np.ndarray, truth: np.ndarray, names: list[str], folder: Path) -> dict[str, dict[str, str]]:
    """Class maps (N, H, W) through the handler."""
    size = len(names)
    onehot = [
        torch.nn.functional.one_hot(torch.from_numpy(each), size).movedim(-1, 1).float() for each in (predicted, truth)
    ]
    output = [{"pred": a, "label": b} for a, b in zip(*onehot, strict=True)]
    batch = [{"case": f"image {index}"} for index in range(len(predicted))]
    engine: Any = SimpleNamespace(state=SimpleNamespace(output=output, batch=batch))
    handler = PixelScores(folder, names, SPARSE, MERGE)
    handler.remember(engine)
    handler.write(engine)
    return rows_by_name(folder / "scores.csv")


def test_dense_predictions_are_scored_on_their_own_classes_and_on_the_sparse_ones(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    predicted, truth = rng.integers(0, 7, (2, 4, 16, 16))
    found = pixel_scores(predicted, truth, DENSE, tmp_path)
    own = jaccard_score(truth.ravel(), predicted.ravel(), average=None)
    assert [float(found[name]["iou_dense"]) for name in DENSE] == pytest.approx(own, abs=1e-4)
    table = np.array([SPARSE.index(MERGE.get(name, name)) for name in DENSE])
    merged = jaccard_score(table[truth].ravel(), table[predicted].ravel(), average=None)
    assert [float(found[name]["iou_sparse"]) for name in SPARSE] == pytest.approx(merged, abs=1e-4)
    mean = found["mean"]
    assert float(mean["iou_dense"]) == pytest.approx(own.mean(), abs=1e-4)
    assert float(mean["iou_sparse"]) == pytest.approx(merged.mean(), abs=1e-4)
    assert float(mean["accuracy_dense"]) == pytest.approx(accuracy_score(truth.ravel(), predicted.ravel()), abs=1e-4)
    expected = accuracy_score(table[truth].ravel(), table[predicted].ravel())
    assert float(mean["accuracy_sparse"]) == pytest.approx(expected, abs=1e-4)
    with (tmp_path / "scores_per_image.csv").open() as file:
        second = list(csv.DictReader(file))[1]
    per_image = jaccard_score(truth[1].ravel(), predicted[1].ravel(), average=None)
    assert [float(second[f"iou_{name}"]) for name in DENSE] == pytest.approx(per_image, abs=1e-4)


def test_sparse_predictions_have_no_dense_score_and_an_absent_class_none(tmp_path: Path) -> None:
    truth = np.array([[[0, 0, 2, 3]]])  # no B-line
    predicted = np.array([[[0, 2, 2, 3]]])
    found = pixel_scores(predicted, truth, SPARSE, tmp_path)
    assert [found[name]["iou_sparse"] for name in SPARSE] == ["0.5000", "", "0.5000", "1.0000"]
    assert float(found["mean"]["iou_sparse"]) == pytest.approx(2 / 3, abs=1e-4)
    assert all(row["iou_dense"] == "" for row in found.values())
    touched = {name: (found[name]["absent"], found[name]["false_alarms"]) for name in SPARSE}
    assert touched == {name: ("1", "0") if name == "B-line" else ("0", "0") for name in SPARSE}
