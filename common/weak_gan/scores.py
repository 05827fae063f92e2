"""How well heatmaps find lesions (*Towards unbiased COVID-19 lesion localisation*, section 3, figures 2 to 4)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine
from monai.utils import convert_to_tensor

from ..handlers.score_table import ScoreTable
from ..handlers.slice_table import decollated
from ..run.distributed import gathered
from ..tables import aligned, cell_text, print_table, write_csv
from .figures import draw_localisation

STEPS = 1000
EDGES = torch.arange(STEPS + 1) / STEPS  # bin k holds values above (k - 1) / STEPS, up to k / STEPS; bin 0 holds 0
THRESHOLDS = np.arange(1, 20) / 20
ROWS = ("pooled pixels", "mean over slices with lesions")
SCORES = ("pr_area", "dice_at_threshold", "best_dice", "best_threshold")


def heatmap_counts(heatmap: torch.Tensor, truth: torch.Tensor) -> np.ndarray:
    """Number of pixels by their value in a heatmap, in 1001 bins.

    Args:
        heatmap: any shape, in 0..1.
        truth: the ground truth, same shape, 0 and 1.

    Returns:
        (2, 1001): pixels without lesion, pixels of lesions.

    Example:
        >>> counts = heatmap_counts(torch.tensor([0.0, 0.2, 0.9]), torch.tensor([0, 0, 1]))
        >>> counts[0, [0, 200]], counts[1, 900]
        (array([1, 1]), 1)
        >>> precision, recall, dice = rates(counts)
        >>> average_precision(precision, recall)
        1.0
    """
    bins = torch.bucketize(heatmap.float().flatten(), EDGES.to(heatmap.device))
    lesion = (truth.flatten() > 0.5).long()
    return torch.bincount(bins + len(EDGES) * lesion, minlength=2 * len(EDGES)).reshape(2, -1).cpu().numpy()


def rates(counts: np.ndarray) -> np.ndarray:
    """Precision, recall and Dice if bin k and all bins above it are taken as lesion.

    Args:
        counts: (2, 1001), see ``heatmap_counts``.

    Returns:
        (3, 1001). Precision is NaN where no pixel is taken as lesion; recall and Dice are NaN everywhere if the ground
        truth has no lesion.
    """
    extra, hit = counts[:, ::-1].cumsum(1)[:, ::-1].astype(float)
    with np.errstate(invalid="ignore"):
        recall = hit / hit[0]
        dice = np.where(np.isnan(recall), np.nan, 2 * hit / (extra + hit + hit[0]))
        return np.stack([hit / (extra + hit), recall, dice])


def average_precision(precision: np.ndarray, recall: np.ndarray) -> float:
    """Area below the curve of ``rates``: the sum of (R_n - R_n-1) P_n, as scikit-learn defines it; NaN without lesion.

    Points are not joined by lines because lines would promise a precision that no threshold gives.
    """
    gained = np.diff(recall[::-1], prepend=0.0)
    return float(gained @ np.nan_to_num(precision[::-1]))


def curve_points(precision: np.ndarray, recall: np.ndarray, most: int = 200) -> np.ndarray:
    """Points of the curve of ``rates``, from the highest threshold, evenly spread over recall.

    The first precision is also that at a recall of 0, as ``average_precision`` counts it.

    Args:
        precision: from ``rates``.
        recall: from ``rates``.
        most: maximum number of points.

    Returns:
        (points, 2): precision and recall.
    """
    known = np.isfinite(precision) & np.isfinite(recall)
    curve = np.stack([precision[known], recall[known]], axis=1)[::-1]
    if not len(curve):
        return curve
    chosen = np.unique(np.searchsorted(curve[:, 1], np.linspace(0, 1, most - 1)))
    return np.concatenate([[[curve[0, 0], 0.0]], curve[chosen]])


class LocalisationScores(ScoreTable):
    """Precision and recall of heatmaps, the area below their curve, and Dice by threshold.

    A pixel is taken as lesion if its value in the heatmap exceeds the threshold. Area and Dice are computed from the
    pooled pixels of all slices, and as means over the slices whose ground truth holds lesions. Pixels are counted in
    1001 bins, so that memory does not grow with the number of slices; thresholds are exact, areas to about 0.001.

    Writes ``scores.csv``, printed too; ``curve.csv``, by threshold; ``pr_curve.csv``, of the pooled pixels, at most
    200 points; ``localisation.png``. A score that is not defined, such as any Dice without lesions, is blank. The
    evaluator's output or batch holds heatmaps ``pred`` in 0..1 and ``truth``, 0 and 1, (1, X, Y).

    Args:
        output_dir: folder of the files.
        threshold: of ``dice_at_threshold``, in 0..1, in steps of 0.001; the paper's is 0.4 (figure 2).

    Raises:
        ValueError: for a threshold out of range or between two steps.
    """

    def __init__(self, output_dir: str | Path, threshold: float = 0.4) -> None:
        super().__init__(output_dir)
        if not 0 <= threshold < 1 or abs(threshold * STEPS - round(threshold * STEPS)) > 1e-6:
            raise ValueError(f"The threshold must be in 0..1, below 1, in steps of {1 / STEPS}, got {threshold}.")
        self.threshold = threshold
        self.clear()

    def clear(self) -> None:
        """Forget the slices of an earlier evaluation."""
        self.counts = np.zeros((2, len(EDGES)), np.int64)
        self.slices = self.with_lesions = 0
        self.areas, self.dice = 0.0, np.zeros(len(EDGES))  # sums over slices with lesions

    def remember(self, engine: Engine) -> None:
        """Count the pixels of a batch.

        Raises:
            ValueError: if a heatmap is not in 0..1, or the ground truth has another shape.
        """
        output: Any = engine.state.output
        for sample, source in zip(output, decollated(engine), strict=True):
            heatmap, truth = (convert_to_tensor({**source, **sample}[key]) for key in ("pred", "truth"))
            where = f"{source['case']}, slice {int(source['slice'])}"
            if heatmap.shape != truth.shape:
                shapes = f"{tuple(heatmap.shape)} and {tuple(truth.shape)}"
                raise ValueError(f"{where}: heatmap and ground truth must have one shape, got {shapes}.")
            low, high = float(heatmap.min()), float(heatmap.max())
            if not (low >= 0 and high <= 1):  # NaN too
                raise ValueError(
                    f"{where}: a heatmap must be in 0..1, got {low:g} to {high:g}. Clip it in postprocessing."
                )
            counts = heatmap_counts(heatmap, truth)
            self.counts += counts
            self.slices += 1
            if counts[1].any():
                precision, recall, dice = rates(counts)
                self.with_lesions += 1
                self.areas += average_precision(precision, recall)
                self.dice += dice

    def gather(self) -> None:
        """Add the counts of the other processes."""
        parts = gathered([(self.counts, self.slices, self.with_lesions, self.areas, self.dice)])
        sums: list[Any] = [sum(values) for values in zip(*parts, strict=True)]
        self.counts, self.slices, self.with_lesions, self.areas, self.dice = sums

    def write(self, engine: Engine) -> None:
        """Write the tables and the figure, print the scores."""
        precision, recall, pooled = rates(self.counts)
        averaged = self.dice / self.with_lesions if self.with_lesions else np.full(len(EDGES), np.nan)
        area = self.areas / self.with_lesions if self.with_lesions else float("nan")
        rows: list[list[Any]] = [
            [ROWS[0], *self.summary(average_precision(precision, recall), pooled), self.slices],
            [ROWS[1], *self.summary(area, averaged), self.with_lesions],
        ]
        above = _bin_above(THRESHOLDS)
        points, columns = curve_points(precision, recall), (precision, recall, pooled, averaged)
        by_threshold = [[t, *(column[k] for column in columns)] for t, k in zip(THRESHOLDS, above, strict=True)]
        for name, heading, content in (
            ("scores.csv", ["row", *SCORES, "slices"], rows),
            ("curve.csv", ["threshold", "precision", "recall", "dice_pooled", "dice_slices"], by_threshold),
            ("pr_curve.csv", ["precision", "recall"], points),
        ):
            write_csv(self.output_dir / name, heading, content, form=".6f")
        draw_localisation(
            self.output_dir / "localisation.png",
            points,
            rows[0][1],
            THRESHOLDS,
            {name: dice[above] for name, dice in zip(ROWS, (pooled, averaged), strict=True)},
            self.threshold,
            f"Localisation of lesions in {self.slices} slices, {self.with_lesions} with lesions",
        )
        heading = ["", "PR area", f"Dice at {self.threshold:g}", "best Dice", "best at", "slices"]
        shown = ([*scores, cell_text(best_at, ".2f", "-"), slices] for *scores, best_at, slices in rows)
        files = ("scores.csv", "curve.csv", "pr_curve.csv", "localisation.png")
        print_table(aligned(heading, shown), self.output_dir, *files)

    def summary(self, area: float, dice: np.ndarray) -> list[float]:
        """``SCORES`` of an area and of Dice (1001,) by bin; the best Dice is that at one of ``THRESHOLDS``."""
        if np.isnan(area):
            return [float("nan")] * len(SCORES)
        at, tried = float(dice[_bin_above(self.threshold)]), dice[_bin_above(THRESHOLDS)]
        return [area, at, float(tried.max()), float(THRESHOLDS[tried.argmax()])]


def _bin_above(threshold: Any) -> Any:
    """The lowest bin that exceeds a threshold; of an array of thresholds, an array."""
    return np.rint(np.asarray(threshold) * STEPS).astype(int) + 1
