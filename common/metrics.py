"""Scores from one confusion matrix, pooled over all pixels or frames, as ignite metrics and as plain functions."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine
from ignite.metrics import ConfusionMatrix, MetricsLambda
from monai.handlers import MeanDice

from .statistics import Estimate, bootstrap_estimates

logger = logging.getLogger(__name__)


def pairs(output: Sequence[Mapping[str, torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions (N, classes, ...) and true classes (N, ...) of an engine's decollated output.

    ``pred`` is one-hot, logits or probabilities; ``label`` one-hot of the same shape, or a class index.
    """
    pred = torch.stack([torch.as_tensor(sample["pred"]) for sample in output])
    label = torch.stack([torch.as_tensor(sample["label"]) for sample in output])
    return pred, label.argmax(1) if label.ndim == pred.ndim else label.long()


def confusion(classes: int) -> ConfusionMatrix:
    """ignite's confusion matrix (classes, classes) of an engine's output: rows are the true classes.

    Args:
        classes: number of classes; see ``pairs`` for the output.
    """
    return ConfusionMatrix(num_classes=classes, output_transform=pairs)


def per_class(matrix: torch.Tensor, score: str) -> torch.Tensor:
    """A score for each class from a confusion matrix.

    Args:
        matrix: counts (classes, classes), rows are the ground truth.
        score: ``iou``, ``precision``, ``recall`` or ``f1``.

    Returns:
        (classes,) in 0..1. NaN for a class that the ground truth lacks; precision is 0 for a class that is never
        predicted, as in scikit-learn.

    Raises:
        ValueError: for another score.

    Example:
        >>> per_class(torch.tensor([[3, 1], [2, 4]]), "iou")  # 3 / (4 + 5 - 3), 4 / (6 + 5 - 4)
        tensor([0.5000, 0.5714], dtype=torch.float64)
    """
    matrix = matrix.double()
    hit, truth, predicted = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
    ratios = {
        "iou": (hit, truth + predicted - hit),
        "precision": (hit, predicted),
        "recall": (hit, truth),
        "f1": (2 * hit, truth + predicted),
    }
    if score not in ratios:
        raise ValueError(f"Unknown score {score!r}. Choose one of {', '.join(ratios)}.")
    above, below = ratios[score]
    return torch.where(truth > 0, above / below.clamp(min=1), torch.nan)


def mean_score(scores: torch.Tensor, without: Sequence[int] = ()) -> float:
    """Mean of scores (classes,) over the classes that have one, but those of ``without``; NaN if there are none.

    Example:
        >>> mean_score(torch.tensor([0.5, torch.nan, 0.75]), without=[2])
        0.5
    """
    chosen = scores.clone()
    chosen[list(without)] = torch.nan
    return float(chosen.nanmean())


def accuracy(matrix: torch.Tensor) -> torch.Tensor:
    """Share of samples with the right class, from a confusion matrix."""
    return matrix.double().trace() / matrix.sum().clamp(min=1)


def merged(matrix: torch.Tensor, groups: Sequence[int]) -> torch.Tensor:
    """Confusion matrices after merging classes.

    Args:
        matrix: (..., classes, classes).
        groups: for each class, the index of the class that it becomes part of.

    Returns:
        (..., merged classes, merged classes).
    """
    onto = torch.nn.functional.one_hot(torch.as_tensor(groups), max(groups) + 1).to(matrix)  # (classes, merged)
    return onto.T @ matrix @ onto


class Details(MetricsLambda):
    """A metric with several numbers, kept in ``engine.state.metric_details``; loggers need numbers in ``metrics``."""

    def completed(self, engine: Engine, name: str) -> None:
        """Keep the value, on the CPU."""
        engine.state.metric_details[name] = self.compute().cpu()  # type: ignore[attr-defined]


class ClassScore(Details):
    """A score per class, (1, classes), from a confusion matrix that an engine fills; see ``per_class``.

    Args:
        matrix: from ``confusion``; several scores may share it.
        score: ``iou``, ``precision``, ``recall`` or ``f1``.
    """

    def __init__(self, matrix: ConfusionMatrix, score: str) -> None:
        super().__init__(lambda counts: per_class(counts, score)[None], matrix)


class MeanScore(MetricsLambda):
    """Mean over the classes in the ground truth.

    Args:
        matrix: from ``confusion``.
        score: ``iou``, ``precision``, ``recall`` or ``f1``.
        foreground_of: names of the classes in channel order; ``background`` then does not count, unless the ground
            truth holds nothing else.
    """

    def __init__(self, matrix: ConfusionMatrix, score: str = "iou", foreground_of: Sequence[str] = ()) -> None:
        without = [index for index, name in enumerate(foreground_of) if name == "background"]

        def mean(counts: torch.Tensor) -> float:
            scores = per_class(counts, score)
            value = mean_score(scores, without)
            return mean_score(scores) if math.isnan(value) else value  # a number is needed to choose the best epoch

        super().__init__(mean, matrix)


class LesionDice(MeanDice):
    """Mean Dice over the lesion classes, to choose the best epoch by.

    The Dice of a class is its mean over the slices whose ground truth holds it. Lung and background do not count: they
    are large, and their Dice rises while that of lesions falls. If no slice holds a lesion, all classes count.

    Args:
        lesions: channels of the lesions.
        output_transform: of the engine's output, to one-hot prediction and ground truth.
    """

    def __init__(self, lesions: Sequence[int], output_transform: Callable[..., Any] = lambda output: output) -> None:
        super().__init__(include_background=True, output_transform=output_transform)
        self.lesions = list(lesions)

    def compute(self) -> float:
        """Of all slices since the last start."""
        super().compute()
        buffer: Any = self.metric_fn.get_buffer()  # (slices, classes) of all processes, NaN where a class is absent
        dice = buffer.nanmean(0)
        chosen = dice[self.lesions]
        if chosen.isnan().all():
            logger.warning("No slice of the validation holds a lesion, so the best epoch is chosen by all classes.")
            chosen = dice
        return float(chosen.nanmean())


class Accuracy(MetricsLambda):
    """Share of pixels or frames with the right class.

    Args:
        matrix: from ``confusion``.
    """

    def __init__(self, matrix: ConfusionMatrix) -> None:
        super().__init__(lambda counts: float(accuracy(counts)), matrix)


def calibration_errors(sums: np.ndarray) -> np.ndarray:
    """Expected calibration error: mean distance of probability and share, weighted by pixels.

    Args:
        sums: sum of probabilities, pixels that are positive, and pixels of each bin, (samples, 3, bins).

    Returns:
        (samples, 1); NaN of a sample without pixels.

    Example:
        >>> calibration_errors(np.array([[[0.2, 1.8], [0, 1], [2, 2]]]))  # 0.1 for none of two, 0.9 for one of two
        array([[0.25]])
    """
    probability, positive, pixels = sums[:, 0], sums[:, 1], sums[:, 2]
    total = pixels.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        errors: np.ndarray = (np.abs(probability - positive).sum(1) / np.where(total > 0, total, np.nan))[:, None]
    return errors


def areas_under_curve(counts: np.ndarray) -> np.ndarray:
    """Probability that a clip with the finding has a higher value than one without; equal values count a half.

    Args:
        counts: clips with and without the finding by value in ascending order, (samples, 2, values).

    Returns:
        (samples, 1); NaN where a sample lacks one of both.

    Example:
        >>> areas_under_curve(np.array([[[0, 1], [1, 0]]]))  # the one with it is higher
        array([[1.]])
    """
    present, absent = counts[:, 0], counts[:, 1]
    lower = np.cumsum(absent, axis=1) - absent / 2
    pairs = present.sum(1) * absent.sum(1)
    with np.errstate(invalid="ignore"):
        areas: np.ndarray = ((present * lower).sum(1) / np.where(pairs > 0, pairs, np.nan))[:, None]
    return areas


def area_under_curve(values: Sequence[float], present: Sequence[bool], patients: Sequence[str]) -> Estimate:
    """Area under the receiver operating characteristic, with its 95 % interval over patients.

    Args:
        values: one for each clip; higher where the finding is more likely.
        present: whether a clip shows the finding.
        patients: of each clip.
    """
    levels, place = np.unique(np.asarray(values, float), return_inverse=True)
    names, owner = np.unique(np.asarray(patients), return_inverse=True)
    counts = np.zeros((len(names), 2, len(levels)))
    np.add.at(counts, (owner, np.where(present, 0, 1), place), 1)
    (found,) = bootstrap_estimates(counts, areas_under_curve, only_together=True)
    return found
