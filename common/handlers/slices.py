"""Scores of one class per slice (Maganaris et al., *Evaluating transferability*, section 3.2 and table 2)."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine

from .scores import SliceTable

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


class SliceScores(SliceTable):
    """Scores averaged over slices, and of all pixels pooled: ``scores.csv``, printed too, ``scores_per_slice.csv``.

    See :func:`slice_scores` for the slices without infection.

    Args:
        output_dir: folder of the files.
        counts: name of the metric whose details are counts (slices, 1, 4), from MONAI's ``ConfusionMatrix``.
    """

    def __init__(self, output_dir: str | Path, counts: str = "val_f1") -> None:
        super().__init__(output_dir)
        self.counts = counts

    def write(self, engine: Engine) -> None:
        """Write both tables and print the first."""
        state: Any = engine.state
        counts = state.metric_details[self.counts].cpu().double().numpy().reshape(-1, 4)
        scores = slice_scores(counts)
        infected = counts[:, 0] + counts[:, 3] > 0
        chosen = {ROWS[0]: scores, ROWS[1]: scores[infected], ROWS[2]: slice_scores(counts.sum(0, keepdims=True))}
        means = {name: values.mean(0) if len(values) else np.full(4, np.nan) for name, values in chosen.items()}
        slices = (len(scores), int(infected.sum()), len(scores))
        rows = list(zip(ROWS, means.values(), slices, strict=True))
        with (self.output_dir / "scores.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["row", *SCORES, "slices"])
            table.writerows(
                [name, *("" if np.isnan(value) else f"{value:.6f}" for value in values), number]
                for name, values, number in rows
            )
        with (self.output_dir / "scores_per_slice.csv").open("w", newline="") as file:
            table = csv.writer(file)
            pixels = ("true_positive", "false_positive", "true_negative", "false_negative")
            table.writerow(["case", "slice", *SCORES, *pixels])
            for (case, index), values, numbers in zip(self.names, scores, counts, strict=True):
                table.writerow([case, index, *(f"{value:.6f}" for value in values), *map(int, numbers)])
        lines = [f"{'':<33}" + "".join(f"{name:>11}" for name in SCORES) + f"{'slices':>8}"]
        for name, values, number in rows:
            lines.append(f"{name:<33}" + "".join(f"{value:>11.4f}" for value in values) + f"{number:>8}")
        print("\n" + "\n".join(lines) + f"\n\nTables: {self.output_dir}/scores.csv, scores_per_slice.csv")
