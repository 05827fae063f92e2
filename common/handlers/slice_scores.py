"""Scores of one class per slice (Maganaris et al., *Evaluating transferability*, section 3.2 and table 2)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine

from ..tables import aligned, print_table, write_csv
from .slice_table import SliceTable

SCORES = ("accuracy", "precision", "recall", "f1")
ROWS = ("mean over slices", "mean over slices with infection", "pooled pixels")


def slice_scores(counts: np.ndarray) -> np.ndarray:
    """Accuracy, precision, recall and F1 of each slice.

    A slice without infection scores 1 in all four if nothing is predicted, and 0 in precision, recall and F1 if
    something is. A slice with infection in which nothing is predicted scores 0 in these three. The paper states no
    rule. Its slices without infection cannot all score 0, because its mean F1 exceeds the share of slices with
    infection.

    Args:
        counts: true positive, false positive, true negative and false negative pixels, shape (..., 4).

    Returns:
        The same shape, in the order of ``SCORES``. F1 is 2PR / (P + R); equation (5) of the paper lacks the 2.

    Example:
        >>> slice_scores(np.array([[3, 1, 10, 2]])).round(2)  # 16 pixels: 3 found, 1 false, 2 missed
        array([[0.81, 0.75, 0.6 , 0.67]])
    """
    hit, extra, quiet, missed = np.moveaxis(np.asarray(counts, float), -1, 0)
    empty = (hit + extra + missed) == 0
    shares = ((hit, hit + extra), (hit, hit + missed), (2 * hit, 2 * hit + extra + missed))
    ratios = [np.where(empty, 1.0, above / np.maximum(below, 1)) for above, below in shares]
    return np.stack([(hit + quiet) / np.maximum(hit + extra + quiet + missed, 1), *ratios], axis=-1)


def dice(counts: np.ndarray) -> np.ndarray:
    """Dice, which is F1, from counts of pixels (..., 4), with the rules of ``slice_scores`` for empty masks.

    Example:
        >>> dice(np.array([[3, 1, 10, 3], [0, 0, 9, 0], [0, 2, 9, 0]]))
        array([0.6, 1. , 0. ])
    """
    return slice_scores(counts)[..., SCORES.index("f1")]


def has_infection(counts: np.ndarray) -> np.ndarray:
    """Whether the ground truth holds infection, bool (N,), for counts (N, 4) as ``slice_scores`` takes them."""
    return counts[:, 0] + counts[:, 3] > 0


class CountTable(SliceTable):
    """Base of score tables that are computed from counts of pixels per slice.

    Args:
        output_dir: folder of the files.
        counts: name of the metric whose details are counts (slices, 1, 4), from MONAI's ``ConfusionMatrix``.
    """

    def __init__(self, output_dir: str | Path, counts: str = "val_f1") -> None:
        super().__init__(output_dir)
        self.counts = counts

    def pixels(self, engine: Engine) -> np.ndarray:
        """True positive, false positive, true negative and false negative pixels, shape (slices, 4)."""
        state: Any = engine.state
        return state.metric_details[self.counts].cpu().double().numpy().reshape(-1, 4)

    def write_slices(self, names: Sequence[str], scores: np.ndarray, pixels: np.ndarray) -> None:
        """Write ``scores_per_slice.csv``: scores (slices, names) and pixels (slices, 4)."""
        rows = zip(self.names, scores, pixels, strict=True)
        write_csv(
            self.output_dir / "scores_per_slice.csv",
            ["case", "slice", *names, "true_positive", "false_positive", "true_negative", "false_negative"],
            ([*name, *values, *map(int, numbers)] for name, values, numbers in rows),
            form=".6f",
        )


class SliceScores(CountTable):
    """Scores averaged over slices, and of all pixels pooled: ``scores.csv``, printed too, ``scores_per_slice.csv``.

    See ``slice_scores`` for the slices without infection, and ``CountTable`` for the arguments.
    """

    def write(self, engine: Engine) -> None:
        """Write both tables and print the first."""
        counts = self.pixels(engine)
        scores = slice_scores(counts)
        infected = has_infection(counts)
        chosen = {ROWS[0]: scores, ROWS[1]: scores[infected], ROWS[2]: slice_scores(counts.sum(0, keepdims=True))}
        means = {name: values.mean(0) if len(values) else np.full(4, np.nan) for name, values in chosen.items()}
        slices = (len(scores), int(infected.sum()), len(scores))
        rows = [[name, *values, number] for (name, values), number in zip(means.items(), slices, strict=True)]
        write_csv(self.output_dir / "scores.csv", ["row", *SCORES, "slices"], rows, form=".6f")
        self.write_slices(SCORES, scores, counts)
        text = aligned(["", *SCORES, "slices"], rows)
        print_table(text, self.output_dir, "scores.csv", "scores_per_slice.csv")
