"""DeepLabV3+: Chen et al., *Encoder-decoder with atrous separable convolution for image segmentation*, ECCV 2018."""

from __future__ import annotations

import torch
from monai.networks.blocks import Convolution
from monai.networks.nets import ResNet
from torch import fx, nn
from torch.nn.functional import interpolate

from .blocks import check_size, convolution, initialise_for_relu

fx.wrap("check_size")  # tracing must not run this check, because a traced size has no value

STAGES = {16: {4: (1, 2)}, 8: {3: (1, 2), 4: (2, 4)}}  # by output stride: stages without stride, and their dilations
RATES = {16: (6, 12, 18), 8: (12, 24, 36)}  # by output stride: dilations of the pyramid


class AtrousResNet(ResNet):
    """MONAI's ResNet50 whose last stages have dilated convolutions in place of a stride.

    Its map is that of the ordinary ResNet, with values between those of the ordinary one.

    Args:
        in_channels: channels of the input.
        filters: channels of the stem; 64 in the published network.
        output_stride: size of the input over that of the last map, 16 or 8.

    Shapes:
        (B, in_channels, H, W) to the map of the first stage, (B, 4 filters, H / 4, W / 4), and that of the last,
        (B, 32 filters, H / output_stride, W / output_stride).
    """

    def __init__(self, in_channels: int, filters: int, output_stride: int) -> None:
        super().__init__(
            block="bottleneck",
            layers=[3, 4, 6, 3],
            block_inplanes=[filters, 2 * filters, 4 * filters, 8 * filters],
            spatial_dims=2,
            n_input_channels=in_channels,
            conv1_t_stride=2,
            feed_forward=False,
            bias_downsample=False,
        )
        for stage, (first, others) in STAGES[output_stride].items():
            for layer in self.get_submodule(f"layer{stage}").modules():
                if isinstance(layer, nn.Conv2d):
                    dilation = first if layer.stride == (2, 2) else others
                    layer.stride = (1, 1)
                    if layer.kernel_size == (3, 3):
                        layer.dilation = layer.padding = (dilation, dilation)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
        """Compute the map of the first stage and that of the last."""
        low = self.layer1(self.maxpool(self.act(self.bn1(self.conv1(x)))))
        return low, self.layer4(self.layer3(self.layer2(low)))


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling: convolutions of several dilations, and the mean over the image, side by side.

    The branch of the mean has no batch norm, because one slice gives it one value per channel.

    Args:
        in_channels: channels of the input.
        out_channels: channels of each branch and of the output.
        rates: dilations.
    """

    def __init__(self, in_channels: int, out_channels: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                _normalised(in_channels, out_channels, kernel_size=1),
                *(_normalised(in_channels, out_channels, dilation=rate) for rate in rates),
            ]
        )
        self.pooled = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), convolution(in_channels, out_channels, kernel_size=1), nn.ReLU(inplace=True)
        )
        self.joined = _normalised((2 + len(rates)) * out_channels, out_channels, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, in, H, W) to (B, out, H, W)."""
        maps: list[torch.Tensor] = []
        for branch in self.branches:
            maps.append(branch(x))
        maps.append(self.pooled(x).expand_as(maps[0]))
        return self.joined(torch.cat(maps, dim=1))


class DeepLabV3Plus(nn.Module):
    """DeepLabV3+ with a ResNet50 as encoder.

    With 64 filters it has the published widths (ResNet50, 256 channels in pyramid and decoder, 48 from the first
    stage); then, with three input channels and 21 classes, 40,351,925 parameters at either output stride.

    Args:
        in_channels: channels of the input.
        out_channels: number of classes.
        filters: channels of the stem, from which all widths follow.
        dropout: probability that each feature map is dropped before the last convolution, for estimates of uncertainty.
        output_stride: size of the input over that of the encoder's last map, 16 or 8.

    Shapes:
        (B, in_channels, H, W), H and W multiples of 16, to logits (B, out_channels, H, W).

    Raises:
        ValueError: for a height or width that is not a multiple of 16.

    Example:
        >>> DeepLabV3Plus(output_stride=8)(torch.zeros(2, 1, 64, 64)).shape
        torch.Size([2, 4, 64, 64])
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 4,
        filters: int = 16,
        dropout: float = 0.0,
        output_stride: int = 16,
    ) -> None:
        super().__init__()
        width, narrow = 4 * filters, 3 * filters // 4  # 256 and 48 of the paper
        self.encoder = AtrousResNet(in_channels, filters, output_stride)
        self.pyramid = Pyramid(32 * filters, width, RATES[output_stride])
        self.low = _normalised(width, narrow, kernel_size=1)
        self.decoder = nn.Sequential(_normalised(width + narrow, width), _normalised(width, width))
        self.dropout = nn.Dropout2d(dropout)
        self.head = convolution(width, out_channels, kernel_size=1)
        initialise_for_relu(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, in_channels, H, W) to logits (B, out_channels, H, W)."""
        check_size(x.shape[-2], x.shape[-1])
        first, last = self.encoder(x)
        low = self.low(first)
        deep = interpolate(self.pyramid(last), size=low.shape[-2:], mode="bilinear")
        y = self.head(self.dropout(self.decoder(torch.cat([deep, low], dim=1))))
        return interpolate(y, scale_factor=4.0, mode="bilinear")


def _normalised(in_channels: int, out_channels: int, kernel_size: int = 3, dilation: int = 1) -> Convolution:
    """Convolution, batch norm, ReLU: (B, in, H, W) to (B, out, H, W)."""
    return Convolution(
        2,
        in_channels,
        out_channels,
        kernel_size=kernel_size,
        dilation=dilation,
        bias=False,
        act=("relu", {"inplace": True}),
        norm="batch",
        adn_ordering="NA",
    )
