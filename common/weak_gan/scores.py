"""How well heatmaps find lesions (*Towards unbiased COVID-19 lesion localisation*, section 3, figures 2 to 4)."""

from __future__ import annotations

from itertools import zip_longest
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
ROWS = ("pooled pixels", "pooled pixels of slices with lesions", "mean over slices with lesions")
PAPERS = (0.1, 0.2, 0.3, 0.4)  # thresholds between which the paper's Dice is above 0.7
SCORES = ("pr_area", "dice_at_threshold", "best_dice", "best_threshold", *(f"dice_at_{each:g}" for each in PAPERS))


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
    pooled pixels of all slices; from those of the slices whose ground truth holds lesions, which are all that the
    paper tests on; and as means over these slices. Pixels are counted in 1001 bins, so that memory does not grow with
    the number of slices; thresholds are exact, areas to about 0.001.

    Writes ``scores.csv``, printed too; ``curve.csv``, by threshold; ``pr_curve.csv``, of the pooled pixels of all
    slices and of those with lesions, at most 200 points each; ``localisation.png``. A score that is not defined, such
    as any Dice without lesions, is blank. The evaluator's output or batch holds heatmaps ``pred`` in 0..1 and
    ``truth``, 0 and 1, (1, X, Y).

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
        self.counts = np.zeros((2, 2, len(EDGES)), np.int64)  # of all slices, and of those with lesions
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
            self.counts[0] += counts
            self.slices += 1
            if counts[1].any():
                self.counts[1] += counts
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
        curves = [rates(counts) for counts in self.counts]  # of all slices, and of those with lesions
        areas = [average_precision(precision, recall) for precision, recall, _ in curves]
        averaged = self.dice / self.with_lesions if self.with_lesions else np.full(len(EDGES), np.nan)
        areas.append(self.areas / self.with_lesions if self.with_lesions else float("nan"))
        dice = [*(pooled for _, _, pooled in curves), averaged]
        counted = (self.slices, self.with_lesions, self.with_lesions)
        rows: list[list[Any]] = [
            [name, *self.summary(area, each), slices]
            for name, area, each, slices in zip(ROWS, areas, dice, counted, strict=True)
        ]
        above = _bin_above(THRESHOLDS)
        columns = (*curves[0], dice[1], dice[2])
        by_threshold = [[t, *(column[k] for column in columns)] for t, k in zip(THRESHOLDS, above, strict=True)]
        points = [curve_points(precision, recall) for precision, recall, _ in curves]
        beside = [[*all_slices, *lesions] for all_slices, lesions in zip_longest(*points, fillvalue=(None, None))]
        pr_heading = ["precision", "recall", "precision_of_slices_with_lesions", "recall_of_slices_with_lesions"]
        for name, heading, content in (
            ("scores.csv", ["row", *SCORES, "slices"], rows),
            (
                "curve.csv",
                ["threshold", "precision", "recall", "dice_pooled", "dice_of_slices_with_lesions", "dice_slices"],
                by_threshold,
            ),
            ("pr_curve.csv", pr_heading, beside),
        ):
            write_csv(self.output_dir / name, heading, content, form=".6f")
        draw_localisation(
            self.output_dir / "localisation.png",
            dict(zip(ROWS[:2], points, strict=True)),
            areas[:2],
            THRESHOLDS,
            {name: each[above] for name, each in zip(ROWS, dice, strict=True)},
            self.threshold,
            f"Localisation of lesions in {self.slices} slices, {self.with_lesions} with lesions",
        )
        heading = ["", "PR area", f"Dice at {self.threshold:g}", "best Dice", "best at", "slices"]
        shown = ([*row[:4], cell_text(row[4], ".2f", "-"), row[-1]] for row in rows)
        files = ("scores.csv", "curve.csv", "pr_curve.csv", "localisation.png")
        print_table(aligned(heading, shown), self.output_dir, *files)

    def summary(self, area: float, dice: np.ndarray) -> list[float]:
        """``SCORES`` of an area and of Dice (1001,) by bin; the best Dice is that at one of ``THRESHOLDS``."""
        if np.isnan(area):
            return [float("nan")] * len(SCORES)
        tried = dice[_bin_above(THRESHOLDS)]
        at, *papers = (float(each) for each in dice[_bin_above([self.threshold, *PAPERS])])
        return [area, at, float(tried.max()), float(THRESHOLDS[tried.argmax()]), *papers]


def _bin_above(threshold: Any) -> Any:
    """The lowest bin that exceeds a threshold; of an array of thresholds, an array."""
    return np.rint(np.asarray(threshold) * STEPS).astype(int) + 1
