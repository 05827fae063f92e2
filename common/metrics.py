"""Scores out of one confusion matrix, pooled over all pixels or frames, as ignite metrics and as plain functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from ignite.engine import Engine
from ignite.metrics import ConfusionMatrix, MetricsLambda


def pairs(output: Sequence[Mapping[str, torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions (N, classes, ...) and true classes (N, ...) of an engine's decollated output.

    ``pred`` is one-hot, logits or probabilities; ``label`` one-hot of the same shape, or a class index.
    """
    pred = torch.stack([torch.as_tensor(sample["pred"]) for sample in output])
    label = torch.stack([torch.as_tensor(sample["label"]) for sample in output])
    return pred, label.argmax(1) if label.ndim == pred.ndim else label.long()


def confusion(classes: int) -> ConfusionMatrix:
    """ignite's confusion matrix (classes, classes) of an engine's output: rows are truth, columns prediction.

    Args:
        classes: number of classes; see ``pairs`` for the output.
    """
    return ConfusionMatrix(num_classes=classes, output_transform=pairs)


def per_class(matrix: torch.Tensor, score: str) -> torch.Tensor:
    """A score for each class out of a confusion matrix.

    Args:
        matrix: counts (classes, classes), rows are truth.
        score: ``iou``, ``precision``, ``recall`` or ``f1``.

    Returns:
        (classes,) in 0..1. NaN for a class that truth does not hold; precision is 0 for a class never predicted, as
        scikit-learn has it.

    Raises:
        ValueError: for another score.
    """
    matrix = matrix.double()
    hit, truth, told = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
    ratios = {
        "iou": (hit, truth + told - hit),
        "precision": (hit, told),
        "recall": (hit, truth),
        "f1": (2 * hit, truth + told),
    }
    if score not in ratios:
        raise ValueError(f"Unknown score {score!r}. Choose one of {', '.join(ratios)}.")
    above, below = ratios[score]
    return torch.where(truth > 0, above / below.clamp(min=1), torch.nan)


def accuracy(matrix: torch.Tensor) -> torch.Tensor:
    """Share of samples whose class is right, out of a confusion matrix."""
    return matrix.double().trace() / matrix.sum().clamp(min=1)


def merged(matrix: torch.Tensor, groups: Sequence[int]) -> torch.Tensor:
    """Confusion matrix after classes were merged.

    Args:
        matrix: (classes, classes).
        groups: for each class, the index of the class that it becomes part of.
    """
    onto = torch.nn.functional.one_hot(torch.as_tensor(groups), max(groups) + 1).to(matrix)  # (classes, merged)
    return onto.T @ matrix @ onto


class Details(MetricsLambda):
    """What is no single number: kept in ``engine.state.metric_details``, for loggers take ``metrics`` to be numbers."""

    def completed(self, engine: Engine, name: str) -> None:
        """Keep the value, on the CPU."""
        engine.state.metric_details[name] = self.compute().cpu()  # type: ignore[attr-defined]


class Counts(Details):
    """The confusion matrix itself, (classes, classes).

    Args:
        matrix: from ``confusion``.
    """

    def __init__(self, matrix: ConfusionMatrix) -> None:
        super().__init__(lambda counts: counts, matrix)


class ClassScore(Details):
    """A score per class, (1, classes), of a confusion matrix that an engine fills; see ``per_class``.

    Args:
        matrix: from ``confusion``; several scores may share it.
        score: ``iou``, ``precision``, ``recall`` or ``f1``.
    """

    def __init__(self, matrix: ConfusionMatrix, score: str) -> None:
        super().__init__(lambda counts: per_class(counts, score)[None], matrix)


class MeanScore(MetricsLambda):
    """Mean over the classes that truth holds; arguments as ``ClassScore``."""

    def __init__(self, matrix: ConfusionMatrix, score: str) -> None:
        super().__init__(lambda counts: float(per_class(counts, score).nanmean()), matrix)


class Accuracy(MetricsLambda):
    """Share of pixels or frames whose class is right.

    Args:
        matrix: from ``confusion``.
    """

    def __init__(self, matrix: ConfusionMatrix) -> None:
        super().__init__(lambda counts: float(accuracy(counts)), matrix)
