"""Dice of one class per volume (*Segmentation by transfer learning on MosMedData*, chapters 6 and 10)."""

from __future__ import annotations

import numpy as np
from ignite.engine import Engine

from ..tables import aligned, print_table, write_csv
from .slice_scores import CountTable, dice, has_infection


class VolumeScores(CountTable):
    """Mean, maximum and minimum Dice: ``scores.csv``, printed too, ``scores_per_volume.csv``, ``scores_per_slice.csv``.

    A volume is the slices of one case; their pixels are pooled before its Dice is computed. A volume or a slice
    without infection scores 1 if nothing is predicted, and 0 if something is. The paper states no rule because all its
    volumes hold infection. In the row ``pooled pixels``, all volumes count as one. See ``CountTable`` for the
    arguments.
    """

    def write(self, engine: Engine) -> None:
        """Write the three tables and print the first."""
        pixels = self.pixels(engine)
        cases = np.array([case for case, _ in self.names])
        volumes = {case: pixels[cases == case] for case in dict.fromkeys(cases.tolist())}
        whole = np.array([counts.sum(0) for counts in volumes.values()])  # (volumes, 4)
        slices = dice(pixels)
        scores = {
            "volumes": dice(whole),
            "volumes with infection": dice(whole[has_infection(whole)]),
            "slices": slices,
            "slices with infection": slices[has_infection(pixels)],
            "pooled pixels": dice(pixels.sum(0, keepdims=True)),
        }
        numbers = {name: len(values) for name, values in scores.items()} | {"pooled pixels": len(slices)}
        rows = [[name, *_mean_maximum_minimum(values), numbers[name]] for name, values in scores.items()]
        write_csv(self.output_dir / "scores.csv", ["row", "mean", "maximum", "minimum", "count"], rows, form=".6f")
        self.write_volumes(volumes)
        self.write_slices(["dice"], slices[:, None], pixels)
        text = aligned(["Dice", "mean", "maximum", "minimum", "count"], rows)
        print_table(text, self.output_dir, "scores.csv", "scores_per_volume.csv", "scores_per_slice.csv")

    def write_volumes(self, volumes: dict[str, np.ndarray]) -> None:
        """Write ``scores_per_volume.csv`` from the counts (slices, 4) of each volume."""
        rows = []
        for case, counts in volumes.items():
            pooled = counts.sum(0, keepdims=True)
            hit, extra, _, missed = map(int, pooled[0])
            rows.append([case, dice(pooled)[0], len(counts), int(has_infection(counts).sum()), hit, extra, missed])
        write_csv(
            self.output_dir / "scores_per_volume.csv",
            ["case", "dice", "slices", "slices_with_infection", "true_positive", "false_positive", "false_negative"],
            rows,
            form=".6f",
        )


def _mean_maximum_minimum(values: np.ndarray) -> list[float]:
    """Of scores (N,); NaN if there are none."""
    return [values.mean(), values.max(), values.min()] if len(values) else [float("nan")] * 3
