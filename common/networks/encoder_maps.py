"""Maps of an encoder with ImageNet weights, for diagnosis by ``common.networks.reverse_transfer.ReverseTransfer``."""

from __future__ import annotations

import torch
from torch import nn

from .encoder_unet import MEAN, STD
from .encoders import ENCODERS, PUBLISHED
from .unet import classic_unet


class EncoderMaps(nn.Module):
    """Class maps by one 1x1 convolution on an encoder's last features: coarse, and learned from few images.

    Args:
        encoder: a name of ``common.networks.encoders.ENCODERS``, such as ``efficientnet_lite0``.
        in_channels: channels of the input.
        out_channels: number of maps.
        dropout: probability that a feature is dropped before the convolution, in training.
        frozen: the encoder's weights do not learn. The statistics of its batch norms never change: few frames would
            change them for the worse.

    Shapes:
        (B, in_channels, H, W), grey levels 0..1, to logits (B, out_channels, H, W), enlarged from 1/32 of the size.

    Example:
        >>> network = EncoderMaps("efficientnet_lite0", out_channels=7)
        >>> network(torch.zeros(1, 1, 224, 224)).shape
        torch.Size([1, 7, 224, 224])
    """

    def __init__(
        self,
        encoder: str,
        in_channels: int = 1,
        out_channels: int = 7,
        dropout: float = 0.0,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        self.encoder, self.frozen = ENCODERS[encoder](in_channels), frozen
        self.encoder.requires_grad_(not frozen)
        self.mean, self.std = MEAN, STD  # TorchScript cannot read module variables
        self.dropout = nn.Dropout2d(dropout)
        self.norm = nn.BatchNorm2d(self.encoder.channels[-1], affine=False)  # features differ in size by far
        self.maps = nn.Conv2d(self.encoder.channels[-1], out_channels, 1)

    def train(self, mode: bool = True) -> EncoderMaps:
        """Switch to training, the batch norms of the encoder excepted."""
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map grey levels to logits of the maps."""
        x, size = (x - self.mean) / self.std, x.shape[-2:]
        if self.frozen:
            with torch.no_grad():
                features = self.encoder(x)[-1]
        else:
            features = self.encoder(x)[-1]
        maps = self.maps(self.dropout(self.norm(features)))
        return nn.functional.interpolate(maps, size, mode="bilinear")


def maps_network(name: str, maps: int, filters: int = 64, dropout: float = 0.0, frozen: bool = False) -> nn.Module:
    """Build the network whose maps decide on a diagnosis (``common.networks.reverse_transfer.ReverseTransfer``).

    Args:
        name: ``unet``, that of Gare et al.; or an encoder with ImageNet weights, such as ``efficientnet_lite0``.
        maps: number of maps; the output holds logits of shape (B, maps, H, W). The input is (B, 1, H, W), grey levels
            0..1; H and W multiples of 16 for ``unet``.
        filters: channels of the U-Net's first level; an encoder has its own.
        dropout: probability that each feature is dropped before the last convolution.
        frozen: the encoder does not learn; without effect on the U-Net.

    Raises:
        ValueError: for an unknown name.

    Example:
        >>> maps_network("efficientnet_lite0", maps=3)(torch.zeros(1, 1, 224, 224)).shape
        torch.Size([1, 3, 224, 224])
    """
    if name == "unet":
        return classic_unet(1, maps, filters, dropout)
    if name not in PUBLISHED:
        raise ValueError(f"Unknown network {name!r}. Choose unet or one of: {', '.join(PUBLISHED)}.")
    return EncoderMaps(name, 1, maps, dropout, frozen)
