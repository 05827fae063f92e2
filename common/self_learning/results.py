"""What self-learning came to: scores of every level's labels."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from monai.metrics import compute_confusion_matrix_metric, compute_dice, compute_iou, get_confusion_matrix

from ..tables import column_means, shown, write_csv

SCORES = ("dice", "iou", "f1", "precision", "recall")


def lesion_scores(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """Scores of lesion masks against the truth.

    Args:
        pairs: prediction and truth of each volume, bool (X, Y, Z).

    Returns:
        ``dice`` and ``iou``, means over the slices whose truth holds lesion; ``f1``, ``precision`` and ``recall`` of
        the pixels of all slices pooled; the number of ``slices``, and of those ``with_lesion``. NaN for a score that
        there is not.
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
    """Score each stage's labels against the truth: ``scores.csv``, a row ``level 1, held out`` for each stage and set.

    Args:
        output_dir: holds ``truth``, where there is one, and receives the table.
        labels: folders in the Radiopaedia layout, by stage.
        sets: names of cases, by set.

    Returns:
        The table as text, or that there is no truth.
    """
    truths = {path.name.removesuffix(".nii.gz"): path for path in (output_dir / "truth").glob("*.nii.gz")}
    if not truths:
        return "No truth was given, so no scores against it: name its folder with --lesion_masks."
    rows: dict[str, dict[str, float]] = {}
    for stage, folder in labels.items():
        for name, cases in sets.items():
            known = [case for case in cases if case in truths]
            pairs = [(_volume(folder / "rp_msk" / f"{case}.nii.gz") > 0, _volume(truths[case]) > 0) for case in known]
            if pairs:
                rows[f"{stage}, {name}"] = lesion_scores(pairs)
    columns = (*SCORES, "slices", "with_lesion")
    write_csv(
        output_dir / "scores.csv",
        ["row", *columns],
        (
            [name, *(shown(row[key], "") for key in SCORES), row["slices"], row["with_lesion"]]
            for name, row in rows.items()
        ),
    )
    lines = [f"{'ground-glass against truth':<28}" + "".join(f"{name:>12}" for name in columns)]
    for name, row in rows.items():
        numbers = [shown(row[key], "-") for key in SCORES] + [str(row[key]) for key in columns[len(SCORES) :]]
        lines.append(f"{name:<28}" + "".join(f"{number:>12}" for number in numbers))
    return "\n".join([*lines, "The truth is all infection: ground-glass and consolidation together."])


def write_agreement(output_dir: Path, levels: Mapping[str, Path]) -> str:
    """Gather what each level scored on the held-out volumes by labels as it has learned from: ``agreement.csv``.

    Means over the classes, as ``scores.csv`` in each level's folder has them. This tells how well a level copies the
    labels that it was given, which may be wrong, and not how well it segments.

    Args:
        output_dir: receives the table.
        levels: folders with ``scores.csv``, by level.

    Returns:
        The table as text.
    """
    scores = ("dice", "iou", "f1")
    rows = {}
    for name, folder in levels.items():
        with (folder / "scores.csv").open(newline="") as file:
            rows[name] = next(row for row in csv.DictReader(file) if row["class"] == "mean")
    write_csv(
        output_dir / "agreement.csv",
        ["level", *scores, "slices"],
        ([name, *(row[key] for key in (*scores, "slices"))] for name, row in rows.items()),
    )
    lines = [f"{'with its own kind of labels':<28}" + "".join(f"{name:>12}" for name in (*scores, "slices"))]
    lines += [f"{name:<28}" + "".join(f"{row[key]:>12}" for key in (*scores, "slices")) for name, row in rows.items()]
    return "\n".join([*lines, "Held-out slices, mean of the classes: how well a level copies the labels before it."])


def _volume(path: Path) -> np.ndarray:
    """Values of a NIfTI as it lies, which is LPS for all that self-learning writes."""
    image: Any = nibabel.load(path)
    return np.asarray(image.dataobj)
