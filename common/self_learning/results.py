"""Results of self-learning: scores of the labels of every level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from monai.metrics import compute_confusion_matrix_metric, compute_dice, compute_iou, get_confusion_matrix

from ..tables import aligned, column_means, read_csv, write_csv

COLUMNS = ("dice", "iou", "f1", "precision", "recall", "slices", "with_lesion")


def lesion_scores(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """Scores of lesion masks against the ground truth.

    Args:
        pairs: prediction and ground truth of each volume, bool (X, Y, Z).

    Returns:
        ``dice`` and ``iou``: means over the slices whose ground truth holds lesion. ``f1``, ``precision`` and
        ``recall``: of the pixels of all slices pooled. ``slices`` and ``with_lesion``: how many slices there are, and
        how many hold lesion. NaN for a score that is not defined.
    """
    dice, iou, counts = [], [], []
    for pair in pairs:
        pred, truth = (torch.from_numpy(mask).movedim(-1, 0)[:, None].float() for mask in pair)  # (Z, 1, X, Y)
        dice.append(compute_dice(pred, truth, include_background=True, ignore_empty=True))
        iou.append(compute_iou(pred, truth, include_background=True, ignore_empty=True))
        counts.append(get_confusion_matrix(pred, truth, include_background=True))
    (mean_dice,), (mean_iou,) = (column_means(torch.cat(each).numpy()) for each in (dice, iou))
    pooled = torch.cat(counts).double().sum(0)  # (1, 4)
    names = {"f1": "f1 score", "precision": "precision", "recall": "sensitivity"}
    rest = {key: float(compute_confusion_matrix_metric(name, pooled)) for key, name in names.items()}
    with_lesion = int(torch.cat(dice).isfinite().sum())
    return {"dice": mean_dice, "iou": mean_iou, **rest, "slices": len(torch.cat(dice)), "with_lesion": with_lesion}


def write_scores(output_dir: Path, labels: Mapping[str, Path], sets: Mapping[str, Sequence[str]]) -> str:
    """Score the labels of each stage against the ground truth: ``scores.csv``.

    The table has one row per stage and set, such as ``level 1, held out``.

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
    rows: list[list[Any]] = []
    for stage, folder in labels.items():
        for name, cases in sets.items():
            known = [case for case in cases if case in truths]
            pairs = [
                (read_array(folder / "rp_msk" / f"{case}.nii.gz") > 0, read_array(truths[case]) > 0) for case in known
            ]
            if pairs:
                scores = lesion_scores(pairs)
                rows.append([f"{stage}, {name}", *(scores[column] for column in COLUMNS)])
    write_csv(output_dir / "scores.csv", ["row", *COLUMNS], rows)
    note = "The ground truth is all infection: ground-glass and consolidation together."
    return "\n".join([aligned(["ground-glass against ground truth", *COLUMNS], rows), note])


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
    columns = ("dice", "iou", "f1", "slices")
    rows = []
    for name, folder in levels.items():
        mean = next(row for row in read_csv(folder / "scores.csv") if row["class"] == "mean")
        rows.append([name, *(mean[column] for column in columns)])
    write_csv(output_dir / "agreement.csv", ["level", *columns], rows)
    note = "Held-out slices, mean of the classes: how well a level copies the labels before it."
    return "\n".join([aligned(["against labels of the level before", *columns], rows), note])


def read_array(path: Path) -> np.ndarray:
    """Values of a NIfTI file in the order of the file, which is LPS for all files that self-learning writes."""
    image: Any = nibabel.load(path)
    return np.asarray(image.dataobj)
