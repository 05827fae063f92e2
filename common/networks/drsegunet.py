"""DRSegUNet: a U-Net of pre-activated residual blocks.

Source: thesis of Balantrapu, University of Birmingham, 2021, section 4.3.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import fx, nn

from .blocks import (
    LEVELS,
    PreActivatedConvolution,
    ResidualBlock,
    check_size,
    convolution,
    initialise_like_keras,
    upsampling,
)

fx.wrap("check_size")  # tracing must not run this check, because a traced size has no value


class Decoder(nn.Module):
    """One decoder level: double the size, concatenate the encoder's features, one residual block (tables 8 to 11)."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int, decoder: str) -> None:
        super().__init__()
        self.up, up_channels = upsampling(in_channels, out_channels, decoder)
        self.block = ResidualBlock(up_channels + skip_channels, out_channels)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Map (B, in, H, W) and (B, skip, 2H, 2W) to (B, out, 2H, 2W)."""
        return self.block(torch.cat([self.up(x), skip], dim=1))


class DRSegUNet(nn.Module):
    """Deep residual segmentation U-Net (tables 2 to 11 of the thesis).

    With one input channel, 16 filters and four classes it has 5,484,276 parameters, counted as Keras counts them, as
    section 5.3 states. This total holds only with 1x1 shortcuts (the tables print 3x3), no shortcut across the bridge,
    a bias in every convolution, and up-sampling by 3x3 transposed convolutions of stride 2.

    Args:
        in_channels: channels of the input.
        out_channels: number of classes.
        decoder: ``transposed``, or ``upsample`` for the variant of table 13 (nearest neighbour, no weights).
        filters: channels of the stem; each encoder level doubles them.
        dropout: probability that each feature map is dropped before the last convolution, for estimates of uncertainty;
            0 in the thesis.

    Shapes:
        (B, in_channels, H, W), H and W multiples of 16, to logits (B, out_channels, H, W).

    Raises:
        ValueError: for an unknown decoder, or a height or width that is not a multiple of 16.

    Example:
        >>> network = DRSegUNet(in_channels=1, out_channels=4)
        >>> network(torch.zeros(1, 1, 64, 64)).shape
        torch.Size([1, 4, 64, 64])
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 4,
        decoder: str = "transposed",
        filters: int = 16,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        widths = [filters * 2**level for level in range(LEVELS + 1)]  # 16, 32, 64, 128, 256
        self.stem = ResidualBlock(
            in_channels,
            filters,
            body=nn.Sequential(convolution(in_channels, filters), PreActivatedConvolution(filters, filters)),
        )
        self.encoders = nn.ModuleList(ResidualBlock(narrow, wide, stride=2) for narrow, wide in pairwise(widths))
        self.bridge = nn.Sequential(
            PreActivatedConvolution(widths[-1], widths[-1]), PreActivatedConvolution(widths[-1], widths[-1])
        )
        outs = widths[:0:-1]  # 256, 128, 64, 32: each decoder has twice the channels of its skip connection
        self.decoders = nn.ModuleList(
            Decoder(channels, skip, out, decoder)
            for channels, skip, out in zip([widths[-1], *outs[:-1]], widths[-2::-1], outs, strict=True)
        )
        self.dropout = nn.Dropout2d(dropout)
        self.head = convolution(widths[1], out_channels, kernel_size=1)
        initialise_like_keras(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, in_channels, H, W) to logits (B, out_channels, H, W)."""
        check_size(x.shape[-2], x.shape[-1])
        x = self.stem(x)  # (B, 16, H, W)
        skips = []
        for encoder in self.encoders:
            skips.append(x)
            x = encoder(x)  # (B, 32, H/2, W/2) ... (B, 256, H/16, W/16)
        x = self.bridge(x)
        for index, decoder in enumerate(self.decoders):
            x = decoder(x, skips[-1 - index])  # (B, 256, H/8, W/8) ... (B, 32, H, W)
        return self.head(self.dropout(x))
