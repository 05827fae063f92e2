"""Dice of lesions per volume and per patient, with intervals over patients."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine
from scipy.stats import bootstrap

from ..run.distributed import gathered
from ..tables import aligned, print_table, write_csv
from .lesion_scores import INFECTION, lesion_channels
from .slice_table import SliceTable

logger = logging.getLogger(__name__)

FILES = ("patient_scores.csv", "scores_per_patient.csv", "scores_per_volume.csv")


def pooled_dice(counts: np.ndarray) -> np.ndarray:
    """Dice from counts of pixels; 1 where neither prediction nor ground truth has any.

    Args:
        counts: pixels in both, in the prediction, in the ground truth; shape (..., 3).

    Returns:
        shape (...).

    Example:
        >>> pooled_dice(np.array([[3, 4, 6], [0, 0, 0], [0, 2, 0]]))
        array([0.6, 1. , 0. ])
    """
    both, predicted, true = np.moveaxis(np.asarray(counts, float), -1, 0)
    return np.where(predicted + true > 0, 2 * both / np.maximum(predicted + true, 1), 1.0)


def interval(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of a mean by bootstrap: percentiles of the means of 9999 samples with replacement.

    Args:
        values: one score per patient, shape (N,).
        seed: of the samples.

    Returns:
        lower and upper bound; NaN for fewer than two patients.
    """
    if len(values) < 2:
        return float("nan"), float("nan")
    found = bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(seed)).confidence_interval
    return float(found.low), float(found.high)


class PatientScores(SliceTable):
    """Dice of each kind of lesion and of infection: ``patient_scores.csv``, printed too, and one table per unit.

    The pixels of a volume, and of all volumes of a patient, are pooled before their Dice is computed. A class that is
    absent from both prediction and ground truth scores 1, one that is in only one of them scores 0.
    ``patient_scores.csv`` holds means over patients with their 95 % interval (``interval``), because slices and volumes
    of one patient are alike. ``scores_per_patient.csv`` and ``scores_per_volume.csv`` hold the single scores. Without
    patients, or if volumes were split into slices, none of the three is written, and the log says so.

    Args:
        output_dir: folder of the files.
        classes: names in channel order.
        patients: of the cases by their names, as ``common.datasets.scored_set.ScoredSet.patients`` gives them.
        scored: name of the set that is scored, for the tables.
        lesions: the classes that are infection; those that the network lacks are left out.
    """

    def __init__(
        self,
        output_dir: str | Path,
        classes: Sequence[str],
        patients: Mapping[str, str],
        scored: str = "",
        lesions: Sequence[str] = ("ground-glass", "consolidation"),
    ) -> None:
        super().__init__(output_dir)
        self.lesions, self.channels = lesion_channels(classes, lesions)
        self.patients, self.scored = dict(patients), scored
        self.counts: list[list[tuple[int, int, int]]] = []

    def clear(self) -> None:
        """Forget the slices of an earlier evaluation."""
        super().clear()
        self.counts = []

    def remember(self, engine: Engine) -> None:
        """Count the pixels of the slices of a batch: the output's ``pred`` and ``label``, one-hot (classes, H, W)."""
        super().remember(engine)
        output: Any = engine.state.output
        for sample in output:
            predicted, true = (sample[key][self.channels] > 0.5 for key in ("pred", "label"))
            predicted, true = (torch.cat([mask, mask.any(0, keepdim=True)]) for mask in (predicted, true))
            sums = [mask.sum((1, 2)).tolist() for mask in (predicted & true, predicted, true)]
            self.counts.append([(int(a), int(b), int(c)) for a, b, c in zip(*sums, strict=True)])

    def gather(self) -> None:
        """Add the slices of the other processes."""
        super().gather()
        self.counts = gathered(self.counts)

    def write(self, engine: Engine) -> None:
        """Write the three tables and print the first."""
        if not self.patients:
            for name in FILES:
                (self.output_dir / name).unlink(missing_ok=True)  # of an earlier evaluation
            logger.info("No patients are named, or volumes were split: no scores per patient, no intervals.")
            return
        counts = np.array(self.counts)  # (slices, lesions + 1, 3)
        cases = np.array([case for case, _ in self.names])
        owners = np.array([self.patients[case] for case in cases.tolist()])
        units = {"patient": owners, "case": cases}
        names = [*self.lesions, INFECTION]
        dice = {}
        for (unit, keys), file in zip(units.items(), FILES[1:], strict=True):
            members = {key: keys == key for key in dict.fromkeys(keys.tolist())}
            dice[unit] = np.array([pooled_dice(counts[chosen].sum(0)) for chosen in members.values()])
            others = [
                [*([self.patients[key]] if unit == "case" else [len(set(cases[chosen].tolist()))]), int(chosen.sum())]
                for key, chosen in members.items()
            ]
            rows = [[key, *more, *scores] for key, more, scores in zip(members, others, dice[unit], strict=True)]
            columns = ["case", "patient", "slices"] if unit == "case" else ["patient", "volumes", "slices"]
            write_csv(self.output_dir / file, [*columns, *(f"dice_{name}" for name in names)], rows)
        patients, volumes = (len(dice[unit]) for unit in ("patient", "case"))
        table = [
            [name, scores.mean(), *interval(scores), patients, volumes, self.scored]
            for name, scores in zip(names, dice["patient"].T, strict=True)
        ]
        write_csv(self.output_dir / FILES[0], ["class", "dice", "low", "high", "patients", "volumes", "set"], table)
        text = aligned(["mean over patients", "Dice", "95 % from", "to", "patients", "volumes", "set"], table)
        print_table(text, self.output_dir, *FILES)
