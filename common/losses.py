"""Losses that MONAI lacks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.losses import DiceLoss
from monai.networks import one_hot
from torch import nn


class LesionLoss(nn.Module):
    """Dice loss of each kind of lesion and of all together, plus cross-entropy of all classes.

    Only lesions have a Dice loss. With one for the lung, too, a network calls lesions lung and stays there: the lung is
    large and easy, and lesions are few of its pixels. Dice is taken over a batch, so that slices without a class
    teach something, too.

    Args:
        lesions: channels of the kinds of lesion.
        weight: of each class in the cross-entropy, (classes,).

    Example:
        >>> loss = LesionLoss(lesions=[0, 1], weight=torch.tensor([1.0, 2.0, 1.0]))
        >>> loss(torch.zeros(2, 3, 64, 64), torch.zeros(2, 1, 64, 64)).item()
    """

    def __init__(self, lesions: Sequence[int], weight: torch.Tensor) -> None:
        super().__init__()
        self.lesions = list(lesions)
        self.dice, self.entropy = DiceLoss(batch=True), nn.CrossEntropyLoss(weight)

    def forward(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Return the loss of logits (B, classes, H, W) for class indices (B, 1, H, W)."""
        truth = one_hot(label, logits.shape[1])[:, self.lesions]
        kinds = logits.softmax(1)[:, self.lesions]
        together = [torch.cat([each, each.sum(1, keepdim=True)], 1) for each in (kinds, truth)]
        loss: torch.Tensor = self.dice(*together) + self.entropy(logits, label[:, 0].long())
        return loss
