"""The loss of lesions against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from common.losses import LesionLoss


def test_it_is_dice_of_kinds_and_of_both_together_plus_weighted_cross_entropy() -> None:
    """One slice of two pixels; ground-glass, consolidation, background."""
    chances = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
    logits = chances.log().T.reshape(1, 3, 1, 2)
    label = torch.tensor([0.0, 2.0]).reshape(1, 1, 1, 2)  # ground-glass, then background
    small = 1e-5  # MONAI's smoothing
    ground_glass = 1 - (2 * 0.5 + small) / (0.6 + 1 + small)
    consolidation = 1 - (0 + small) / (0.5 + 0 + small)
    together = 1 - (2 * 0.8 + small) / (1.1 + 1 + small)
    entropy = -(1 * math.log(0.5) + 3 * math.log(0.7)) / (1 + 3)
    loss = LesionLoss(lesions=[0, 1], weight=torch.tensor([1.0, 2.0, 3.0]))
    expected = (ground_glass + consolidation + together) / 3 + entropy
    assert loss(logits, label).item() == pytest.approx(expected, abs=1e-5)


def test_calling_consolidation_ground_glass_is_a_smaller_error_than_missing_it() -> None:
    loss = LesionLoss(lesions=[0, 1], weight=torch.ones(3))
    label = torch.ones(1, 1, 4, 4)
    wrong_kind, missed = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    wrong_kind[:, 0] = missed[:, 2] = 5.0
    assert loss(wrong_kind, label) < loss(missed, label)
