"""Scores of one class per slice (Maganaris et al., *Evaluating transferability*, section 3.2 and table 2)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine

from ..statistics import ABSENT, LEFT_OUT, ONE_OR_ZERO, interval_over
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


def pooled_parts(counts: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The parts of ``SCORES`` of the pixels of all slices, as ``ScoreSums.add`` takes them: 2 x (N,) for each.

    Args:
        counts: (N, 4), see ``slice_scores``. If the ground truth of all slices lacks infection, the last three have no
            score.
    """
    hit, extra, quiet, missed = np.moveaxis(np.asarray(counts, float), -1, 0)
    some = has_infection(counts).any()
    shares = ((hit, hit + extra), (hit, hit + missed), (2 * hit, 2 * hit + extra + missed))
    # Precision is 0 if nothing is predicted: a share that is not 0 / 0
    tiny = 1e-9 * (hit + missed)
    return [(hit + quiet, hit + extra + quiet + missed), *((above, (below + tiny) * some) for above, below in shares)]


def dice(counts: np.ndarray) -> np.ndarray:
    """Dice, which is F1, from counts of pixels (..., 4); NaN where the ground truth lacks the class.

    Example:
        >>> dice(np.array([[3, 1, 10, 3], [0, 0, 9, 0], [0, 2, 9, 0]]))
        array([0.6, nan, nan])
    """
    return np.where(has_infection(counts), slice_scores(counts)[..., SCORES.index("f1")], np.nan)


def has_infection(counts: np.ndarray) -> np.ndarray:
    """Whether the ground truth holds infection, bool (...), for counts (..., 4) as ``slice_scores`` takes them."""
    return np.asarray(counts)[..., 0] + np.asarray(counts)[..., 3] > 0


def false_alarms(counts: np.ndarray) -> int:
    """How many have no infection in the ground truth, but in the prediction, for counts (N, 4)."""
    return int((~has_infection(counts) & (counts[:, 1] > 0)).sum())


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
        cells = ([*values, *map(int, numbers)] for values, numbers in zip(scores, pixels, strict=True))
        columns = [*names, "true_positive", "false_positive", "true_negative", "false_negative"]
        rows = self.named_rows(cells)
        write_csv(self.output_dir / "scores_per_slice.csv", ["case", "patient", "slice", *columns], rows, form=".6f")


class SliceScores(CountTable):
    """Scores averaged over slices, and of all pixels pooled: ``scores.csv``, printed too, ``scores_per_slice.csv``.

    Each score has its 95 % interval; ``scores.npz`` holds the sums behind it. In the first row, slices without
    infection score 1 or 0 (see ``slice_scores``), as the paper's mean over slices needs; the second row and the table
    per slice leave them out. See ``CountTable`` for the arguments.
    """

    def write(self, engine: Engine) -> None:
        """Write both tables and print the first."""
        counts = self.pixels(engine)
        scores = slice_scores(counts)
        infected = has_infection(counts)
        known = np.where(infected[:, None], scores, np.nan)
        sums, pooled = self.sums(), pooled_parts(counts)
        for index, name in enumerate(SCORES):
            sums.add(ROWS[0], name, scores[:, index])
            sums.add(ROWS[1], name, known[:, index])
            sums.add(ROWS[2], name, *pooled[index])
        sums.save(self.output_dir / "scores.npz")
        found = sums.estimates()
        absent = [int((~infected).sum()), false_alarms(counts)]
        rows = []
        for row, number, rule in zip(
            ROWS, (len(scores), int(infected.sum()), len(scores)), (ONE_OR_ZERO, LEFT_OUT, ""), strict=True
        ):
            estimates = {name: found[row, name] for name in SCORES}
            touched = [*absent, rule] if rule else [None, None, rule]
            rows.append([row, *estimates.values(), number, *touched, interval_over(estimates, sums.word)])
        columns = [*SCORES, "slices", "absent", "false_alarms", "absent_scores", "interval_over"]
        write_csv(self.output_dir / "scores.csv", ["row", *columns], rows, form=".6f")
        self.write_slices(SCORES, known, counts)
        text = aligned(["", *(column.replace("_", " ") for column in columns)], rows)
        print_table(text, self.output_dir, "scores.csv", "scores_per_slice.csv", note=ABSENT)
