"""How well heat finds lesions (*Towards unbiased COVID-19 lesion localisation*, section 3, figures 2 to 4)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.utils import convert_to_tensor

from ..handlers.slice_table import decollated
from ..run.distributed import gathered, is_main
from ..tables import write_csv
from .figures import localisation_picture

STEPS = 1000
EDGES = torch.arange(STEPS + 1) / STEPS  # bin k holds heat above (k - 1) / STEPS, up to k / STEPS; bin 0 heat of 0
THRESHOLDS = np.arange(1, 20) / 20
ROWS = ("pooled pixels", "mean over slices with lesions")
SCORES = ("pr_area", "dice_at_threshold", "best_dice", "best_threshold")


def heat_counts(heat: torch.Tensor, truth: torch.Tensor) -> np.ndarray:
    """Number of pixels by heat, in 1001 bins.

    Args:
        heat: any shape, in 0..1.
        truth: the same shape, 0 and 1.

    Returns:
        (2, 1001): pixels without lesion, pixels of lesions.
    """
    bins = torch.bucketize(heat.float().flatten(), EDGES.to(heat.device))
    lesion = (truth.flatten() > 0.5).long()
    return torch.bincount(bins + len(EDGES) * lesion, minlength=2 * len(EDGES)).reshape(2, -1).cpu().numpy()


def rates(counts: np.ndarray) -> np.ndarray:
    """Precision, recall and Dice where bin k and all hotter ones are taken for lesion.

    Args:
        counts: (2, 1001), see ``heat_counts``.

    Returns:
        (3, 1001). NaN is the precision where nothing is taken, and all recall and Dice where truth has no lesion.
    """
    extra, hit = counts[:, ::-1].cumsum(1)[:, ::-1].astype(float)
    with np.errstate(invalid="ignore"):
        recall = hit / hit[0]
        dice = np.where(np.isnan(recall), np.nan, 2 * hit / (extra + hit + hit[0]))
        return np.stack([hit / (extra + hit), recall, dice])


def average_precision(precision: np.ndarray, recall: np.ndarray) -> float:
    """Area below the curve of ``rates``, sum of (R_n - R_n-1) P_n as scikit-learn defines it; NaN without lesion.

    No line is drawn between points, which would promise precision that no threshold gives.
    """
    gained = np.diff(recall[::-1], prepend=0.0)
    return float(gained @ np.nan_to_num(precision[::-1]))


def spread(precision: np.ndarray, recall: np.ndarray, points: int = 200) -> np.ndarray:
    """At most so many points (points, 2) of the curve of ``rates``, from the hottest, evenly over recall.

    The first precision holds back to a recall of 0, as ``average_precision`` counts it.
    """
    known = np.isfinite(precision) & np.isfinite(recall)
    curve = np.stack([precision[known], recall[known]], axis=1)[::-1]
    if not len(curve):
        return curve
    chosen = np.unique(np.searchsorted(curve[:, 1], np.linspace(0, 1, points - 1)))
    return np.concatenate([[[curve[0, 0], 0.0]], curve[chosen]])


class LocalisationScores:
    """Precision and recall of heat, the area below their curve, and Dice by threshold.

    A pixel is taken for lesion where its heat exceeds the threshold. Area and Dice are those of all slices' pixels
    pooled, and averaged over the slices whose truth holds lesions. Pixels are counted in 1001 bins of heat, so that
    memory does not grow with the number of slices; thresholds are exact, areas to about 0.001.

    Writes ``scores.csv``, printed too; ``curve.csv``, by threshold; ``pr_curve.csv``, of the pooled pixels, at most
    200 points; ``localisation.png``. A score without meaning, such as any Dice without lesions, is blank.

    Args:
        output_dir: folder of the files.
        threshold: of ``dice_at_threshold``, in 0..1, by steps of 0.001; the text's is 0.4 (figure 2).

    Raises:
        ValueError: for another threshold.
    """

    def __init__(self, output_dir: str | Path, threshold: float = 0.4) -> None:
        if not 0 <= threshold < 1 or abs(threshold * STEPS - round(threshold * STEPS)) > 1e-6:
            raise ValueError(f"The threshold is in 0..1, below 1, by steps of {1 / STEPS}, got {threshold}.")
        self.output_dir, self.threshold = Path(output_dir), threshold
        self.clear()

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator whose output or batch holds heat ``pred`` in 0..1 and ``truth``, 0/1, (1, X, Y)."""
        engine.add_event_handler(Events.STARTED, lambda _: self.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.count)
        engine.add_event_handler(Events.COMPLETED, self.write)

    def clear(self) -> None:
        """Forget what an earlier evaluation left."""
        self.counts = np.zeros((2, len(EDGES)), np.int64)
        self.slices = self.with_lesions = 0
        self.areas, self.dice = 0.0, np.zeros(len(EDGES))  # sums over slices with lesions

    def count(self, engine: Engine) -> None:
        """Add the slices of a batch.

        Raises:
            ValueError: for heat that is not in 0..1, or truth of another shape.
        """
        output: Any = engine.state.output
        for sample, source in zip(output, decollated(engine), strict=True):
            heat, truth = (convert_to_tensor({**source, **sample}[key]) for key in ("pred", "truth"))
            where = f"{source['case']}, slice {int(source['slice'])}"
            if heat.shape != truth.shape:
                raise ValueError(f"{where}: heat and truth have one shape, got {heat.shape} and {truth.shape}.")
            low, high = float(heat.min()), float(heat.max())
            if not (low >= 0 and high <= 1):  # NaN too
                raise ValueError(f"{where}: heat lies in 0..1, got {low:g} to {high:g}. Clip it in postprocessing.")
            counts = heat_counts(heat, truth)
            self.counts += counts
            self.slices += 1
            if counts[1].any():
                precision, recall, dice = rates(counts)
                self.with_lesions += 1
                self.areas += average_precision(precision, recall)
                self.dice += dice

    def write(self, engine: Engine) -> None:
        """Write the tables and the picture of all processes' slices, print the scores."""
        parts = gathered([(self.counts, self.slices, self.with_lesions, self.areas, self.dice)])
        sums: list[Any] = [sum(values) for values in zip(*parts, strict=True)]
        self.counts, self.slices, self.with_lesions, self.areas, self.dice = sums
        if not is_main():
            return
        precision, recall, pooled = rates(self.counts)
        averaged = self.dice / self.with_lesions if self.with_lesions else np.full(len(EDGES), np.nan)
        area = self.areas / self.with_lesions if self.with_lesions else float("nan")
        rows: list[list[Any]] = [
            [ROWS[0], *self.summary(average_precision(precision, recall), pooled), self.slices],
            [ROWS[1], *self.summary(area, averaged), self.with_lesions],
        ]
        above = _above(THRESHOLDS)
        points, columns = spread(precision, recall), (precision, recall, pooled, averaged)
        by_threshold = [[t, *(column[k] for column in columns)] for t, k in zip(THRESHOLDS, above, strict=True)]
        for name, heading, content in (
            ("scores.csv", ["row", *SCORES, "slices"], rows),
            ("curve.csv", ["threshold", "precision", "recall", "dice_pooled", "dice_slices"], by_threshold),
            ("pr_curve.csv", ["precision", "recall"], points),
        ):
            write_csv(self.output_dir / name, heading, ([_cell(value) for value in row] for row in content))
        localisation_picture(
            self.output_dir / "localisation.png",
            points,
            rows[0][1],
            THRESHOLDS,
            {name: dice[above] for name, dice in zip(ROWS, (pooled, averaged), strict=True)},
            self.threshold,
            f"Localisation of lesions in {self.slices} slices, {self.with_lesions} with lesions",
        )
        headings = ("PR area", f"Dice at {self.threshold:g}", "best Dice", "best at")
        lines = [f"{'':<31}" + "".join(f"{name:>13}" for name in headings) + f"{'slices':>8}"]
        for name, *values, number in rows:
            shown = ("-" if np.isnan(value) else f"{value:.4f}" for value in values[:3])
            at = "-" if np.isnan(values[3]) else f"{values[3]:.2f}"
            lines.append(f"{name:<31}" + "".join(f"{cell:>13}" for cell in (*shown, at)) + f"{number:>8}")
        files = f"{self.output_dir}/scores.csv, curve.csv, pr_curve.csv, localisation.png"
        print("\n" + "\n".join(lines) + f"\n\nWritten: {files}")

    def summary(self, area: float, dice: np.ndarray) -> list[float]:
        """``SCORES`` of an area and of Dice (1001,) by bin; the best one is that of ``THRESHOLDS``."""
        if np.isnan(area):
            return [float("nan")] * len(SCORES)
        at, tried = float(dice[_above(self.threshold)]), dice[_above(THRESHOLDS)]
        return [area, at, float(tried.max()), float(THRESHOLDS[tried.argmax()])]


def _above(threshold: Any) -> Any:
    """Coolest bin that exceeds a threshold, or several."""
    return np.rint(np.asarray(threshold) * STEPS).astype(int) + 1


def _cell(value: Any) -> Any:
    """Of a table: numbers to six decimals, blank where there is none."""
    if not isinstance(value, float):
        return value
    return "" if np.isnan(value) else f"{value:.6f}"
