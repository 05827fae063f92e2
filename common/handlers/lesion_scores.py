"""Dice of each kind of lesion and of all infection, as published comparisons on MedSeg's slices report it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine
from monai.metrics import compute_dice

from ..statistics import ONE_OR_ZERO, interval_over
from ..tables import aligned, print_table, write_csv
from .slice_table import SliceTable

INFECTION = "infection"


def lesion_dice(prediction: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Dice of each class of lesion, and of all of them as one class.

    A class that is absent from both prediction and ground truth scores 1; one that is in only one of them scores 0.

    Args:
        prediction: (B, lesions, H, W), 0 or 1.
        truth: the ground truth, same shape and values.

    Returns:
        (B, lesions + 1); the last column is all lesions together.
    """
    prediction, truth = (torch.cat([mask, mask.amax(1, keepdim=True)], dim=1) for mask in (prediction, truth))
    return compute_dice(prediction, truth, include_background=True, ignore_empty=False)


def lesion_channels(classes: Sequence[str], lesions: Sequence[str]) -> tuple[list[str], list[int]]:
    """The lesions among a network's classes, and their channels.

    Raises:
        ValueError: if none of the lesions is a class.
    """
    found = [name for name in lesions if name in classes]
    if not found:
        raise ValueError(
            f"One of {', '.join(lesions)} must be a class, got {', '.join(classes)}. Give the names of the lesions."
        )
    return found, [list(classes).index(name) for name in found]


class LesionScores(SliceTable):
    """Dice of each kind of lesion and of infection, mean over all slices: ``lesion_scores.csv``, which is printed too.

    Unlike ``scores.csv``, this counts slices whose ground truth lacks the class: they score 1 if none is predicted
    either, else 0. Fan et al., *Inf-Net*, 2020, compare networks by this mean. The table says so in the column
    ``absent_scores``.

    Args:
        output_dir: folder of the file.
        classes: names in channel order.
        lesions: the classes that are infection; those that the network lacks are left out.
        scored: name of the set that is scored, for the table.

    Raises:
        ValueError: if none of the lesions is a class.
    """

    def __init__(
        self,
        output_dir: str | Path,
        classes: Sequence[str],
        lesions: Sequence[str] = ("ground-glass", "consolidation"),
        scored: str = "",
    ) -> None:
        super().__init__(output_dir)
        self.lesions, self.channels = lesion_channels(classes, lesions)
        self.scored = scored

    def remember(self, engine: Engine) -> None:
        """Score the slices of a batch: the output's ``pred`` and ``label``, one-hot (classes, H, W)."""
        super().remember(engine)
        output: Any = engine.state.output
        masks = [torch.stack([sample[key][self.channels] for sample in output]) for key in ("pred", "label")]
        truth = torch.cat([masks[1], masks[1].amax(1, keepdim=True)], dim=1)
        self.values.append(torch.stack([lesion_dice(*masks), truth.amax((2, 3))], -1).cpu())  # (B, lesions + 1, 2)

    def write(self, engine: Engine) -> None:
        """Write the table and print it."""
        dice, present = torch.cat(self.values).double().unbind(-1)  # each (slices, lesions + 1)
        names, sums = [*self.lesions, INFECTION], self.sums()
        for index, name in enumerate(names):
            sums.add(name, "dice", dice[:, index])
        sums.save(self.output_dir / "lesion_scores.npz")
        found = sums.estimates()
        absent, alarms = (present == 0).sum(0).tolist(), ((present == 0) & (dice == 0)).sum(0).tolist()
        rows = [
            [name, score, len(dice), *counts, ONE_OR_ZERO, interval_over([score], sums.word), self.scored]
            for name, score, *counts in zip(names, (found[name, "dice"] for name in names), absent, alarms, strict=True)
        ]
        columns = ["class", "dice", "slices", "absent", "false_alarms", "absent_scores", "interval_over", "set"]
        write_csv(self.output_dir / "lesion_scores.csv", columns, rows, form=".6f")
        heading = ["mean over all", "Dice", *(column.replace("_", " ") for column in columns[2:])]
        print_table(aligned(heading, rows), self.output_dir, "lesion_scores.csv")
