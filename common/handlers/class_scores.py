"""Scores per class of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine

from ..statistics import ABSENT, interval_over
from ..tables import aligned, print_table, write_csv
from .slice_table import SliceTable


class ClassScores(SliceTable):
    """Scores per class with 95 % intervals: ``scores.csv``, which is printed too, and ``scores_per_slice.csv``.

    Dice and IoU are means over the slices whose ground truth holds the class (``common.statistics.ABSENT``). F1 pools
    the pixels of all slices, so that false positives in slices without the class count too. A class that is in no
    slice's ground truth has no score. ``scores.npz`` holds the sums behind the intervals. The evaluator needs the
    metrics ``val_mean_dice``, ``val_mean_iou`` and ``val_f1``.

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
        hit, extra, _, missed = np.moveaxis(details["val_f1"].cpu().double().numpy(), -1, 0)  # each (slices, classes)
        present = np.isfinite(dice)
        pooled = (2 * hit, np.where(present.any(0), 2 * hit + extra + missed, 0))
        sums = self.sums()
        for column, parts in {"dice": [dice], "iou": [iou], "f1": pooled}.items():
            for index, name in enumerate(self.classes):
                sums.add(name, column, *(part[:, index] for part in parts))
            sums.add("mean", column, *parts)
        sums.save(self.output_dir / "scores.npz")
        found = sums.estimates()
        absent, alarms = (~present).sum(0), (~present & (extra > 0)).sum(0)
        numbers = dict(zip(self.classes, zip(present.sum(0), absent, alarms, strict=True), strict=True))
        rows: list[list[Any]] = []
        for name in (*self.classes, "mean"):
            scores = {column: found[name, column] for column in ("dice", "iou", "f1")}
            counts = map(int, numbers[name]) if name in numbers else (len(dice), None, None)
            rows.append([name, *scores.values(), *counts, interval_over(scores, sums.word), self.scored])
        columns = ["slices", "absent", "false_alarms", "interval_over", "set"]
        write_csv(self.output_dir / "scores.csv", ["class", "dice", "iou", "f1", *columns], rows)
        write_csv(
            self.output_dir / "scores_per_slice.csv",
            ["case", "patient", "slice", *(f"dice_{name}" for name in self.classes)],
            self.named_rows(dice),
        )
        text = aligned(["class", "Dice", "IoU", "F1", "slices", "absent", "false alarms", "interval over", "set"], rows)
        print_table(text, self.output_dir, "scores.csv", "scores_per_slice.csv", note=ABSENT)
