"""Tables of diagnoses agree with scikit-learn."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from csv_rows import rows_by_name
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from common.handlers.diagnosis_scores import DiagnosisScores

DIAGNOSES = ["normal", "pneumonia", "COVID-19"]


def diagnosis_scores(probabilities: np.ndarray, truth: list[int], cases: list[str], folder: Path) -> Any:
    output = [
        {"pred": torch.from_numpy(p), "label": torch.tensor(t)} for p, t in zip(probabilities, truth, strict=True)
    ]
    batch = [{"case": case, "frame": index} for index, case in enumerate(cases)]
    engine: Any = SimpleNamespace(state=SimpleNamespace(output=output, batch=batch))
    handler = DiagnosisScores(folder, DIAGNOSES)
    handler.remember(engine)
    handler.write(engine)
    return rows_by_name(folder / "scores.csv")


def test_scores_per_frame_agree_with_scikit_learn(tmp_path: Path, rng: np.random.Generator) -> None:
    probabilities = rng.dirichlet([1, 1, 1], 60)
    truth = [index % 3 for index in range(60)]
    found = diagnosis_scores(probabilities, truth, [f"clip {index // 4}" for index in range(60)], tmp_path)
    predicted = probabilities.argmax(1)
    reference = precision_recall_fscore_support(truth, predicted, average=None, zero_division=0)
    for score, values in zip(("precision", "recall", "f1"), reference, strict=False):
        assert [float(found[name][f"frame_{score}"]) for name in DIAGNOSES] == pytest.approx(values, abs=1e-4)
    assert float(found["mean"]["frame_accuracy"]) == pytest.approx(accuracy_score(truth, predicted), abs=1e-4)
    assert (tmp_path / "confusion.png").stat().st_size > 5000


def test_a_clip_has_the_diagnosis_of_its_mean_logits(tmp_path: Path) -> None:
    # Clip 1: two frames lean to normal, the third is sure of COVID-19: a majority would say normal, the mean does not
    probabilities = np.array([[0.5, 0.1, 0.4], [0.5, 0.1, 0.4], [0.02, 0.0, 0.98], [0.9, 0.1, 0.0]])
    found = diagnosis_scores(probabilities, [2, 2, 2, 0], ["one", "one", "one", "two"], tmp_path)
    assert float(found["mean"]["frame_accuracy"]) == 0.5
    assert float(found["mean"]["clip_accuracy"]) == 1.0
    with (tmp_path / "clips.csv").open() as file:
        first = next(csv.DictReader(file))
    assert (first["case"], first["frames"], first["prediction"]) == ("one", "3", "COVID-19")
    # Softmax of mean logits, so the geometric mean: (0.5 x 0.5 x 0.02) ** (1/3) = 0.171, and 0.539 of COVID-19
    assert float(first["probability_COVID-19"]) == pytest.approx(0.539 / (0.539 + 0.171), abs=1e-3)


def test_logits_are_averaged_whatever_their_size(tmp_path: Path) -> None:
    logits = torch.tensor([[3.0, -1.0, 0.5], [-30.0, 10.0, 2.0]])
    diagnosis_scores(logits.softmax(1).numpy(), [0, 0], ["one", "one"], tmp_path)
    with (tmp_path / "clips.csv").open() as file:
        row = next(csv.DictReader(file))
    expected = logits.mean(0).softmax(0).tolist()
    assert [float(row[f"probability_{name}"]) for name in DIAGNOSES] == pytest.approx(expected, abs=1e-4)
