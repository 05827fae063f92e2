"""Segmentation networks by the names that configs use."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from .deeplab import DeepLabV3Plus
from .drsegunet import DRSegUNet
from .encoder_unet import EncoderUNet
from .encoders import PUBLISHED
from .fcn import FCN8s
from .unet import UNet

UNETS: dict[str, Callable[..., nn.Module]] = {"drsegunet": DRSegUNet, "unet": UNet}
COMPARED: dict[str, Callable[..., nn.Module]] = {  # with them, in table 14 of Balantrapu's thesis; one decoder each
    "fcn8s": FCN8s,
    "deeplabv3plus": DeepLabV3Plus,
    "deeplabv3plus_stride8": partial(DeepLabV3Plus, output_stride=8),
}
NETWORKS = [*UNETS, *COMPARED, *PUBLISHED]


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
        name: ``drsegunet``, ``unet``, ``fcn8s``, ``deeplabv3plus`` (output stride 16), ``deeplabv3plus_stride8``; or
            the encoder of an ``EncoderUNet``, such as ``efficientnet_lite0``, whose input is -1..1 from the window's
            lower to its upper bound.
        in_channels: channels of the input image, shape (B, in_channels, H, W), H and W multiples of 16, or of 32 for
            ``fcn8s``; any size for an ``EncoderUNet``.
        out_channels: number of classes; the output holds logits of shape (B, out_channels, H, W).
        decoder: how the decoder of the U-Nets doubles the size: ``transposed`` or ``upsample``.
        filters: channels of the first level; an ``EncoderUNet`` has those of its encoder.
        dropout: probability that each feature map is dropped before the last convolution.

    Raises:
        ValueError: for an unknown name or decoder, or a decoder for a network that has only one.

    Example:
        >>> network = segmentation_network("unet", in_channels=1, out_channels=4, decoder="upsample")
        >>> network(torch.zeros(1, 1, 64, 64)).shape
        torch.Size([1, 4, 64, 64])
    """
    if name in UNETS:
        return UNETS[name](in_channels, out_channels, decoder, filters, dropout)
    if name not in NETWORKS:
        raise ValueError(f"Unknown network {name!r}. Choose one of: {', '.join(NETWORKS)}.")
    if decoder != "transposed":
        raise ValueError(
            f"{name} has one decoder, got {decoder!r}. Leave out --decoder, or choose --network {' or '.join(UNETS)}."
        )
    if name in PUBLISHED:
        return EncoderUNet(name, in_channels, out_channels, dropout, normalise="imagenet")
    return COMPARED[name](in_channels, out_channels, filters, dropout)
