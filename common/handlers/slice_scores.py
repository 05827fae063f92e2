"""Scores of one class per slice (Maganaris et al., *Evaluating transferability*, section 3.2 and table 2)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine

from ..tables import write_csv
from .slice_table import SliceTable

SCORES = ("accuracy", "precision", "recall", "f1")
ROWS = ("mean over slices", "mean over slices with infection", "pooled pixels")


def slice_scores(counts: np.ndarray) -> np.ndarray:
    """Accuracy, precision, recall and F1 of each slice.

    A slice without infection scores 1 in all where nothing is predicted, and 0 in precision, recall and F1 where
    something is. A slice with infection where nothing is predicted scores 0 in these three. The text states no rule;
    its numbers exclude that slices without infection score 0, for its mean F1 exceeds the share of slices with.

    Args:
        counts: true positive, false positive, true negative and false negative pixels, shape (slices, 4).

    Returns:
        (slices, 4), in the order of ``SCORES``; F1 is 2PR / (P + R), to whose equation (5) the text owes the 2.
    """
    hit, extra, quiet, missed = np.moveaxis(np.asarray(counts, float), -1, 0)
    empty = (hit + extra + missed) == 0
    shares = ((hit, hit + extra), (hit, hit + missed), (2 * hit, 2 * hit + extra + missed))
    ratios = [np.where(empty, 1.0, above / np.maximum(below, 1)) for above, below in shares]
    return np.stack([(hit + quiet) / np.maximum(hit + extra + quiet + missed, 1), *ratios], axis=-1)


def has_infection(counts: np.ndarray) -> np.ndarray:
    """Whether the truth holds infection, bool (N,), for counts (N, 4) as ``slice_scores`` takes them."""
    return counts[:, 0] + counts[:, 3] > 0


class CountTable(SliceTable):
    """Tables that are made from counts of pixels, slice by slice.

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
            ([*name, *(f"{value:.6f}" for value in values), *map(int, numbers)] for name, values, numbers in rows),
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
        rows = list(zip(ROWS, means.values(), slices, strict=True))
        write_csv(
            self.output_dir / "scores.csv",
            ["row", *SCORES, "slices"],
            (
                [name, *("" if np.isnan(value) else f"{value:.6f}" for value in values), number]
                for name, values, number in rows
            ),
        )
        self.write_slices(SCORES, scores, counts)
        lines = [f"{'':<33}" + "".join(f"{name:>11}" for name in SCORES) + f"{'slices':>8}"]
        for name, values, number in rows:
            lines.append(f"{name:<33}" + "".join(f"{value:>11.4f}" for value in values) + f"{number:>8}")
        print("\n" + "\n".join(lines) + f"\n\nTables: {self.output_dir}/scores.csv, scores_per_slice.csv")
