"""Networks by the names that configs use."""

from __future__ import annotations

from torch import nn

from .blocks import fold_batch_norm, keras_parameter_count
from .drsegunet import DRSegUNet
from .encoder_unet import EncoderUNet
from .localisers import MapNetwork, lesion_classifier
from .reverse_transfer import ReverseTransfer
from .unet import UNet, classic_unet
from .weak_gan import Critic, LesionSeparator

__all__ = [
    "Critic",
    "DRSegUNet",
    "EncoderUNet",
    "LesionSeparator",
    "MapNetwork",
    "ReverseTransfer",
    "UNet",
    "classic_unet",
    "fold_batch_norm",
    "keras_parameter_count",
    "lesion_classifier",
    "segmentation_network",
]

NETWORKS = {"drsegunet": DRSegUNet, "unet": UNet}


def segmentation_network(
    name: str,
    in_channels: int,
    out_channels: int,
    decoder: str = "transposed",
    filters: int = 16,
    dropout: float = 0.0,
) -> nn.Module:
    """A two-dimensional segmentation network by its word.

    Args:
        name: ``drsegunet`` or ``unet``.
        in_channels: channels of the input picture, shape (B, in_channels, H, W), H and W multiples of 16.
        out_channels: classes; the output holds logits of shape (B, out_channels, H, W).
        decoder: ``transposed`` or ``upsample``, how the decoder doubles the size.
        filters: channels of the first level.
        dropout: probability of each map before the last convolution.

    Raises:
        ValueError: for an unknown name or decoder.
    """
    if name not in NETWORKS:
        raise ValueError(f"Unknown network {name!r}. Choose one of: {', '.join(NETWORKS)}.")
    return NETWORKS[name](in_channels, out_channels, decoder, filters, dropout)
