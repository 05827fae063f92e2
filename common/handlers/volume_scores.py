"""Dice of one class per volume (*Segmentation by transfer learning on MosMedData*, chapters 6 and 10)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ignite.engine import Engine

from ..statistics import ABSENT, interval_over
from ..tables import aligned, print_table, write_csv
from .score_table import sums_over
from .slice_scores import SCORES, CountTable, dice, false_alarms, has_infection, pooled_parts


class VolumeScores(CountTable):
    """Mean, maximum and minimum Dice: ``scores.csv``, printed too, ``scores_per_volume.csv``, ``scores_per_slice.csv``.

    A volume is the slices of one case; their pixels are pooled before its Dice is computed. Volumes and slices without
    infection have no score and are counted (``common.statistics.ABSENT``); all volumes of the paper hold infection. In
    the row ``pooled pixels``, all volumes count as one. Each mean has its 95 % interval; ``scores.npz`` holds the sums
    behind it. See ``CountTable`` for the arguments.
    """

    def write(self, engine: Engine) -> None:
        """Write the three tables and print the first."""
        pixels = self.pixels(engine)
        cases = np.array([case for case, _ in self.names])
        patient_of = dict(zip(cases.tolist(), self.patients, strict=True))
        volumes = {case: pixels[cases == case] for case in patient_of}
        whole = np.array([counts.sum(0) for counts in volumes.values()])  # (volumes, 4)
        by_volume = sums_over([*patient_of], [*patient_of.values()], single="volumes")
        by_slice = sums_over(cases.tolist(), self.patients, single="volumes")
        by_volume.add("volumes", "mean", dice(whole))
        by_slice.add("slices", "mean", dice(pixels))
        by_slice.add("pooled pixels", "mean", *pooled_parts(pixels)[SCORES.index("f1")])
        by_slice.cells |= by_volume.cells  # both have the same owners
        by_slice.save(self.output_dir / "scores.npz")
        found = by_slice.estimates()
        rows = []
        for name, counts in {"volumes": whole, "slices": pixels}.items():
            scores, estimate = dice(counts), found[name, "mean"]
            known = scores[np.isfinite(scores)]
            extremes = (known.max(), known.min()) if len(known) else (None, None)
            touched = (len(known), len(counts) - len(known), false_alarms(counts))
            rows.append([name, estimate, *extremes, *touched, interval_over({"mean": estimate}, by_slice.word)])
        pooled = found["pooled pixels", "mean"]
        over = interval_over({"mean": pooled}, by_slice.word)
        rows.append(["pooled pixels", pooled, *[None] * 2, len(pixels), None, None, over])
        columns = ["mean", "maximum", "minimum", "count", "absent", "false_alarms", "interval_over"]
        write_csv(self.output_dir / "scores.csv", ["row", *columns], rows, form=".6f")
        self.write_volumes(volumes, patient_of)
        self.write_slices(["dice"], dice(pixels)[:, None], pixels)
        text = aligned(["Dice", *(column.replace("_", " ") for column in columns)], rows)
        print_table(text, self.output_dir, "scores.csv", "scores_per_volume.csv", "scores_per_slice.csv", note=ABSENT)

    def write_volumes(self, volumes: Mapping[str, np.ndarray], patient_of: Mapping[str, str]) -> None:
        """Write ``scores_per_volume.csv`` from the counts (slices, 4) and the patient of each volume."""
        rows = []
        for case, counts in volumes.items():
            whole = counts.sum(0)
            hit, extra, _, missed = map(int, whole)
            numbers = (len(counts), int(has_infection(counts).sum()), hit, extra, missed)
            rows.append([case, patient_of[case], float(dice(whole)), *numbers])
        pixels = ["true_positive", "false_positive", "false_negative"]
        columns = ["case", "patient", "dice", "slices", "slices_with_infection", *pixels]
        write_csv(self.output_dir / "scores_per_volume.csv", columns, rows, form=".6f")
