"""Scores of diagnoses, per frame and per clip (Gare et al., *Dense pixel-labeling*, section 2.6 and table 2)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from ignite.engine import Engine
from scipy.special import softmax

from ..report.confusion import draw_confusion
from ..report.decision import Decision
from ..run.distributed import gathered
from ..statistics import Estimate, ScoreSums, interval_over
from ..tables import aligned, print_table, write_csv
from .score_table import ScoreTable, sums_over
from .slice_table import decollated

PER_CLASS = ("precision", "recall", "f1")
SCORES = (*PER_CLASS, "accuracy")


class Diagnosed(NamedTuple):
    """A frame or a clip: case, patient, number (of a clip the number of frames), true diagnosis and probabilities."""

    case: str
    patient: str
    number: int
    truth: int
    probabilities: np.ndarray

    @property
    def prediction(self) -> int:
        """The most probable diagnosis."""
        return int(self.probabilities.argmax())


class DiagnosisScores(ScoreTable):
    """Accuracy, precision, recall and F1 per frame and per clip: ``scores.csv``, printed too, and ``confusion.png``.

    A clip is diagnosed from the mean logits of its frames, that is from the mean shares of its maps, as inference does
    (``common.report.decision``). ``frames.csv`` and ``clips.csv`` hold the predictions themselves, ``weights.csv`` the
    weights behind them. Each score has its 95 % interval; ``scores.npz`` holds the sums behind it. A diagnosis that no
    frame has, has no score. The evaluator's output holds probabilities ``pred`` (diagnoses,) and the index ``label``.

    Args:
        output_dir: folder of the files.
        classes: diagnoses in channel order.
        printed: print the scores.
        decision: the last layer, whose weights are written.
    """

    def __init__(
        self, output_dir: str | Path, classes: Sequence[str], printed: bool = True, decision: Decision | None = None
    ) -> None:
        super().__init__(output_dir)
        self.classes, self.printed, self.decision = list(classes), printed, decision
        self.frames: list[Diagnosed] = []

    def clear(self) -> None:
        """Forget the frames of an earlier evaluation."""
        self.frames = []

    def remember(self, engine: Engine) -> None:
        """Keep the probabilities of each frame."""
        output: Any = engine.state.output
        for sample, source in zip(output, decollated(engine), strict=True):
            probabilities = torch.as_tensor(sample["pred"]).double().cpu().numpy()
            names = (str(source["case"]), str(source.get("patient", "")))
            self.frames.append(Diagnosed(*names, int(source["frame"]), int(sample["label"]), probabilities))

    def gather(self) -> None:
        """Add the frames of the other processes."""
        self.frames = gathered(self.frames)

    def clips(self) -> list[Diagnosed]:
        """The clips, each with the softmax of the mean logits of its frames."""
        cases: dict[str, list[Diagnosed]] = {}
        for frame in self.frames:
            cases.setdefault(frame.case, []).append(frame)
        return [
            frames[0]._replace(number=len(frames), probabilities=_together([each.probabilities for each in frames]))
            for frames in cases.values()
        ]

    def matrix(self, diagnosed: Sequence[Diagnosed]) -> torch.Tensor:
        """Confusion matrix (classes, classes): rows are the ground truth."""
        counts = torch.zeros(len(self.classes), len(self.classes), dtype=torch.long)
        for each in diagnosed:
            counts[each.truth, each.prediction] += 1
        return counts

    def add_scores(self, sums: ScoreSums, diagnosed: Sequence[Diagnosed]) -> None:
        """Add the rows of each diagnosis and of their mean; accuracy is known for all diagnoses together.

        Args:
            sums: empty, of the frames or clips in their order.
            diagnosed: frames or clips.
        """
        one_hot = np.eye(len(self.classes))
        truth = one_hot[[each.truth for each in diagnosed]]  # (N, classes)
        predicted = one_hot[[each.prediction for each in diagnosed]]
        hit, known = truth * predicted, np.asarray(truth.any(0))
        tiny = 1e-9 * truth  # the precision of a diagnosis that is never predicted is 0
        belows = {"precision": (predicted + tiny), "recall": truth, "f1": (truth + predicted) / 2}
        for score, below in belows.items():
            for index, name in enumerate(self.classes):
                sums.add(name, score, hit[:, index], below[:, index] * known[index])
            sums.add("mean", score, hit, below * known)
        sums.add("mean", "accuracy", hit.sum(1), np.ones(len(hit)))

    def write(self, engine: Engine) -> None:
        """Write the tables and the figure, print the scores."""
        units = {"frame": self.frames, "clip": self.clips()}
        counts = {unit: self.matrix(diagnosed) for unit, diagnosed in units.items()}
        tables: dict[str, list[list[Any]]] = {}
        all_known: dict[str, dict[str, Estimate]] = {}
        whole = sums_over(*self.owners(self.frames), single="clips", several="clips")
        for unit, diagnosed in units.items():
            sums = sums_over(*self.owners(diagnosed), single="clips", several="clips")
            self.add_scores(sums, diagnosed)
            whole.cells |= {(row, f"{unit}_{score}"): cell for (row, score), cell in sums.cells.items()}
            found = sums.estimates()
            numbers = dict(zip(self.classes, counts[unit].sum(1).tolist(), strict=True))
            tables[unit] = []
            for name in (*self.classes, "mean"):
                known = {score: found[name, score] for score in SCORES if (name, score) in found}
                over = interval_over(known, sums.word)
                tables[unit].append([name, *map(known.get, SCORES), numbers.get(name, len(diagnosed)), over])
                all_known.setdefault(name, {}).update({f"{unit}_{score}": each for score, each in known.items()})
        whole.save(self.output_dir / "scores.npz")
        columns = [f"{unit}_{name}" for unit in tables for name in (*SCORES, "count")]
        rows = [
            [*frame[:-1], *clip[1:-1], interval_over(all_known[frame[0]], whole.word)]
            for frame, clip in zip(*tables.values(), strict=True)
        ]
        write_csv(self.output_dir / "scores.csv", ["class", *columns, "interval_over"], rows)
        if self.decision is not None:
            self.decision.write(self.output_dir / "weights.csv")
        self.write_predictions("frames.csv", "frame", units["frame"])
        self.write_predictions("clips.csv", "frames", units["clip"])
        draw_confusion(
            self.output_dir / "confusion.png",
            {f"{len(units[unit])} {unit}s": matrix.numpy() for unit, matrix in counts.items()},
            self.classes,
        )
        if self.printed:
            text = "\n".join(
                aligned([f"per {unit}", *SCORES, f"{unit}s", "interval over"], table) for unit, table in tables.items()
            )
            print_table(text, self.output_dir, "scores.csv", "frames.csv", "clips.csv", "confusion.png")

    def owners(self, diagnosed: Sequence[Diagnosed]) -> tuple[list[str], list[str]]:
        """Cases and patients of frames or clips."""
        return [each.case for each in diagnosed], [each.patient for each in diagnosed]

    def write_predictions(self, name: str, number: str, diagnosed: Sequence[Diagnosed]) -> None:
        """Write one row per frame or clip; ``number`` is the name of that column."""
        rows = (
            [
                each.case,
                each.patient,
                each.number,
                self.classes[each.truth],
                self.classes[each.prediction],
                *each.probabilities,
            ]
            for each in diagnosed
        )
        columns = [
            "case",
            "patient",
            number,
            "truth",
            "prediction",
            *(f"probability_{diagnosis}" for diagnosis in self.classes),
        ]
        write_csv(self.output_dir / name, columns, rows)


def _together(frames: Sequence[np.ndarray]) -> np.ndarray:
    """Softmax of the mean logits of frames; their logarithms are the logits but for a constant of each frame."""
    logits = np.log(np.clip(frames, np.finfo(np.float32).tiny, 1))
    return np.asarray(softmax(logits.mean(0)))
