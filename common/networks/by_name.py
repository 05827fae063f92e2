"""Segmentation networks by the names that configs use."""

from __future__ import annotations

from torch import nn

from .drsegunet import DRSegUNet
from .unet import UNet

NETWORKS = {"drsegunet": DRSegUNet, "unet": UNet}


def segmentation_network(
    name: str,
    in_channels: int,
    out_channels: int,
    decoder: str = "transposed",
    filters: int = 16,
    dropout: float = 0.0,
) -> nn.Module:
    """Build a two-dimensional segmentation network by its name.

    Args:
        name: ``drsegunet`` or ``unet``.
        in_channels: channels of the input image, shape (B, in_channels, H, W), H and W multiples of 16.
        out_channels: number of classes; the output holds logits of shape (B, out_channels, H, W).
        decoder: how the decoder doubles the size: ``transposed`` or ``upsample``.
        filters: channels of the first level.
        dropout: probability that each feature map is dropped before the last convolution.

    Raises:
        ValueError: for an unknown name or decoder.

    Example:
        >>> network = segmentation_network("unet", in_channels=1, out_channels=4, decoder="upsample")
        >>> network(torch.zeros(1, 1, 64, 64)).shape
        torch.Size([1, 4, 64, 64])
    """
    if name not in NETWORKS:
        raise ValueError(f"Unknown network {name!r}. Choose one of: {', '.join(NETWORKS)}.")
    return NETWORKS[name](in_channels, out_channels, decoder, filters, dropout)
