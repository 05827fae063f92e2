"""Dice of each kind of lesion and of all infection, as published comparisons on MedSeg's slices report it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine
from monai.metrics import compute_dice

from ..statistics import ONE_OR_ZERO, interval_over
from ..tables import aligned, print_table, write_csv
from .slice_table import SliceTable

INFECTION = "infection"


LESIONS = (INFECTION, "ground-glass", "consolidation")


def lesion_groups(classes: Sequence[str], lesions: Sequence[str]) -> dict[str, list[int]]:
    """Channels of each lesion among a network's classes, and, last, of all of them together as ``infection``.

    Raises:
        ValueError: if none of the lesions is a class.

    Example:
        >>> lesion_groups(["ground-glass", "consolidation", "background"], LESIONS)
        {'ground-glass': [0], 'consolidation': [1], 'infection': [0, 1]}
    """
    found = {name: [list(classes).index(name)] for name in lesions if name in classes}
    if not found:
        raise ValueError(
            f"One of {', '.join(lesions)} must be a class, got {', '.join(classes)}. Give the names of the lesions."
        )
    together = [channel for channels in found.values() for channel in channels]
    return {**{name: channels for name, channels in found.items() if name != INFECTION}, INFECTION: together}


def lesion_masks(onehot: torch.Tensor, groups: Mapping[str, Sequence[int]]) -> torch.Tensor:
    """Masks (groups, H, W) of one-hot (classes, H, W): where any channel of a group is set; see ``lesion_groups``."""
    return torch.stack([onehot[list(channels)].amax(0) for channels in groups.values()])


class LesionScores(SliceTable):
    """Dice of each kind of lesion and of infection, mean over all slices: ``lesion_scores.csv``, which is printed too.

    ``lesion_scores_per_slice.csv`` has each slice. Unlike ``scores.csv``, this counts slices whose ground truth lacks
    the class: they score 1 if none is predicted either, else 0. Fan et al., *Inf-Net*, 2020, compare networks by this
    mean. The table says so in the column ``absent_scores``.

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
        lesions: Sequence[str] = LESIONS,
        scored: str = "",
    ) -> None:
        super().__init__(output_dir)
        self.groups, self.scored = lesion_groups(classes, lesions), scored

    def remember(self, engine: Engine) -> None:
        """Score the slices of a batch: the output's ``pred`` and ``label``, one-hot (classes, H, W)."""
        super().remember(engine)
        output: Any = engine.state.output
        pred, truth = (
            torch.stack([lesion_masks(torch.as_tensor(sample[key]), self.groups) for sample in output])
            for key in ("pred", "label")
        )
        dice = compute_dice(pred, truth, include_background=True, ignore_empty=False)
        self.values.append(torch.stack([dice, truth.amax((2, 3))], -1).cpu())  # (B, groups, 2)

    def write(self, engine: Engine) -> None:
        """Write the table and print it."""
        dice, present = torch.cat(self.values).double().unbind(-1)  # each (slices, groups)
        names, sums = [*self.groups], self.sums()
        for index, name in enumerate(names):
            sums.add(name, "dice", dice[:, index])
        sums.save(self.output_dir / "lesion_scores.npz")
        found = sums.estimates()
        absent, alarms = (present == 0).sum(0).tolist(), ((present == 0) & (dice == 0)).sum(0).tolist()
        rows = [
            [name, score, len(dice), *counts, ONE_OR_ZERO, interval_over({"dice": score}, sums.word), self.scored]
            for name, score, *counts in zip(names, (found[name, "dice"] for name in names), absent, alarms, strict=True)
        ]
        columns = ["class", "dice", "slices", "absent", "false_alarms", "absent_scores", "interval_over", "set"]
        write_csv(self.output_dir / "lesion_scores.csv", columns, rows, form=".6f")
        each_slice = ["case", "patient", "slice", *(f"dice_{name}" for name in names)]
        write_csv(self.output_dir / "lesion_scores_per_slice.csv", each_slice, self.named_rows(dice.tolist()))
        heading = ["mean over all", "Dice", *(column.replace("_", " ") for column in columns[2:])]
        print_table(aligned(heading, rows), self.output_dir, "lesion_scores.csv", "lesion_scores_per_slice.csv")
