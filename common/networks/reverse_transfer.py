"""A segmentation network turned into a diagnostic classifier (Gare et al., *Dense pixel-labeling*, section 2.1)."""

from __future__ import annotations

import torch
from torch import nn


class ReverseTransfer(nn.Module):
    """Softmax maps of a segmentation network, averaged over the picture, then one linear layer.

    The averages are the share of the picture that each class takes: the only thing that the diagnosis sees, and what it
    is explained by. Inference runs :attr:`segmentation` and ``decide`` apart, to show the maps.

    Args:
        segmentation: any network with (B, C, H, W) in and logits (B, ``classes``, H, W) out.
        classes: number of segmentation classes.
        diagnoses: number of diagnoses.

    Shapes:
        (B, C, H, W) to logits (B, ``diagnoses``).
    """

    def __init__(self, segmentation: nn.Module, classes: int, diagnoses: int = 3) -> None:
        super().__init__()
        self.segmentation = segmentation
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(classes, diagnoses)

    def shares(self, maps: torch.Tensor) -> torch.Tensor:
        """Probabilities (B, classes, H, W) to shares of the picture (B, classes), which sum to 1."""
        return self.pool(maps).flatten(1)

    def decide(self, maps: torch.Tensor) -> torch.Tensor:
        """Probabilities (B, classes, H, W) to logits (B, diagnoses)."""
        # Written out, since autocast would round shares to bfloat16 in a linear layer: three digits
        shares = self.shares(maps.float())
        return (shares.unsqueeze(1) * self.classifier.weight).sum(-1) + self.classifier.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to logits (B, diagnoses)."""
        return self.decide(self.segmentation(x).float().softmax(1))
