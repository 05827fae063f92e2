"""Scores of diagnoses, per frame and per clip (Gare et al., *Dense pixel-labeling*, section 2.6 and table 2)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from ignite.engine import Engine

from ..metrics import accuracy, per_class
from ..report.confusion import draw_confusion
from ..run.distributed import gathered
from ..tables import aligned, print_table, write_csv
from .score_table import ScoreTable
from .slice_table import decollated

PER_CLASS = ("precision", "recall", "f1")
SCORES = (*PER_CLASS, "accuracy")


class Diagnosed(NamedTuple):
    """A frame or a clip: its case, its number (of a clip the number of frames), true diagnosis and probabilities."""

    case: str
    number: int
    truth: int
    probabilities: np.ndarray

    @property
    def prediction(self) -> int:
        """The most probable diagnosis."""
        return int(self.probabilities.argmax())


class DiagnosisScores(ScoreTable):
    """Accuracy, precision, recall and F1 per frame and per clip: ``scores.csv``, printed too, and ``confusion.png``.

    A clip's diagnosis is the one with the highest probability averaged over its frames. ``frames.csv`` and
    ``clips.csv`` hold the predictions themselves. The evaluator's output holds probabilities ``pred`` (diagnoses,) and
    the index ``label``.

    Args:
        output_dir: folder of the files.
        classes: diagnoses in channel order.
        printed: print the scores.
    """

    def __init__(self, output_dir: str | Path, classes: Sequence[str], printed: bool = True) -> None:
        super().__init__(output_dir)
        self.classes, self.printed = list(classes), printed
        self.frames: list[Diagnosed] = []

    def clear(self) -> None:
        """Forget the frames of an earlier evaluation."""
        self.frames = []

    def remember(self, engine: Engine) -> None:
        """Keep the probabilities of each frame."""
        output: Any = engine.state.output
        for sample, source in zip(output, decollated(engine), strict=True):
            probabilities = torch.as_tensor(sample["pred"]).double().cpu().numpy()
            frame = Diagnosed(str(source["case"]), int(source["frame"]), int(sample["label"]), probabilities)
            self.frames.append(frame)

    def gather(self) -> None:
        """Add the frames of the other processes."""
        self.frames = gathered(self.frames)

    def clips(self) -> list[Diagnosed]:
        """The clips with the mean probabilities of their frames."""
        cases: dict[str, list[Diagnosed]] = {}
        for frame in self.frames:
            cases.setdefault(frame.case, []).append(frame)
        return [
            Diagnosed(case, len(frames), frames[0].truth, np.mean([each.probabilities for each in frames], axis=0))
            for case, frames in cases.items()
        ]

    def matrix(self, diagnosed: Sequence[Diagnosed]) -> torch.Tensor:
        """Confusion matrix (classes, classes): rows are the ground truth."""
        counts = torch.zeros(len(self.classes), len(self.classes), dtype=torch.long)
        for each in diagnosed:
            counts[each.truth, each.prediction] += 1
        return counts

    def scores(self, matrix: torch.Tensor) -> list[list[Any]]:
        """One row per class and one of means: name, then ``SCORES``; accuracy is known for all classes together."""
        values = torch.stack([per_class(matrix, score) for score in PER_CLASS], dim=1)  # (classes, scores)
        rows = [[name, *scores, None] for name, scores in zip(self.classes, values.tolist(), strict=True)]
        return [*rows, ["mean", *values.nanmean(0).tolist(), float(accuracy(matrix))]]

    def write(self, engine: Engine) -> None:
        """Write the tables and the figure, print the scores."""
        clips = self.clips()
        matrices = {"frame": self.matrix(self.frames), "clip": self.matrix(clips)}
        scores = {unit: self.scores(matrix) for unit, matrix in matrices.items()}
        write_csv(
            self.output_dir / "scores.csv",
            ["class", *(f"{unit}_{score}" for unit in scores for score in SCORES)],
            ([*frame, *clip[1:]] for frame, clip in zip(scores["frame"], scores["clip"], strict=True)),
        )
        self.write_predictions("frames.csv", "frame", self.frames)
        self.write_predictions("clips.csv", "frames", clips)
        draw_confusion(
            self.output_dir / "confusion.png",
            {f"{len(self.frames)} frames": matrices["frame"].numpy(), f"{len(clips)} clips": matrices["clip"].numpy()},
            self.classes,
        )
        if self.printed:
            text = "\n".join(aligned([f"per {unit}", *SCORES], rows) for unit, rows in scores.items())
            print_table(text, self.output_dir, "scores.csv", "frames.csv", "clips.csv", "confusion.png")

    def write_predictions(self, name: str, number: str, diagnosed: Sequence[Diagnosed]) -> None:
        """Write one row per frame or clip; ``number`` is the name of that column."""
        rows = (
            [each.case, each.number, self.classes[each.truth], self.classes[each.prediction], *each.probabilities]
            for each in diagnosed
        )
        columns = ["case", number, "truth", "prediction", *(f"probability_{diagnosis}" for diagnosis in self.classes)]
        write_csv(self.output_dir / name, columns, rows)
