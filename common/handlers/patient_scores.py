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

from ..statistics import ABSENT, ScoreSums, interval_over
from ..tables import aligned, print_table, write_csv
from .lesion_scores import LESIONS, lesion_groups, lesion_masks
from .slice_scores import dice, has_infection
from .slice_table import SliceTable

logger = logging.getLogger(__name__)

FILES = ("patient_scores.csv", "scores_per_patient.csv", "scores_per_volume.csv")
SUMS = "patient_scores.npz"


class PatientScores(SliceTable):
    """Dice of each kind of lesion and of infection: ``patient_scores.csv``, printed too, and one table per unit.

    The pixels of a volume, and of all volumes of a patient, are pooled before their Dice is computed. A patient whose
    ground truth lacks a class has no score for it (``common.statistics.ABSENT``). ``patient_scores.csv`` holds means
    over patients with their 95 % interval, because slices and volumes of one patient are alike.
    ``scores_per_patient.csv`` and ``scores_per_volume.csv`` hold the single scores. Without patients, or if volumes
    were split into slices, none of the three is written, and the log says so.

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
        lesions: Sequence[str] = LESIONS,
    ) -> None:
        super().__init__(output_dir)
        self.groups = lesion_groups(classes, lesions)
        self.patient_of, self.scored = dict(patients), scored

    def remember(self, engine: Engine) -> None:
        """Count the pixels of the slices of a batch: the output's ``pred`` and ``label``, one-hot (classes, H, W)."""
        super().remember(engine)
        output: Any = engine.state.output
        for sample in output:
            predicted, true = (lesion_masks(sample[key], self.groups) > 0.5 for key in ("pred", "label"))
            masks = (predicted & true, predicted & ~true, ~predicted & ~true, ~predicted & true)
            self.values.append(torch.stack([mask.sum((1, 2)) for mask in masks], -1).tolist())  # (groups, 4)

    def write(self, engine: Engine) -> None:
        """Write the three tables and print the first."""
        if not self.patient_of:
            for name in (*FILES, SUMS):
                (self.output_dir / name).unlink(missing_ok=True)  # of an earlier evaluation
            logger.info("No patients are named, or volumes were split: no scores per patient, no intervals.")
            return
        names = [*self.groups]
        columns = ["slices", *(f"dice_{name}" for name in names)]
        cases = [case for case, _ in self.names]
        owners = [self.patient_of[case] for case in cases]
        patients, volumes = self.pooled(owners), self.pooled(cases)
        owned = Counter(self.patient_of[case] for case in volumes)
        rows = [[patient, owned[patient], slices, *scores] for patient, (slices, scores, _) in patients.items()]
        write_csv(self.output_dir / FILES[1], ["patient", "volumes", *columns], rows)
        rows = [[case, self.patient_of[case], slices, *scores] for case, (slices, scores, _) in volumes.items()]
        write_csv(self.output_dir / FILES[2], ["case", "patient", *columns], rows)
        sums = ScoreSums([*patients], "patients")
        scores = np.array([each for _, each, _ in patients.values()])  # (patients, groups)
        alarms = np.array([each for *_, each in patients.values()])
        for index, name in enumerate(names):
            sums.add(name, "dice", scores[:, index])
        sums.save(self.output_dir / SUMS)
        found = sums.estimates()
        table = []
        for index, name in enumerate(names):
            estimate, absent = found[name, "dice"], int(np.isnan(scores[:, index]).sum())
            sizes = [estimate.units, absent, int(alarms[:, index].sum()), len(volumes)]
            table.append([name, estimate, *sizes, interval_over({"dice": estimate}, sums.word), self.scored])
        columns = ["patients", "absent", "false_alarms", "volumes", "interval_over", "set"]
        write_csv(self.output_dir / FILES[0], ["class", "dice", *columns], table)
        text = aligned(["mean over patients", "Dice", *(column.replace("_", " ") for column in columns)], table)
        print_table(text, self.output_dir, *FILES, note=ABSENT)

    def pooled(self, owners: Sequence[str]) -> dict[str, tuple[int, np.ndarray, np.ndarray]]:
        """Number of slices, and Dice and false alarms of each lesion over all of their pixels, by owner."""
        counts, keys = np.array(self.values), np.array(owners)  # (slices, groups, 4)
        found = {}
        for key in dict.fromkeys(owners):
            sums = counts[keys == key].sum(0)  # (groups, 4)
            alarms = ~has_infection(sums) & (sums[:, 1] > 0)
            found[key] = (int((keys == key).sum()), dice(sums), alarms)
        return found
