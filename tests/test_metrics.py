"""Scores out of a confusion matrix are those of scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, jaccard_score, precision_score, recall_score

from common.metrics import accuracy, confusion, merged, pairs, per_class


def matrix_of(truth: np.ndarray, predicted: np.ndarray, classes: int) -> torch.Tensor:
    counts = torch.zeros(classes, classes, dtype=torch.long)
    np.add.at(counts.numpy(), (truth.ravel(), predicted.ravel()), 1)
    return counts


def test_scores_agree_with_scikit_learn(rng: np.random.Generator) -> None:
    truth, predicted = rng.integers(0, 5, (2, 400))
    counts = matrix_of(truth, predicted, 5)
    references = {"iou": jaccard_score, "precision": precision_score, "recall": recall_score, "f1": f1_score}
    for score, reference in references.items():
        assert per_class(counts, score).tolist() == pytest.approx(reference(truth, predicted, average=None)), score
    assert float(accuracy(counts)) == pytest.approx(accuracy_score(truth, predicted))


def test_a_class_absent_from_the_ground_truth_has_no_score_and_one_never_predicted_scores_zero() -> None:
    counts = torch.tensor([[3, 0, 1], [2, 0, 0], [0, 0, 0]])  # truth: 4, 2, 0; predicted: 5, 0, 1
    assert per_class(counts, "iou").tolist() == pytest.approx([3 / 6, 0.0, float("nan")], nan_ok=True)
    assert per_class(counts, "precision").tolist() == pytest.approx([3 / 5, 0.0, float("nan")], nan_ok=True)
    with pytest.raises(ValueError, match="Unknown score 'dice'"):
        per_class(counts, "dice")


def test_merging_classes_of_the_matrix_equals_merging_the_labels(rng: np.random.Generator) -> None:
    groups = [0, 1, 2, 2, 3, 3, 3]  # dense to sparse
    truth, predicted = rng.integers(0, 7, (2, 300))
    table = np.array(groups)
    assert torch.equal(merged(matrix_of(truth, predicted, 7), groups), matrix_of(table[truth], table[predicted], 4))


def test_one_hot_and_index_labels_fill_the_same_matrix(rng: np.random.Generator) -> None:
    truth, predicted = (torch.from_numpy(rng.integers(0, 3, (6, 8))) for _ in range(2))
    onehot = torch.nn.functional.one_hot
    pixels = [{"pred": onehot(predicted, 3).movedim(-1, 0).float(), "label": onehot(truth, 3).movedim(-1, 0)}]
    frames = [{"pred": onehot(a, 3).float(), "label": b} for a, b in zip(predicted.ravel(), truth.ravel(), strict=True)]
    expected = matrix_of(truth.numpy(), predicted.numpy(), 3)
    for output in (pixels, frames):
        metric = confusion(3)
        metric.update(pairs(output))
        assert torch.equal(metric.compute().long().cpu(), expected)
