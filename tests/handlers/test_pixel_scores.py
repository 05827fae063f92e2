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
from sklearn.metrics import accuracy_score, jaccard_score, precision_score, recall_score
from ultrasound_classes import DENSE, MERGE, SPARSE

from common.handlers.pixel_scores import PixelScores


def pixel_scores(predicted: np.ndarray, truth: np.ndarray, names: list[str], folder: Path) -> dict[str, dict[str, str]]:
    """Class maps (N, H, W) through the handler."""
    onehot = [
        torch.nn.functional.one_hot(torch.from_numpy(each), len(names)).movedim(-1, 1).float()
        for each in (predicted, truth)
    ]
    output = [{"pred": a, "label": b} for a, b in zip(*onehot, strict=True)]
    batch = [{"case": f"image {index}"} for index in range(len(predicted))]
    engine: Any = SimpleNamespace(state=SimpleNamespace(output=output, batch=batch))
    handler = PixelScores(folder, names, SPARSE, MERGE)
    handler.remember(engine)
    handler.write(engine)
    return rows_by_name(folder / "scores.csv")


def per_image(folder: Path) -> list[dict[str, str]]:
    with (folder / "scores_per_image.csv").open() as file:
        return list(csv.DictReader(file))


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
    for score, reference in (("precision", precision_score), ("recall", recall_score)):
        expected = reference(table[truth].ravel(), table[predicted].ravel(), average=None)
        assert [float(found[name][f"{score}_sparse"]) for name in SPARSE] == pytest.approx(expected, abs=1e-4)
    images = [jaccard_score(a.ravel(), b.ravel(), average=None) for a, b in zip(truth, predicted, strict=True)]
    second = per_image(tmp_path)[1]
    assert [float(second[f"iou_dense_{name}"]) for name in DENSE] == pytest.approx(images[1], abs=1e-4)
    assert float(mean["iou_per_image_dense"]) == pytest.approx(np.mean(images), abs=1e-4)
    assert float(found["mean without background"]["iou_dense"]) == pytest.approx(own[:-1].mean(), abs=1e-4)


def test_sparse_predictions_have_no_dense_score_and_an_absent_class_none(tmp_path: Path) -> None:
    truth = np.array([[[0, 0, 2, 3]]])  # no B-line
    predicted = np.array([[[0, 2, 2, 3]]])
    found = pixel_scores(predicted, truth, SPARSE, tmp_path)
    assert [found[name]["iou_sparse"] for name in SPARSE] == ["0.5000", "", "0.5000", "1.0000"]
    assert float(found["mean"]["iou_sparse"]) == pytest.approx(2 / 3, abs=1e-4)
    assert all(row["iou_dense"] == "" for row in found.values())
    touched = {name: (found[name]["absent"], found[name]["false_alarms"]) for name in SPARSE}
    assert touched == {name: ("1", "0") if name == "B-line" else ("0", "0") for name in SPARSE}


def test_a_false_positive_is_a_region_that_touches_no_ground_truth_of_its_class(tmp_path: Path) -> None:
    truth, predicted = np.full((2, 6, 9), 3), np.full((2, 6, 9), 3)  # background
    truth[0, 1, 1:8] = 0  # an A-line
    predicted[0, 1, 5:9] = 0  # found in part, and longer than it is
    predicted[0, 3, 0:2] = predicted[0, 4, 2] = 0  # beside it: one region, whose pixels touch at a corner
    predicted[0, 3, 5] = predicted[1, 0, 0] = 0  # two more, one of them in an image without A-line
    predicted[1, 3:, 4] = 1  # a B-line where there is none in any image
    found = pixel_scores(predicted, truth, SPARSE, tmp_path)
    assert [found[name]["false_positives_sparse"] for name in SPARSE] == ["1.5000", "0.5000", "0.0000", ""]
    assert found["mean without background"]["false_positives_sparse"] == "0.6667"
    assert [row["false_positives_sparse_A-line"] for row in per_image(tmp_path)] == ["2", "1"]
    # A-line: 3 of 9 predicted pixels are right, 3 of 7 are found. No image holds a B-line, so it has no ratio
    a_line, b_line = found["A-line"], found["B-line"]
    assert [a_line[f"{score}_sparse"] for score in ("precision", "recall", "iou")] == ["0.3333", "0.4286", "0.2308"]
    assert [b_line[f"{score}_sparse"] for score in ("precision", "recall", "iou_per_image")] == [""] * 3
    # Per image: A-line 3 / 12 in the first, where it is (one false pixel of it is in the second image)
    assert (a_line["iou_per_image_sparse"], a_line["absent"], a_line["false_alarms"]) == ("0.2500", "1", "1")
    row = found["mean without background"]
    assert row["iou_per_image_sparse"] == "0.2500", "the second image holds background alone"
