"""The network: MONAI's U-Net, small, at half the resolution of its input and output."""

from __future__ import annotations

import torch
from monai.networks.nets import BasicUNet
from torch import nn

SIZE = 256  # pixels of a slice, both ways: its input and its output
WINDOW = (-1350.0, 150.0)  # HU of 0 and 1
FILTERS = (12, 24, 48, 96, 96, 12)  # of MONAI's BasicUNet: five levels, and the last one


class LungNetwork(nn.Module):
    """U-Net that computes at half the resolution: blocks of 2x2 pixels become channels, and channels such blocks.

    It costs a quarter of a U-Net at full resolution, and the outline of its masks is as fine. Instance norms serve
    images of any window.

    Shapes:
        Slices (B, 1, H, W) of 0 to 1, H and W multiples of 32, to logits of lung (B, 1, H, W).

    Example:
        >>> LungNetwork()(torch.zeros(1, 1, 256, 256)).shape
        torch.Size([1, 1, 256, 256])
    """

    def __init__(self) -> None:
        super().__init__()
        self.unet = BasicUNet(
            spatial_dims=2,
            in_channels=4,
            out_channels=4,
            features=FILTERS,
            norm=("instance", {"affine": True}),
            upsample="nontrainable",
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map slices to logits."""
        logits: torch.Tensor = self.unet(nn.functional.pixel_unshuffle(x, 2))
        return nn.functional.pixel_shuffle(logits, 2)
