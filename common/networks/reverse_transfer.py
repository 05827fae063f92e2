"""A segmentation network turned into a diagnostic classifier (Gare et al., *Dense pixel-labeling*, section 2.1)."""

from __future__ import annotations

import torch
from torch import nn

OWN_MAP = 4.0  # logit by which an image that is one map all over is that diagnosis rather than another


class ReverseTransfer(nn.Module):
    """Classify images by the softmax maps of a segmentation network: averaged over the image, then one linear layer.

    Each average is the share of the image that a class covers. The diagnosis depends on these shares alone, so they
    explain it. Inference calls ``segmentation`` and ``decide`` separately to show the maps.

    Args:
        segmentation: any network that maps (B, C, H, W) to logits (B, ``classes``, H, W).
        classes: number of segmentation classes.
        diagnoses: number of diagnoses.
        own_maps: there is one map for each diagnosis, and in the beginning each speaks for its own: the share of the
            image that looks like a diagnosis decides on it. Training goes on from there.

    Shapes:
        (B, C, H, W) to logits (B, ``diagnoses``).

    Example:
        >>> network = ReverseTransfer(classic_unet(out_channels=7, filters=16), classes=7)
        >>> network(torch.zeros(1, 1, 64, 96)).shape
        torch.Size([1, 3])
    """

    def __init__(self, segmentation: nn.Module, classes: int, diagnoses: int = 3, own_maps: bool = False) -> None:
        super().__init__()
        self.segmentation = segmentation
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(classes, diagnoses)
        if own_maps:
            nn.init.zeros_(self.classifier.bias)
            with torch.no_grad():
                self.classifier.weight.copy_(OWN_MAP * (torch.eye(diagnoses) - 1 / diagnoses))

    def shares(self, maps: torch.Tensor) -> torch.Tensor:
        """Average probabilities (B, classes, H, W) to shares of the image (B, classes), which sum to 1."""
        return self.pool(maps).flatten(1)

    def decide(self, maps: torch.Tensor) -> torch.Tensor:
        """Map probabilities (B, classes, H, W) to logits (B, diagnoses)."""
        # Written out, because autocast would run the linear layer in bfloat16, which has about three digits
        shares = self.shares(maps.float())
        return (shares.unsqueeze(1) * self.classifier.weight).sum(-1) + self.classifier.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to logits (B, diagnoses)."""
        return self.decide(self.segmentation(x).float().softmax(1))
