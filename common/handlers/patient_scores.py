"""Dice of lesions per volume and per patient, with intervals over patients."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine
from scipy.stats import bootstrap

from ..tables import aligned, print_table, write_csv
from .lesion_scores import INFECTION, lesion_channels
from .slice_scores import dice
from .slice_table import SliceTable

logger = logging.getLogger(__name__)

FILES = ("patient_scores.csv", "scores_per_patient.csv", "scores_per_volume.csv")


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

    def remember(self, engine: Engine) -> None:
        """Count the pixels of the slices of a batch: the output's ``pred`` and ``label``, one-hot (classes, H, W)."""
        super().remember(engine)
        output: Any = engine.state.output
        for sample in output:
            predicted, true = (sample[key][self.channels] > 0.5 for key in ("pred", "label"))
            predicted, true = (torch.cat([mask, mask.any(0, keepdim=True)]) for mask in (predicted, true))
            masks = (predicted & true, predicted & ~true, ~predicted & ~true, ~predicted & true)
            self.values.append(torch.stack([mask.sum((1, 2)) for mask in masks], -1).tolist())  # (lesions + 1, 4)

    def write(self, engine: Engine) -> None:
        """Write the three tables and print the first."""
        if not self.patients:
            for name in FILES:
                (self.output_dir / name).unlink(missing_ok=True)  # of an earlier evaluation
            logger.info("No patients are named, or volumes were split: no scores per patient, no intervals.")
            return
        names = [*self.lesions, INFECTION]
        columns = ["slices", *(f"dice_{name}" for name in names)]
        cases = [case for case, _ in self.names]
        patients, volumes = self.pooled([self.patients[case] for case in cases]), self.pooled(cases)
        owned = Counter(self.patients[case] for case in volumes)
        rows = [[patient, owned[patient], slices, *scores] for patient, (slices, scores) in patients.items()]
        write_csv(self.output_dir / FILES[1], ["patient", "volumes", *columns], rows)
        rows = [[case, self.patients[case], slices, *scores] for case, (slices, scores) in volumes.items()]
        write_csv(self.output_dir / FILES[2], ["case", "patient", *columns], rows)
        by_lesion = zip(names, np.array([scores for _, scores in patients.values()]).T, strict=True)
        sizes = [len(patients), len(volumes), self.scored]
        table = [[name, scores.mean(), *interval(scores), *sizes] for name, scores in by_lesion]
        write_csv(self.output_dir / FILES[0], ["class", "dice", "low", "high", "patients", "volumes", "set"], table)
        text = aligned(["mean over patients", "Dice", "95 % from", "to", "patients", "volumes", "set"], table)
        print_table(text, self.output_dir, *FILES)

    def pooled(self, owners: Sequence[str]) -> dict[str, tuple[int, np.ndarray]]:
        """Number of slices, and Dice of each lesion over all of their pixels, by the owner of each slice."""
        counts, keys = np.array(self.values), np.array(owners)  # (slices, lesions + 1, 4)
        chosen = {key: counts[keys == key] for key in dict.fromkeys(owners)}
        return {key: (len(each), dice(each.sum(0))) for key, each in chosen.items()}
