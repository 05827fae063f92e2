"""Dice of each kind of lesion and of all infection, as the Inf-Net comparisons on MedSeg's slices report it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.metrics import compute_dice

from ..run.distributed import gathered
from ..tables import write_csv
from .slice_table import SliceTable

INFECTION = "infection"


def lesion_dice(prediction: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Dice of each class of lesion, and of all of them as one class.

    A class that neither prediction nor truth holds scores 1, one that only one of them holds 0.

    Args:
        prediction: (B, lesions, H, W), 0 or 1.
        truth: the same.

    Returns:
        (B, lesions + 1), the last of all lesions together.
    """
    prediction, truth = (torch.cat([mask, mask.amax(1, keepdim=True)], dim=1) for mask in (prediction, truth))
    return compute_dice(prediction, truth, include_background=True, ignore_empty=False)


class LesionScores(SliceTable):
    """``lesion_scores.csv``, printed too: Dice of each kind of lesion and of infection, mean over all slices.

    Unlike in ``scores.csv`` slices whose truth lacks the class count: 1 where none is predicted either, else 0 (Fan et
    al., *Inf-Net*, 2020, compare by this mean).

    Args:
        output_dir: folder of the file.
        classes: names in channel order.
        lesions: those of them that are infection.

    Raises:
        ValueError: for a lesion that is no class.
    """

    def __init__(
        self, output_dir: str | Path, classes: Sequence[str], lesions: Sequence[str] = ("ground-glass", "consolidation")
    ) -> None:
        super().__init__(output_dir)
        self.lesions = [name for name in lesions if name in classes]
        if not self.lesions:
            raise ValueError(
                f"One of {', '.join(lesions)} must be a class, got {', '.join(classes)}. Name the lesions."
            )
        self.channels = [list(classes).index(name) for name in self.lesions]
        self.dice: list[torch.Tensor] = []

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        super().attach(engine)
        engine.add_event_handler(Events.STARTED, lambda _: self.dice.clear())

    def remember(self, engine: Engine) -> None:
        """Score the slices of a batch: the output's ``pred`` and ``label``, one-hot (classes, H, W)."""
        super().remember(engine)
        output: Any = engine.state.output
        masks = [torch.stack([sample[key][self.channels] for sample in output]) for key in ("pred", "label")]
        self.dice.append(lesion_dice(*masks).cpu())

    def gather(self) -> None:
        """Take over what the other processes have scored."""
        super().gather()
        self.dice = gathered(self.dice)

    def write(self, engine: Engine) -> None:
        """Write the table and print it."""
        dice = torch.cat(self.dice)
        rows = list(zip([*self.lesions, INFECTION], dice.mean(0).tolist(), strict=True))
        path = self.output_dir / "lesion_scores.csv"
        write_csv(path, ["class", "dice", "slices"], ([name, f"{value:.6f}", len(dice)] for name, value in rows))
        lines = [f"{name:<15}{value:>8.4f}{len(dice):>8}" for name, value in rows]
        print("\n".join([f"\n{'mean over all':<15}{'Dice':>8}{'slices':>8}", *lines, "", f"Table: {path}"]))
