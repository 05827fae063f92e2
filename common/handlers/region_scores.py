"""Surface Dice, and detection of lesions as regions, beside the Dice of their pixels."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine
from monai.metrics import compute_dice, compute_surface_dice
from skimage.measure import label as labelled

from ..statistics import ABSENT, interval_over
from ..tables import aligned, print_table, write_csv
from .lesion_scores import LESIONS, lesion_groups, lesion_masks
from .slice_table import SliceTable, decollated

logger = logging.getLogger(__name__)

TOLERANCES = (1, 3)  # mm
SURFACE = tuple(f"nsd_{tolerance}mm" for tolerance in TOLERANCES)
DETECTION = ("lesion_precision", "lesion_recall", "lesion_f1")
FILES = ("region_scores.csv", "region_scores_per_slice.csv")


def detected(prediction: np.ndarray, truth: np.ndarray) -> tuple[int, int, int]:
    """Count regions: a true region is found if a predicted pixel lies in it, a predicted one false if it touches none.

    Regions are connected over eight neighbours. Overlap of any size is one of the criteria that Maier-Hein et al.,
    *Metrics reloaded*, Nature Methods 2024, list for localisation (mask IoU above 0).

    Args:
        prediction: bool (H, W).
        truth: bool, same shape.

    Returns:
        true regions that are found, predicted regions that are false, true regions that are missed.

    Example:
        >>> detected(np.array([[1, 1, 0, 1]]) > 0, np.array([[0, 1, 0, 0]]) > 0)
        (1, 1, 0)
    """
    true, predicted = (labelled(mask, connectivity=2) for mask in (truth, prediction))
    found, touching = len(np.unique(true[truth & prediction])), len(np.unique(predicted[truth & prediction]))
    return found, int(predicted.max(initial=0)) - touching, int(true.max(initial=0)) - found


def surface_dice(prediction: torch.Tensor, truth: torch.Tensor, pixel: Sequence[float]) -> list[float]:
    """Normalised surface Dice at each of ``TOLERANCES``: the share of both contours that lies that near to the other.

    Args:
        prediction: bool (H, W).
        truth: bool, same shape; not empty.
        pixel: its size in mm, along H and W; NaN gives NaN.
    """
    if not np.isfinite(pixel).all():
        return [float("nan")] * len(TOLERANCES)
    pred, true = (mask[None, None].expand(1, len(TOLERANCES), *mask.shape) for mask in (prediction, truth))
    with warnings.catch_warnings():  # of an empty prediction, which scores 0
        warnings.simplefilter("ignore")
        found = compute_surface_dice(pred, true, [float(each) for each in TOLERANCES], True, spacing=list(pixel))
    return found[0].tolist()


class RegionScores(SliceTable):
    """Dice, surface Dice and detection per lesion: ``region_scores.csv``, printed too, and a table per slice.

    Dice and surface Dice are means over the slices whose ground truth holds the class (``common.statistics.ABSENT``).
    Surface Dice needs the size of a pixel, and is blank where files do not state it; it is measured in the plane of the
    slice. Precision, recall and F1 of lesions are of the regions of all slices, see ``detected``: one false speck of a
    pixel counts as much as a large false lesion. ``region_scores.npz`` holds the sums behind the intervals.

    Args:
        output_dir: folder of the files.
        classes: names in channel order.
        lesions: the classes that are infection; those that the network lacks are left out.

    Raises:
        ValueError: if none of the lesions is a class.
    """

    def __init__(self, output_dir: str | Path, classes: Sequence[str], lesions: Sequence[str] = LESIONS) -> None:
        super().__init__(output_dir)
        self.groups = lesion_groups(classes, lesions)

    def remember(self, engine: Engine) -> None:
        """Score the slices of a batch: the output's ``pred`` and ``label``, 0 and 1, (classes, H, W)."""
        super().remember(engine)
        output: Any = engine.state.output
        for sample, source in zip(output, decollated(engine), strict=True):
            masks = [lesion_masks(torch.as_tensor(sample[key]).cpu(), self.groups) > 0.5 for key in ("pred", "label")]
            pixel = torch.as_tensor(source.get("pixel", [torch.nan] * 2)).tolist()
            self.values.append([_of_slice(pred, truth, pixel) for pred, truth in zip(*masks, strict=True)])

    def write(self, engine: Engine) -> None:
        """Write both tables and print the first."""
        values = np.array(self.values, float)  # (slices, groups, numbers)
        sums = self.sums()
        for index, name in enumerate(self.groups):
            for place, column in enumerate(("dice", *SURFACE)):
                sums.add(name, column, values[:, index, place])
            hit, false, missed = values[:, index, 3:6].T
            some = (hit + missed).any()  # a class that no slice holds has no score
            tiny = 1e-9 * (hit + missed)  # precision is 0 if nothing is predicted
            sums.add(name, "lesion_precision", hit, (hit + false + tiny) * some)
            sums.add(name, "lesion_recall", hit, hit + missed)
            sums.add(name, "lesion_f1", 2 * hit, (2 * hit + false + missed) * some)
        sums.save(self.output_dir / "region_scores.npz")
        found, rows = sums.estimates(), []
        scores = ("dice", *SURFACE, *DETECTION)
        for index, name in enumerate(self.groups):
            hit, false, missed = values[:, index, 3:6].astype(int).T
            absent, measured = hit + missed == 0, int(np.isfinite(values[:, index, 1]).sum())
            estimates = {column: found[name, column] for column in scores}
            counts = (int((~absent).sum()), measured, int(absent.sum()), int((absent & (false > 0)).sum()))
            lesions = int((hit + missed).sum())
            rows.append([name, *estimates.values(), lesions, *counts, interval_over(estimates, sums.word)])
        columns = ["lesions", "slices", "slices_with_spacing", "absent", "false_alarms", "interval_over"]
        write_csv(self.output_dir / FILES[0], ["class", *scores, *columns], rows)
        self.write_slices(values)
        heading = ["", "Dice", *(f"NSD {each} mm" for each in TOLERANCES), "precision", "recall", "F1"]
        text = aligned([*heading, *(column.replace("_", " ") for column in columns)], rows)
        note = "Precision, recall and F1 are of lesions: connected regions of a slice. NSD is the surface Dice. "
        print_table(text, self.output_dir, *FILES, note=note + ABSENT)
        if not np.isfinite(values[:, :, 1]).any():
            logger.info("The files do not state the size of a pixel, so there is no surface Dice.")

    def write_slices(self, values: np.ndarray) -> None:
        """Write the scores of each slice; lesions only where the ground truth holds some."""
        parts = []
        with np.errstate(invalid="ignore", divide="ignore"):
            for index in range(len(self.groups)):
                hit, false, missed = values[:, index, 3:6].T
                known = np.where(hit + missed > 0, 1.0, np.nan)
                precision = np.where(hit + false > 0, hit / (hit + false), 0)
                detection = np.stack([precision, hit / (hit + missed), 2 * hit / (2 * hit + false + missed)], 1)
                parts.append(np.concatenate([values[:, index, :3], detection * known[:, None]], 1))
        columns = [f"{score}_{name}" for name in self.groups for score in ("dice", *SURFACE, *DETECTION)]
        rows = self.named_rows(np.concatenate(parts, 1).tolist())
        write_csv(self.output_dir / FILES[1], ["case", "patient", "slice", *columns], rows)


def _of_slice(pred: torch.Tensor, truth: torch.Tensor, pixel: Sequence[float]) -> list[float]:
    """Dice, surface Dice and counts of regions of one class in a slice, bool (H, W)."""
    counts = detected(pred.numpy(), truth.numpy())
    if not truth.any():
        return [float("nan")] * (1 + len(TOLERANCES)) + [*map(float, counts)]
    dice = compute_dice(pred[None, None].float(), truth[None, None].float(), include_background=True)
    return [float(dice), *surface_dice(pred, truth, pixel), *map(float, counts)]
