"""Tables of an evaluation."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events
from monai.metrics import compute_confusion_matrix_metric

from ..distributed import gathered, is_main


def column_means(values: np.ndarray) -> list[float]:
    """Mean of each column without NaN, and NaN for a column that has nothing else. Shape (N, C) to C numbers."""
    return [float(np.nanmean(column)) if np.isfinite(column).any() else float("nan") for column in values.T]


class SliceTable:
    """Tables of an evaluation, slice by slice.

    Args:
        output_dir: folder of the files.
    """

    def __init__(self, output_dir: str | Path) -> None:
        self.output_dir = Path(output_dir)
        self.names: list[tuple[str, int]] = []

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator that computes the metrics which the table holds."""
        engine.add_event_handler(Events.STARTED, lambda _: self.names.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.remember)
        engine.add_event_handler(Events.COMPLETED, self.finish)

    def remember(self, engine: Engine) -> None:
        """Keep case and slice of each sample."""
        self.names += [(str(sample["case"]), int(sample["slice"])) for sample in decollated(engine)]

    def finish(self, engine: Engine) -> None:
        """Gather what all processes have kept; the first one writes."""
        self.gather()
        if is_main():
            self.write(engine)

    def gather(self) -> None:
        """Take over what the other processes have kept."""
        self.names = gathered(self.names)  # in the order of MONAI's metric details

    def write(self, engine: Engine) -> None:
        """Write the tables."""
        raise NotImplementedError


class ScoreTable(SliceTable):
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


def decollated(engine: Engine) -> list[dict[str, Any]]:
    """The samples of the current batch: MONAI's engines turn the batch into a list of them."""
    return engine.state.batch  # type: ignore[return-value]


def write_csv(path: Path, heading: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table with its heading."""
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(heading)
        table.writerows(rows)


def shown(value: Any, absent: str) -> str:
    """A score to four decimals, or what stands for a missing one."""
    return absent if np.isnan(value) else f"{value:.4f}"
