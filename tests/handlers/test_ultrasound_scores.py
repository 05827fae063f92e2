"""Tables of ultrasound evaluations agree with scikit-learn."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, jaccard_score, precision_recall_fscore_support

from common.handlers.diagnosis_scores import DiagnosisScores
from common.handlers.pixel_scores import PixelScores

DENSE = ["A-line", "B-line", "healthy pleural line", "unhealthy pleural line", "healthy region", "unhealthy region"]
DENSE += ["background"]
SPARSE = ["A-line", "B-line", "pleural line", "background"]
MERGE = {"healthy pleural line": "pleural line", "unhealthy pleural line": "pleural line"}
MERGE |= {"healthy region": "background", "unhealthy region": "background"}
DIAGNOSES = ["normal", "pneumonia", "COVID-19"]


def rows_of(path: Path) -> dict[str, dict[str, str]]:
    with path.open() as file:
        return {row["class"]: row for row in csv.DictReader(file)}


def pixel_scores(told: np.ndarray, truth: np.ndarray, names: list[str], folder: Path) -> dict[str, dict[str, str]]:
    """Class maps (N, H, W) through the handler."""
    size = len(names)
    matrix = torch.zeros(size, size, dtype=torch.long)
    np.add.at(matrix.numpy(), (truth.ravel(), told.ravel()), 1)
    onehot = [
        torch.nn.functional.one_hot(torch.from_numpy(each), size).movedim(-1, 1).float() for each in (told, truth)
    ]
    output = [{"pred": a, "label": b} for a, b in zip(*onehot, strict=True)]
    batch = [{"case": f"image {index}"} for index in range(len(told))]
    details = {"val_confusion": matrix}
    engine: Any = SimpleNamespace(state=SimpleNamespace(output=output, batch=batch, metric_details=details))
    handler = PixelScores(folder, names, SPARSE, MERGE)
    handler.remember(engine)
    handler.write(engine)
    return rows_of(folder / "scores.csv")


def test_dense_predictions_are_scored_on_their_own_classes_and_on_the_sparse_ones(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    told, truth = rng.integers(0, 7, (2, 4, 16, 16))
    found = pixel_scores(told, truth, DENSE, tmp_path)
    own = jaccard_score(truth.ravel(), told.ravel(), average=None)
    assert [float(found[name]["iou_dense"]) for name in DENSE] == pytest.approx(own, abs=1e-4)
    table = np.array([SPARSE.index(MERGE.get(name, name)) for name in DENSE])
    merged = jaccard_score(table[truth].ravel(), table[told].ravel(), average=None)
    assert [float(found[name]["iou_sparse"]) for name in SPARSE] == pytest.approx(merged, abs=1e-4)
    mean = found["mean"]
    assert float(mean["iou_dense"]) == pytest.approx(own.mean(), abs=1e-4)
    assert float(mean["iou_sparse"]) == pytest.approx(merged.mean(), abs=1e-4)
    assert float(mean["accuracy_dense"]) == pytest.approx(accuracy_score(truth.ravel(), told.ravel()), abs=1e-4)
    expected = accuracy_score(table[truth].ravel(), table[told].ravel())
    assert float(mean["accuracy_sparse"]) == pytest.approx(expected, abs=1e-4)
    with (tmp_path / "scores_per_image.csv").open() as file:
        second = list(csv.DictReader(file))[1]
    per_image = jaccard_score(truth[1].ravel(), told[1].ravel(), average=None)
    assert [float(second[f"iou_{name}"]) for name in DENSE] == pytest.approx(per_image, abs=1e-4)


def test_sparse_predictions_have_no_dense_score_and_an_absent_class_none(tmp_path: Path) -> None:
    truth = np.array([[[0, 0, 2, 3]]])  # no B-line
    told = np.array([[[0, 2, 2, 3]]])
    found = pixel_scores(told, truth, SPARSE, tmp_path)
    assert [found[name]["iou_sparse"] for name in SPARSE] == ["0.5000", "", "0.5000", "1.0000"]
    assert float(found["mean"]["iou_sparse"]) == pytest.approx(2 / 3, abs=1e-4)
    assert all(row["iou_dense"] == "" for row in found.values())


def diagnosis_scores(probabilities: np.ndarray, truth: list[int], cases: list[str], folder: Path) -> Any:
    output = [
        {"pred": torch.from_numpy(p), "label": torch.tensor(t)} for p, t in zip(probabilities, truth, strict=True)
    ]
    batch = [{"case": case, "frame": index} for index, case in enumerate(cases)]
    engine: Any = SimpleNamespace(state=SimpleNamespace(output=output, batch=batch))
    handler = DiagnosisScores(folder, DIAGNOSES)
    handler.remember(engine)
    handler.write(engine)
    return rows_of(folder / "scores.csv")


def test_scores_per_frame_agree_with_scikit_learn(tmp_path: Path, rng: np.random.Generator) -> None:
    probabilities = rng.dirichlet([1, 1, 1], 60)
    truth = [index % 3 for index in range(60)]
    found = diagnosis_scores(probabilities, truth, [f"clip {index // 4}" for index in range(60)], tmp_path)
    told = probabilities.argmax(1)
    reference = precision_recall_fscore_support(truth, told, average=None, zero_division=0)
    for score, values in zip(("precision", "recall", "f1"), reference, strict=False):
        assert [float(found[name][f"frame_{score}"]) for name in DIAGNOSES] == pytest.approx(values, abs=1e-4)
    assert float(found["mean"]["frame_accuracy"]) == pytest.approx(accuracy_score(truth, told), abs=1e-4)
    assert (tmp_path / "confusion.png").stat().st_size > 5000


def test_a_clip_has_the_diagnosis_of_its_mean_probability(tmp_path: Path) -> None:
    # Clip 1: two frames lean to normal, the third is sure of COVID-19: a majority would say normal, the mean does not
    probabilities = np.array([[0.5, 0.1, 0.4], [0.5, 0.1, 0.4], [0.02, 0.0, 0.98], [0.9, 0.1, 0.0]])
    found = diagnosis_scores(probabilities, [2, 2, 2, 0], ["one", "one", "one", "two"], tmp_path)
    assert float(found["mean"]["frame_accuracy"]) == 0.5
    assert float(found["mean"]["clip_accuracy"]) == 1.0
    with (tmp_path / "clips.csv").open() as file:
        first = next(csv.DictReader(file))
    assert (first["case"], first["frames"], first["prediction"]) == ("one", "3", "COVID-19")
    assert float(first["probability_COVID-19"]) == pytest.approx(1.78 / 3, abs=1e-4)
