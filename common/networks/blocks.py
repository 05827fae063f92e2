"""Building blocks that several of the papers' networks share."""

from __future__ import annotations

import torch
from torch import nn
from torch.fx.experimental.optimization import fuse

LEVELS = 4  # down-samplings by two


def convolution(in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1) -> nn.Conv2d:
    """A convolution with bias whose output has the input's size divided by ``stride``."""
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2)


def doubling(in_channels: int, out_channels: int, decoder: str) -> tuple[nn.Module, int]:
    """A layer that doubles height and width, and the number of channels that it gives.

    Args:
        in_channels: channels in.
        out_channels: channels out of a transposed convolution; interpolation keeps ``in_channels``.
        decoder: ``transposed`` (3x3, stride 2, learned), ``transposed 2x2`` (Ronneberger's up-convolution) or
            ``upsample`` (nearest neighbour, Keras's default).

    Raises:
        ValueError: for another decoder.
    """
    if decoder == "transposed":
        return nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1), out_channels
    if decoder == "transposed 2x2":
        return nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2), out_channels
    if decoder == "upsample":
        return nn.Upsample(scale_factor=2.0, mode="nearest"), in_channels
    raise ValueError(f"Unknown decoder {decoder!r}. Choose 'transposed', 'transposed 2x2' or 'upsample'.")


def check_size(height: int, width: int) -> None:
    """Refuse sizes that do not survive four halvings.

    Raises:
        ValueError: when height or width is not a multiple of 16.
    """
    if height % 16 or width % 16:  # a literal, since TorchScript sees no globals
        raise ValueError(
            f"Height and width must be multiples of 16, got {height} x {width}. Resize or pad the picture."
        )


def initialise_like_keras(network: nn.Module) -> None:
    """Glorot-uniform weights and zero biases: Keras's defaults, in which the theses' networks started."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def keras_parameter_count(network: nn.Module) -> int:
    """Number of parameters as Keras counts them: batch norm's running mean and variance included."""
    running = sum(
        buffer.numel() for name, buffer in network.named_buffers() if name.endswith(("running_mean", "running_var"))
    )
    return sum(parameter.numel() for parameter in network.parameters()) + running


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """A copy for inference in which each batch norm behind a convolution is part of that convolution's weights.

    The same function up to rounding; two thirds of DRSegUNet's batch norms, and an eighth of its time on a CPU, go.

    Args:
        network: with its final weights; it is switched to evaluation.
    """
    return fuse(network.eval())


class PreActivatedConvolution(nn.Sequential):
    """Batch norm, ReLU, 3x3 convolution: (B, in, H, W) to (B, out, H / stride, W / stride)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(
            nn.BatchNorm2d(in_channels), nn.ReLU(inplace=True), convolution(in_channels, out_channels, stride=stride)
        )


class ResidualBlock(nn.Module):
    """Two pre-activated 3x3 convolutions beside a 1x1 convolution with batch norm, added.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        stride: of the first convolution and of the shortcut.
        body: replaces the two convolutions (the stem's first one has no activation before it).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, body: nn.Module | None = None) -> None:
        super().__init__()
        self.body = body or nn.Sequential(
            PreActivatedConvolution(in_channels, out_channels, stride),
            PreActivatedConvolution(out_channels, out_channels),
        )
        self.shortcut = nn.Sequential(
            convolution(in_channels, out_channels, kernel_size=1, stride=stride), nn.BatchNorm2d(out_channels)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in, H, W) to (B, out, H / stride, W / stride)."""
        return self.body(x) + self.shortcut(x)
