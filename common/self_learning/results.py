"""Results of self-learning: scores of the labels of every level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from monai.metrics import compute_dice, compute_iou, get_confusion_matrix

from ..statistics import ABSENT, Estimate, ScoreSums, interval_over
from ..tables import BOUNDS, aligned, read_csv, write_csv

SCORES = ("dice", "iou", "f1", "precision", "recall")
COUNTS = ("slices", "absent", "false_alarms")


def slice_values(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    """What the scores of lesion masks are computed from, of each slice.

    Args:
        pairs: prediction and ground truth of each volume, bool (X, Y, Z).

    Returns:
        ``dice`` and ``iou``, (slices,), NaN where the ground truth holds no lesion; ``counts`` (slices, 4): true
        positive, false positive, true negative and false negative pixels.
    """
    dice, iou, counts = [], [], []
    for pair in pairs:
        pred, truth = (torch.from_numpy(mask).movedim(-1, 0)[:, None].float() for mask in pair)  # (Z, 1, X, Y)
        dice.append(compute_dice(pred, truth, include_background=True, ignore_empty=True))
        iou.append(compute_iou(pred, truth, include_background=True, ignore_empty=True))
        counts.append(get_confusion_matrix(pred, truth, include_background=True))
    return {
        "dice": torch.cat(dice)[:, 0].double().numpy(),
        "iou": torch.cat(iou)[:, 0].double().numpy(),
        "counts": torch.cat(counts)[:, 0].double().numpy(),
    }


def add_scores(sums: ScoreSums, row: str, values: Mapping[str, np.ndarray], chosen: np.ndarray) -> dict[str, int]:
    """Add ``SCORES`` of the chosen slices: Dice and IoU are means over slices, the others are of all pixels pooled.

    Args:
        sums: the table, of all slices.
        row: name of the row.
        values: from ``slice_values``.
        chosen: bool (slices,).

    Returns:
        ``COUNTS`` of the row.
    """
    hit, extra, _, missed = (values["counts"] * chosen[:, None]).T
    for name in ("dice", "iou"):
        sums.add(row, name, np.where(chosen, values[name], np.nan))
    for name, parts in {
        "f1": (2 * hit, 2 * hit + extra + missed),
        "precision": (hit, hit + extra),
        "recall": (hit, hit + missed),
    }.items():
        sums.add(row, name, *parts)
    absent = chosen & (hit + missed == 0)
    return {
        "slices": int(chosen.sum()),
        "absent": int(absent.sum()),
        "false_alarms": int((absent & (extra > 0)).sum()),
    }


def write_scores(output_dir: Path, labels: Mapping[str, Path], sets: Mapping[str, Sequence[str]]) -> str:
    """Score the labels of each stage against the ground truth: ``scores.csv``, with 95 % intervals over volumes.

    The table has one row per stage and set, such as ``level 1, held out``. ``scores.npz`` holds the sums behind the
    intervals.

    Args:
        output_dir: receives the table; its folder ``truth`` holds the ground truth, if any.
        labels: folders in the Radiopaedia layout, by stage.
        sets: names of cases, by set.

    Returns:
        The table as text, or the remark that there is no ground truth.
    """
    truths = {path.name.removesuffix(".nii.gz"): path for path in (output_dir / "truth").glob("*.nii.gz")}
    if not truths:
        return "No truth was given, so there are no scores. Give the folder of the true masks with --lesion_masks."
    set_of = {case: name for name, cases in sets.items() for case in cases if case in truths}
    masks = {case: read_array(truths[case]) > 0 for case in set_of}
    owners = np.repeat([*masks], [mask.shape[-1] for mask in masks.values()])
    set_names = np.array([set_of[case] for case in owners])
    sums, counts = ScoreSums(owners.tolist(), "volumes"), {}
    for stage, folder in labels.items():
        pairs = [(read_array(folder / "rp_msk" / f"{case}.nii.gz") > 0, mask) for case, mask in masks.items()]
        values = slice_values(pairs)
        for name in dict.fromkeys(set_of.values()):
            counts[f"{stage}, {name}"] = add_scores(sums, f"{stage}, {name}", values, set_names == name)
    sums.save(output_dir / "scores.npz")
    found, rows = sums.estimates(), []
    for row, numbers in counts.items():
        scores = {name: found[row, name] for name in SCORES}
        rows.append([row, *scores.values(), *numbers.values(), interval_over(scores, sums.word)])
    columns = [*SCORES, *COUNTS, "interval_over"]
    write_csv(output_dir / "scores.csv", ["row", *columns], rows)
    note = "The ground truth is all infection: ground-glass and consolidation together."
    return "\n".join([aligned(["ground-glass against ground truth", *columns], rows), note, ABSENT])


def write_agreement(output_dir: Path, levels: Mapping[str, Path]) -> str:
    """Collect the scores of each level on held-out volumes, against labels of the level before: ``agreement.csv``.

    Scores are means over the classes, from ``scores.csv`` in each level's folder. They show how well a level copies the
    labels that it was given, which may be wrong, and not how well it segments.

    Args:
        output_dir: receives the table.
        levels: folders with ``scores.csv``, by level.

    Returns:
        The table as text.
    """
    scores, rows = ("dice", "iou", "f1"), []
    for name, folder in levels.items():
        mean = next(row for row in read_csv(folder / "scores.csv") if row["class"] == "mean")
        numbers = ((float(mean.get(f"{score}{end}") or "nan") for end in ("", *BOUNDS)) for score in scores)
        estimates = (Estimate(value, low, high) for value, low, high in numbers)
        rows.append([name, *estimates, mean["slices"], mean["interval_over"]])
    columns = [*scores, "slices", "interval_over"]
    write_csv(output_dir / "agreement.csv", ["level", *columns], rows)
    note = "Held-out slices, mean of the classes: how well a level copies the labels before it."
    return "\n".join([aligned(["against labels of the level before", *columns], rows), note])


def read_array(path: Path) -> np.ndarray:
    """Values of a NIfTI file in the order of the file, which is LPS for all files that self-learning writes."""
    image: Any = nibabel.load(path)
    return np.asarray(image.dataobj)
