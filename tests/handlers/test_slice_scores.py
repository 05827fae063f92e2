"""Scores per slice agree with scikit-learn, and the rule for slices without infection is kept."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
from ignite.engine import Engine
from monai.engines import SupervisedEvaluator
from monai.handlers import ConfusionMatrix, from_engine
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from common.handlers.slice_scores import SliceScores, slice_scores


def counts(pred: np.ndarray, label: np.ndarray) -> list[int]:
    return [
        int(np.sum(each)) for each in (pred & label, pred & ~label, ~pred & ~label, ~pred & label)
    ]  # true positive, false positive, true negative, false negative


def test_scores_agree_with_scikit_learn_on_random_masks(rng: np.random.Generator) -> None:
    for _ in range(50):
        label, pred = (rng.random(64) < share for share in rng.choice([0.0, 0.05, 0.5, 1.0], 2))
        rule = {"zero_division": 0.0 if label.any() or pred.any() else 1.0}
        expected = [
            accuracy_score(label, pred),
            *(score(label, pred, **rule) for score in (precision_score, recall_score, f1_score)),
        ]
        np.testing.assert_allclose(slice_scores(np.array([counts(pred, label)]))[0], expected)


def test_a_slice_without_infection_scores_one_if_nothing_is_predicted_otherwise_zero() -> None:
    quiet, alarm, missed = [0, 0, 100, 0], [0, 5, 95, 0], [0, 0, 90, 10]
    np.testing.assert_allclose(
        slice_scores(np.array([quiet, alarm, missed])), [[1, 1, 1, 1], [0.95, 0, 0, 0], [0.9, 0, 0, 0]]
    )


def test_f1_has_the_factor_two_that_the_printed_equation_lacks() -> None:
    hit, extra, missed = 30, 10, 20  # P = 0.75, R = 0.6
    scores = slice_scores(np.array([[hit, extra, 40, missed]]))[0]
    np.testing.assert_allclose(scores, [0.7, 0.75, 0.6, 2 * 0.75 * 0.6 / 1.35])


def test_an_evaluation_writes_means_and_pooled_values(rng: np.random.Generator, tmp_path: Path) -> None:
    labels = rng.random((5, 1, 8, 8)) < 0.3
    labels[3:] = False
    preds = labels ^ (rng.random(labels.shape) < 0.1)
    preds[4] = False
    batch = [
        {"image": torch.from_numpy(pred).float(), "label": torch.from_numpy(label).float(), "case": "a", "slice": index}
        for index, (pred, label) in enumerate(zip(preds, labels, strict=True))
    ]
    output = from_engine(["pred", "label"])
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=torch.utils.data.DataLoader(batch, batch_size=2),
        network=torch.nn.Identity(),
        key_val_metric={
            "val_f1": ConfusionMatrix(metric_name="f1 score", compute_sample=False, output_transform=output)
        },
        val_handlers=[SliceScores(tmp_path)],
    )
    evaluator.run()
    per_slice = slice_scores(np.array([counts(pred, label) for pred, label in zip(preds, labels, strict=True)]))
    pooled = slice_scores(np.array([counts(preds, labels)]))[0]
    with (tmp_path / "scores.csv").open() as file:
        rows = {row["row"]: row for row in csv.DictReader(file)}
    for name, values in (
        ("mean over slices", per_slice.mean(0)),
        ("mean over slices with infection", per_slice[:3].mean(0)),
        ("pooled pixels", pooled),
    ):
        written = [float(rows[name][score]) for score in ("accuracy", "precision", "recall", "f1")]
        np.testing.assert_allclose(written, values, atol=1e-6, err_msg=name)
    assert [int(rows[name]["slices"]) for name in rows] == [5, 3, 5]
    # Two slices without infection: noise is predicted in the first only
    touched = [[rows[name][key] for key in ("absent", "false_alarms", "absent_scores")] for name in rows]
    assert touched == [["2", "1", "1 or 0"], ["2", "1", "left out"], ["", "", ""]]
    assert isinstance(evaluator, Engine)
    np.testing.assert_allclose(evaluator.state.metrics["val_f1"], pooled[3], atol=1e-6)
    with (tmp_path / "scores_per_slice.csv").open() as file:
        assert [int(row["slice"]) for row in csv.DictReader(file)] == [0, 1, 2, 3, 4]
