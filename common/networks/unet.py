"""The U-Net of Ronneberger et al. (2015), and the plain U-Net of Balantrapu's thesis (2021, section 5.3)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import fx, nn

from .blocks import LEVELS, check_size, convolution, initialise_like_keras, upsampling

fx.wrap("check_size")  # tracing must not run this check, because a traced size has no value


def double_convolution(in_channels: int, out_channels: int) -> nn.Sequential:
    """Return two 3x3 convolutions, each followed by ReLU: (B, in, H, W) to (B, out, H, W)."""
    return nn.Sequential(
        convolution(in_channels, out_channels),
        nn.ReLU(inplace=True),
        convolution(out_channels, out_channels),
        nn.ReLU(inplace=True),
    )


class Contraction(nn.Module):
    """The contracting path: two convolutions at each level, 2x2 max pooling between levels.

    Args:
        in_channels: channels of the input.
        filters: channels of the first level; each level doubles them.

    Shapes:
        (B, in_channels, H, W), H and W multiples of 16, to five maps, from (B, filters, H, W) to
        (B, 16 filters, H/16, W/16).
    """

    def __init__(self, in_channels: int, filters: int) -> None:
        super().__init__()
        widths = [in_channels, *(filters * 2**level for level in range(LEVELS + 1))]
        self.levels = nn.ModuleList(double_convolution(narrow, wide) for narrow, wide in pairwise(widths))
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Compute the feature maps of all levels, the finest first."""
        maps: list[torch.Tensor] = []
        for index, level in enumerate(self.levels):
            x = level(x if index == 0 else self.pool(x))
            maps.append(x)
        return maps


class Expansion(nn.Module):
    """The expanding path: at each level double the size, concatenate the encoder's map, two convolutions.

    Args:
        filters: channels of the first level of the contracting path.
        out_channels: channels of the output.
        decoder: see ``common.networks.blocks.upsampling``.
        dropout: probability that each feature map is dropped before the last convolution.

    Shapes:
        The five maps of ``Contraction`` to (B, out_channels, H, W).
    """

    def __init__(self, filters: int, out_channels: int, decoder: str = "transposed 2x2", dropout: float = 0.0) -> None:
        super().__init__()
        widths = [filters * 2**level for level in range(LEVELS, -1, -1)]
        self.ups, self.levels = nn.ModuleList(), nn.ModuleList()
        for wide, narrow in pairwise(widths):
            up, up_channels = upsampling(wide, narrow, decoder)
            self.ups.append(up)
            self.levels.append(double_convolution(up_channels + narrow, narrow))
        self.dropout = nn.Dropout2d(dropout)
        self.head = convolution(filters, out_channels, kernel_size=1)

    def forward(self, maps: list[torch.Tensor]) -> torch.Tensor:
        """Map the feature maps of all levels to (B, out_channels, H, W)."""
        x = maps[-1]
        for index, (up, level) in enumerate(zip(self.ups, self.levels)):  # noqa: B905 (TorchScript)
            x = level(torch.cat([up(x), maps[-2 - index]], dim=1))
        return self.head(self.dropout(x))


class UNet(nn.Module):
    """U-Net without batch norm, which halves the size four times.

    With one input channel, 16 filters and four classes it has 2,158,468 parameters, as section 5.3 of Balantrapu
    (2021) states. This total holds only with 3x3 transposed convolutions and without batch norm.

    Args:
        in_channels: channels of the input.
        out_channels: number of classes.
        decoder: ``transposed`` (3x3, stride 2), ``transposed 2x2`` or ``upsample`` (nearest neighbour).
        filters: channels of the first level; each level doubles them.
        dropout: probability that each feature map is dropped before the last convolution, for estimates of uncertainty;
            0 in the thesis.

    Shapes:
        (B, in_channels, H, W), H and W multiples of 16, to logits (B, out_channels, H, W).

    Raises:
        ValueError: for an unknown decoder, or a height or width that is not a multiple of 16.
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
        self.encoder = Contraction(in_channels, filters)
        self.decoder = Expansion(filters, out_channels, decoder, dropout)
        initialise_like_keras(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, in_channels, H, W) to logits (B, out_channels, H, W)."""
        check_size(x.shape[-2], x.shape[-1])
        return self.decoder(self.encoder(x))


def classic_unet(in_channels: int = 1, out_channels: int = 2, filters: int = 64, dropout: float = 0.0) -> UNet:
    """Build the U-Net of Ronneberger et al. (2015): 64 to 1024 channels, 2x2 up-convolutions, no batch norm.

    The initial weights follow their section 3: Gaussian with standard deviation sqrt(2 / N) for N incoming nodes. Two
    things differ. Convolutions are padded, so that the output has the size of the image. Dropout is off by default,
    because the papers that use this U-Net as the "traditional" one mention none. With one input and two output
    channels it has 31,030,658 parameters.

    Args:
        in_channels: channels of the input.
        out_channels: number of classes.
        filters: channels of the first level; each level doubles them.
        dropout: probability that each feature map is dropped before the last convolution.

    Shapes:
        (B, in_channels, H, W), H and W multiples of 16, to logits (B, out_channels, H, W).

    Example:
        >>> network = classic_unet(in_channels=1, out_channels=7, filters=16)
        >>> network(torch.zeros(1, 1, 64, 96)).shape
        torch.Size([1, 7, 64, 96])
    """
    network = UNet(in_channels, out_channels, decoder="transposed 2x2", filters=filters, dropout=dropout)
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return network
