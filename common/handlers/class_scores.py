"""Tables of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine
from monai.metrics import compute_confusion_matrix_metric

from ..tables import column_means, shown, write_csv
from .slice_table import SliceTable


class ClassScores(SliceTable):
    """Scores per class of an evaluation: printed, and as ``scores.csv`` and ``scores_per_slice.csv``.

    Dice and IoU are means over the slices whose truth holds the class. F1 pools the pixels of all slices, so that
    lesions seen where there are none count too. A class that no slice's truth holds has no score. The evaluator needs
    metrics ``val_mean_dice``, ``val_mean_iou`` and ``val_f1``.

    Args:
        output_dir: folder of the files.
        classes: names in channel order.
    """

    def __init__(self, output_dir: str | Path, classes: Sequence[str]) -> None:
        super().__init__(output_dir)
        self.classes = list(classes)

    def write(self, engine: Engine) -> None:
        """Write both tables and print the first."""
        state: Any = engine.state
        details = state.metric_details
        dice = details["val_mean_dice"].cpu().numpy()  # (slices, classes), NaN where truth lacks the class
        iou = details["val_mean_iou"].cpu().numpy()
        counts = details["val_f1"].sum(0)  # (classes, 4): true positive, false positive, true negative, false negative
        f1 = compute_confusion_matrix_metric("f1 score", counts).cpu().numpy()
        present = np.isfinite(dice).any(0)
        rows = [
            {"class": name, "slices": int(np.isfinite(dice[:, index]).sum())}
            | {"dice": column_means(dice)[index], "iou": column_means(iou)[index]}
            | {"f1": float(f1[index]) if present[index] else float("nan")}
            for index, name in enumerate(self.classes)
        ]
        means = {score: float(np.nanmean([row[score] for row in rows])) for score in ("dice", "iou", "f1")}
        rows.append({"class": "mean", "slices": len(dice), **means})
        write_csv(
            self.output_dir / "scores.csv",
            ["class", "dice", "iou", "f1", "slices"],
            ([row["class"], *(shown(row[s], "") for s in ("dice", "iou", "f1")), row["slices"]] for row in rows),
        )
        write_csv(
            self.output_dir / "scores_per_slice.csv",
            ["case", "slice", *(f"dice_{name}" for name in self.classes)],
            ([*name, *(shown(value, "") for value in values)] for name, values in zip(self.names, dice, strict=True)),
        )
        lines = [f"{'class':<15}{'Dice':>8}{'IoU':>8}{'F1':>8}{'slices':>8}"]
        for row in rows:
            lines.append(
                f"{row['class']:<15}"
                + "".join(f"{shown(row[s], '-'):>8}" for s in ("dice", "iou", "f1"))
                + f"{row['slices']:>8}"
            )
        print("\n" + "\n".join(lines) + f"\n\nTables: {self.output_dir}/scores.csv, scores_per_slice.csv")
