"""Scores of diagnoses, per frame and per clip (Gare et al., *Dense pixel-labeling*, section 2.6 and table 2)."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events

from ..metrics import accuracy, per_class
from ..report.confusion import confusion_picture
from ..run.distributed import gathered, is_main
from ..tables import shown
from .slice_table import decollated

SCORES = ("precision", "recall", "f1")


class DiagnosisScores:
    """Accuracy, precision, recall and F1 per frame and per clip: ``scores.csv``, printed too, and ``confusion.png``.

    A clip's diagnosis is the one with the highest probability averaged over its frames. ``frames.csv`` and
    ``clips.csv`` hold the predictions themselves.

    Args:
        output_dir: folder of the files.
        classes: diagnoses in channel order.
        printed: print the scores.
    """

    def __init__(self, output_dir: str | Path, classes: Sequence[str], printed: bool = True) -> None:
        self.output_dir, self.classes, self.printed = Path(output_dir), list(classes), printed
        self.rows: list[tuple[str, int, int, np.ndarray]] = []  # case, frame, truth, probabilities

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator whose output holds probabilities ``pred`` (diagnoses,) and index ``label``."""
        engine.add_event_handler(Events.STARTED, lambda _: self.rows.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.remember)
        engine.add_event_handler(Events.COMPLETED, self.write)

    def remember(self, engine: Engine) -> None:
        """Keep the probabilities of each frame."""
        output: Any = engine.state.output
        for sample, source in zip(output, decollated(engine), strict=True):
            probability = torch.as_tensor(sample["pred"]).double().cpu().numpy()
            self.rows.append((str(source["case"]), int(source["frame"]), int(sample["label"]), probability))

    def clips(self) -> list[tuple[str, int, int, np.ndarray]]:
        """One row a clip: case, number of frames, truth, mean probabilities."""
        cases: dict[str, list[tuple[str, int, int, np.ndarray]]] = {}
        for row in self.rows:
            cases.setdefault(row[0], []).append(row)
        return [
            (case, len(rows), rows[0][2], np.mean([row[3] for row in rows], axis=0)) for case, rows in cases.items()
        ]

    def matrix(self, rows: Sequence[tuple[str, int, int, np.ndarray]]) -> torch.Tensor:
        """Confusion matrix (classes, classes), rows are truth."""
        counts = torch.zeros(len(self.classes), len(self.classes), dtype=torch.long)
        for _, _, truth, probability in rows:
            counts[truth, int(probability.argmax())] += 1
        return counts

    def write(self, engine: Engine) -> None:
        """Write the tables and the picture of all processes' frames, print the scores."""
        self.rows = gathered(self.rows)
        if not is_main():
            return
        clips = self.clips()
        matrices = {"frame": self.matrix(self.rows), "clip": self.matrix(clips)}
        columns = [f"{unit}_{score}" for unit in matrices for score in (*SCORES, "accuracy")]
        table: dict[str, dict[str, float]] = {name: {} for name in [*self.classes, "mean"]}
        for unit, counts in matrices.items():
            for score in SCORES:
                values = per_class(counts, score)
                for name, value in zip(self.classes, values.tolist(), strict=True):
                    table[name][f"{unit}_{score}"] = value
                table["mean"][f"{unit}_{score}"] = float(values.nanmean())
            table["mean"][f"{unit}_accuracy"] = float(accuracy(counts))
        with (self.output_dir / "scores.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["class", *columns])
            for name, row in table.items():
                writer.writerow([name, *(shown(row.get(column, float("nan")), "") for column in columns)])
        self.write_predictions("frames.csv", "frame", self.rows)
        self.write_predictions("clips.csv", "frames", clips)
        confusion_picture(
            self.output_dir / "confusion.png",
            {f"{len(self.rows)} frames": matrices["frame"].numpy(), f"{len(clips)} clips": matrices["clip"].numpy()},
            self.classes,
        )
        if self.printed:
            print("\n" + self.text(table) + f"\n\nTables: {self.output_dir}/scores.csv, frames.csv, clips.csv")

    def write_predictions(self, name: str, number: str, rows: Sequence[tuple[str, int, int, np.ndarray]]) -> None:
        """A row for each frame or clip."""
        with (self.output_dir / name).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["case", number, "truth", "prediction", *(f"probability_{each}" for each in self.classes)])
            for case, count, truth, probability in rows:
                told = self.classes[int(probability.argmax())]
                writer.writerow([case, count, self.classes[truth], told, *(f"{value:.4f}" for value in probability)])

    def text(self, table: dict[str, dict[str, float]]) -> str:
        """The scores for a terminal."""
        lines = []
        for unit in ("frame", "clip"):
            lines.append(f"{'per ' + unit:<14}" + "".join(f"{score:>11}" for score in (*SCORES, "accuracy")))
            for name, row in table.items():
                cells = [row.get(f"{unit}_{score}", float("nan")) for score in (*SCORES, "accuracy")]
                lines.append(f"{name:<14}" + "".join(f"{shown(value, '-'):>11}" for value in cells))
        return "\n".join(lines)
