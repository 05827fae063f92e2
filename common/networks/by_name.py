"""Segmentation networks by the names that configs use."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from .deeplab import DeepLabV3Plus
from .drsegunet import DRSegUNet
from .encoder_maps import EncoderMaps
from .encoder_unet import EncoderUNet
from .encoders import PUBLISHED
from .fcn import FCN8s
from .unet import UNet, classic_unet

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
