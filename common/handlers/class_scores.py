"""Scores per class of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine
from monai.metrics import compute_confusion_matrix_metric

from ..tables import aligned, column_means, print_table, write_csv
from .slice_table import SliceTable


class ClassScores(SliceTable):
    """Scores per class: ``scores.csv``, which is printed too, and ``scores_per_slice.csv``.

    Dice and IoU are means over the slices whose ground truth holds the class. F1 pools the pixels of all slices, so
    that false positives in slices without the class count too. A class that is in no slice's ground truth has no score.
    The evaluator needs the metrics ``val_mean_dice``, ``val_mean_iou`` and ``val_f1``.

    Args:
        output_dir: folder of the files.
        classes: names in channel order.
        scored: name of the set that is scored, for the table.
    """

    def __init__(self, output_dir: str | Path, classes: Sequence[str], scored: str = "") -> None:
        super().__init__(output_dir)
        self.classes, self.scored = list(classes), scored

    def write(self, engine: Engine) -> None:
        """Write both tables and print the first."""
        state: Any = engine.state
        details = state.metric_details
        dice = details["val_mean_dice"].cpu().numpy()  # (slices, classes), NaN where the ground truth lacks the class
        iou = details["val_mean_iou"].cpu().numpy()
        counts = details["val_f1"].sum(0)  # (classes, 4): true positive, false positive, true negative, false negative
        slices = np.isfinite(dice).sum(0)
        f1 = compute_confusion_matrix_metric("f1 score", counts).cpu().numpy()
        f1 = np.where(slices > 0, f1, np.nan)
        scores = [*zip(column_means(dice), column_means(iou), f1.tolist(), strict=True)]
        rows: list[list[Any]] = [
            [name, *values, count, self.scored]
            for name, values, count in zip(self.classes, scores, slices.tolist(), strict=True)
        ]
        rows.append(["mean", *map(float, np.nanmean(scores, axis=0)), len(dice), self.scored])
        write_csv(self.output_dir / "scores.csv", ["class", "dice", "iou", "f1", "slices", "set"], rows)
        write_csv(
            self.output_dir / "scores_per_slice.csv",
            ["case", "slice", *(f"dice_{name}" for name in self.classes)],
            ([*name, *values] for name, values in zip(self.names, dice, strict=True)),
        )
        text = aligned(["class", "Dice", "IoU", "F1", "slices", "set"], rows)
        print_table(text, self.output_dir, "scores.csv", "scores_per_slice.csv")
