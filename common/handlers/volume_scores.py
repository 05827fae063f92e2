"""Dice of one class per volume (*Segmentation by transfer learning on MosMedData*, chapters 6 and 10)."""

from __future__ import annotations

import numpy as np
from ignite.engine import Engine

from ..tables import shown, write_csv
from .slice_scores import SCORES, CountTable, has_infection, slice_scores


class VolumeScores(CountTable):
    """Mean, maximum and minimum Dice: ``scores.csv``, printed too, ``scores_per_volume.csv``, ``scores_per_slice.csv``.

    A volume is the slices of one case, whose pixels are pooled before its Dice. A volume or a slice without infection
    scores 1 where nothing is predicted, and 0 where something is. The text states no rule, for all its volumes hold
    infection. Pooled pixels are those of all volumes as one. See ``CountTable`` for the arguments.
    """

    def write(self, engine: Engine) -> None:
        """Write the three tables and print the first."""
        pixels = self.pixels(engine)
        infected = has_infection(pixels)
        cases = np.array([case for case, _ in self.names])
        volumes = {case: pixels[cases == case] for case in dict.fromkeys(cases.tolist())}
        pooled = {case: counts.sum(0) for case, counts in volumes.items()}
        slices, whole = _dice(pixels), np.array(list(pooled.values()))
        dice = {
            "volumes": _dice(whole),
            "volumes with infection": _dice(whole[has_infection(whole)]),
            "slices": slices,
            "slices with infection": slices[infected],
            "pooled pixels": _dice(pixels.sum(0, keepdims=True)),
        }
        numbers = [len(values) for values in dice.values()]
        numbers[-1] = len(slices)
        rows = [
            (name, *((values.mean(), values.max(), values.min()) if len(values) else (np.nan,) * 3), number)
            for (name, values), number in zip(dice.items(), numbers, strict=True)
        ]
        write_csv(
            self.output_dir / "scores.csv",
            ["row", "mean", "maximum", "minimum", "count"],
            ([name, *("" if np.isnan(v) else f"{v:.6f}" for v in values), number] for name, *values, number in rows),
        )
        write_csv(
            self.output_dir / "scores_per_volume.csv",
            ["case", "dice", "slices", "slices_with_infection", "true_positive", "false_positive", "false_negative"],
            (
                [
                    case,
                    f"{value:.6f}",
                    len(counts),
                    int(has_infection(counts).sum()),
                    *map(int, pooled[case][[0, 1, 3]]),
                ]
                for (case, counts), value in zip(volumes.items(), dice["volumes"], strict=True)
            ),
        )
        self.write_slices(["dice"], slices[:, None], pixels)
        lines = [f"{'Dice':<23}{'mean':>9}{'maximum':>9}{'minimum':>9}{'count':>8}"]
        lines += [f"{row[0]:<23}" + "".join(f"{shown(v, '-'):>9}" for v in row[1:4]) + f"{row[4]:>8}" for row in rows]
        files = f"{self.output_dir}/scores.csv, scores_per_volume.csv, scores_per_slice.csv"
        print("\n" + "\n".join(lines) + f"\n\nTables: {files}")


def _dice(pixels: np.ndarray) -> np.ndarray:
    """F1 of counts (N, 4), which is the Dice, shape (N,)."""
    return slice_scores(pixels)[:, SCORES.index("f1")]
