"""How well heatmaps find lesions (*Towards unbiased COVID-19 lesion localisation*, section 3, figures 2 to 4)."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine
from monai.utils import convert_to_tensor

from ..handlers.slice_table import SliceTable, decollated
from ..run.distributed import gathered
from ..statistics import ABSENT, LEFT_OUT, Estimate, ScoreSums, bootstrap_estimates, interval_over
from ..tables import aligned, cell_text, print_table, write_csv
from .figures import draw_localisation

STEPS = 1000
EDGES = torch.arange(STEPS + 1) / STEPS  # bin k holds values above (k - 1) / STEPS, up to k / STEPS; bin 0 holds 0
AREA_RESAMPLES = 1999  # each is a curve of 1001 points
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
        counts: (..., 2, 1001), see ``heatmap_counts``.

    Returns:
        (3, ..., 1001). Precision is NaN where no pixel is taken as lesion; recall and Dice are NaN everywhere if the
        ground truth has no lesion.
    """
    extra, hit = np.moveaxis(counts[..., ::-1].cumsum(-1)[..., ::-1].astype(float), -2, 0)
    with np.errstate(invalid="ignore"):
        recall = hit / hit[..., :1]
        dice = np.where(np.isnan(recall), np.nan, 2 * hit / (extra + hit + hit[..., :1]))
        return np.stack([hit / (extra + hit), recall, dice])


def average_precision(precision: np.ndarray, recall: np.ndarray) -> Any:
    """Area below curves of ``rates`` (..., 1001): the sum of (R_n - R_n-1) P_n, as scikit-learn defines it.

    Points are not joined by lines because lines would promise a precision that no threshold gives.

    Returns:
        The area of each curve; NaN without lesion.
    """
    gained = np.diff(recall[..., ::-1], prepend=0.0, axis=-1)
    return (gained * np.nan_to_num(precision[..., ::-1])).sum(-1)


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


class LocalisationScores(SliceTable):
    """Precision and recall of heatmaps, the area below their curve, and Dice by threshold.

    A pixel is taken as lesion if its value in the heatmap exceeds the threshold. Area and Dice are computed from the
    pooled pixels of all slices; from those of the slices whose ground truth holds lesions, which are all that the
    paper tests on; and as means over these slices (``common.statistics.ABSENT``). Pixels are counted in 1001 bins per
    case, so that memory does not grow with the number of slices; thresholds are exact, areas to about 0.001.

    Writes ``scores.csv``, printed too, with 95 % intervals of all scores but the best Dice, whose threshold is chosen
    on the same pixels; ``scores.npz``, the sums behind them; ``scores_per_slice.csv``; ``curve.csv``, by threshold;
    ``pr_curve.csv``, of the pooled pixels of all slices and of those with lesions, at most 200 points each;
    ``localisation.png``. A score that is not defined, such as any Dice without lesions, is blank. The evaluator's
    output or batch holds heatmaps ``pred`` in 0..1 and ``truth``, 0 and 1, (1, X, Y).

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
        super().clear()
        # By case: pixels of all slices, and of those with lesions, (2, 2, 1001)
        self.counts: dict[str, np.ndarray] = {}
        self.dice = np.zeros(len(EDGES))  # sum over slices with lesions

    def remember(self, engine: Engine) -> None:
        """Count the pixels of a batch.

        Raises:
            ValueError: if a heatmap is not in 0..1, or the ground truth has another shape.
        """
        super().remember(engine)
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
            precision, recall, dice = rates(counts)
            held = self.counts.setdefault(str(source["case"]), np.zeros((2, 2, len(EDGES)), np.int64))
            held[0] += counts
            if counts[1].any():
                held[1] += counts
                self.dice += dice
            heated = counts[:, _bin_above(self.threshold) :].any()
            self.values.append([average_precision(precision, recall), *dice[self.bins], counts[1].any(), heated])

    def gather(self) -> None:
        """Add the counts of the other processes."""
        super().gather()
        parts = gathered([(self.counts, self.dice)])
        self.dice = np.sum([dice for _, dice in parts], axis=0)
        cases = dict.fromkeys(case for case, _ in self.names)
        nothing = np.zeros((2, 2, len(EDGES)), np.int64)
        self.counts = {case: sum((held.get(case, nothing) for held, _ in parts), nothing) for case in cases}

    def write(self, engine: Engine) -> None:
        """Write the tables and the figure, print the scores."""
        per_slice = np.array(self.values, float)
        infected, heated = per_slice[:, -2] > 0, per_slice[:, -1] > 0
        slices, with_lesions = len(infected), int(infected.sum())
        curves = rates(np.sum([*self.counts.values()], axis=0)).swapaxes(0, 1)  # (2, 3, 1001)
        averaged = self.dice / with_lesions if with_lesions else np.full(len(EDGES), np.nan)
        dice = [*curves[:, 2], averaged]
        found, word = self.estimates(per_slice)
        left_out = (int((~infected).sum()), int((~infected & heated).sum()), LEFT_OUT)
        rows: list[list[Any]] = []
        for name, each, counted, touched in zip(
            ROWS, dice, (slices, with_lesions, with_lesions), ((None, None, ""), left_out, left_out), strict=True
        ):
            estimates = {score: found[name, score] for score in SCORES if (name, score) in found}
            cells = [(estimates | best(each))[score] for score in SCORES]
            rows.append([name, *cells, counted, *touched, interval_over(estimates, word)])
        above = _bin_above(THRESHOLDS)
        columns = (*curves[0], dice[1], dice[2])
        by_threshold = [[t, *(column[k] for column in columns)] for t, k in zip(THRESHOLDS, above, strict=True)]
        points = [curve_points(precision, recall) for precision, recall, _ in curves]
        beside = [[*all_slices, *lesions] for all_slices, lesions in zip_longest(*points, fillvalue=(None, None))]
        pr_heading = ["precision", "recall", "precision_of_slices_with_lesions", "recall_of_slices_with_lesions"]
        counts = ["slices", "absent", "false_alarms", "absent_scores", "interval_over"]
        each_slice = self.named_rows(per_slice[:, :2].tolist())
        for name, heading, content in (
            ("scores.csv", ["row", *SCORES, *counts], rows),
            ("scores_per_slice.csv", ["case", "patient", "slice", *SCORES[:2]], each_slice),
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
            [found[name, SCORES[0]].value for name in ROWS[:2]],
            THRESHOLDS,
            {name: each[above] for name, each in zip(ROWS, dice, strict=True)},
            self.threshold,
            f"Localisation of lesions in {slices} slices, {with_lesions} with lesions",
        )
        heading = ["", "PR area", f"Dice at {self.threshold:g}", "best Dice", "best at", "slices", "absent", "alarms"]
        shown = ([*row[:4], cell_text(row[4], ".2f", "-"), *row[-5:-2], row[-1]] for row in rows)
        files = ("scores.csv", "scores_per_slice.csv", "curve.csv", "pr_curve.csv", "localisation.png")
        print_table(aligned([*heading, "interval over"], shown), self.output_dir, *files, note=ABSENT)

    @property
    def bins(self) -> np.ndarray:
        """Lowest bins that exceed the threshold and those of the paper."""
        return _bin_above([self.threshold, *PAPERS])

    def estimates(self, per_slice: np.ndarray) -> tuple[dict[tuple[str, str], Estimate], str]:
        """The scores but the best Dice, with their intervals, and what these are over; writes ``scores.npz``.

        Args:
            per_slice: (slices, numbers), as ``values`` holds them.
        """
        means = self.sums()
        patient_of = {case: patient for (case, _), patient in zip(self.names, self.patients, strict=True)}
        pooled = ScoreSums([patient_of[case] if all(self.patients) else case for case in self.counts], means.word)
        histograms = np.stack([*self.counts.values()])  # (cases, 2, 2, 1001)
        columns = (SCORES[1], *SCORES[4:])
        found: dict[tuple[str, str], Estimate] = {}
        for row, name in enumerate(ROWS[:2]):
            own = histograms[:, row]
            extra, hit = np.moveaxis(own[..., ::-1].cumsum(-1)[..., ::-1], 1, 0)  # each (cases, 1001)
            lesions = hit[:, 0]
            for column, k in zip(columns, self.bins, strict=True):
                pooled.add(name, column, 2 * hit[:, k], (extra[:, k] + hit[:, k] + lesions) * lesions.any())
            of_patients = np.zeros((len(pooled.names), *own.shape[1:]))
            np.add.at(of_patients, pooled.places, own)
            (found[name, SCORES[0]],) = bootstrap_estimates(
                of_patients, lambda sums: average_precision(*rates(sums)[:2])[:, None], AREA_RESAMPLES
            )
        for number, column in enumerate((SCORES[0], *columns)):
            means.add(ROWS[2], column, per_slice[:, number])
        pooled.cells |= means.cells  # both have the same owners
        pooled.save(self.output_dir / "scores.npz")
        return found | pooled.estimates(), pooled.word


def best(dice: np.ndarray) -> dict[str, float]:
    """The best Dice (1001,) at one of ``THRESHOLDS``, and that threshold; NaN without lesions."""
    tried = dice[_bin_above(THRESHOLDS)]
    if np.isnan(tried).any():
        return {"best_dice": float("nan"), "best_threshold": float("nan")}
    return {"best_dice": float(tried.max()), "best_threshold": float(THRESHOLDS[tried.argmax()])}


def _bin_above(threshold: Any) -> Any:
    """The lowest bin that exceeds a threshold; of an array of thresholds, an array."""
    return np.rint(np.asarray(threshold) * STEPS).astype(int) + 1
