"""FCN-8s: Long, Shelhamer and Darrell, *Fully convolutional networks for semantic segmentation*, CVPR 2015."""

from __future__ import annotations

import torch
from torch import fx, nn

from .blocks import check_size, convolution, initialise_for_relu

fx.wrap("check_size")  # tracing must not run this check, because a traced size has no value

VGG16 = ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3))  # of each level: width in filters, number of convolutions


class FCN8s(nn.Module):
    """VGG16 as a fully convolutional network, whose scores at strides 32, 16 and 8 are added.

    With 64 filters it has the published widths: 64 to 512 channels, and 4096 in the two layers that were VGG16's
    classifier; then, with three input channels and 21 classes, 134,376,863 parameters. Here the convolutions are
    padded to keep the size, where the paper pads the image by 100 pixels and crops the scores. The last step, by a
    factor of 8, is fixed bilinear interpolation, as in the paper; the two before it start as such and are learned.

    Args:
        in_channels: channels of the input.
        out_channels: number of classes.
        filters: channels of the first level, from which all widths follow.
        dropout: probability that each feature map is dropped before the scores, for estimates of uncertainty. The 0.5
            in the layers that were the classifier is always there in training.

    Shapes:
        (B, in_channels, H, W), H and W multiples of 32, to logits (B, out_channels, H, W).

    Raises:
        ValueError: for a height or width that is not a multiple of 32.

    Example:
        >>> FCN8s(in_channels=1, out_channels=4, filters=8)(torch.zeros(1, 1, 64, 64)).shape
        torch.Size([1, 4, 64, 64])
    """

    def __init__(self, in_channels: int = 1, out_channels: int = 4, filters: int = 16, dropout: float = 0.0) -> None:
        super().__init__()
        self.levels, width = nn.ModuleList(), in_channels
        for wide, count in VGG16:
            layers: list[nn.Module] = []
            for _ in range(count):
                layers += [convolution(width, wide * filters), nn.ReLU(inplace=True)]
                width = wide * filters
            self.levels.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
        hidden = 64 * filters
        self.classifier = nn.Sequential(
            *(convolution(width, hidden, kernel_size=7), nn.ReLU(inplace=True), nn.Dropout(0.5)),
            *(convolution(hidden, hidden, kernel_size=1), nn.ReLU(inplace=True), nn.Dropout(0.5)),
        )
        self.dropout = nn.Dropout2d(dropout)
        widths = (hidden, 8 * filters, 4 * filters)  # at strides 32, 16 and 8
        self.scores = nn.ModuleList(convolution(wide, out_channels, kernel_size=1) for wide in widths)
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(out_channels, out_channels, 4, stride=2, padding=1, bias=False) for _ in range(2)
        )
        self.last = nn.Upsample(scale_factor=8.0, mode="bilinear")
        initialise_for_relu(self)
        for score in self.scores:  # section 4.2: class scores start at 0
            nn.init.zeros_(score.weight)  # type: ignore[arg-type]
        for up in self.ups:
            _set_bilinear(up.weight)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, in_channels, H, W) to logits (B, out_channels, H, W)."""
        check_size(x.shape[-2], x.shape[-1], 32)
        maps: list[torch.Tensor] = []
        for level in self.levels:
            x = level(x)
            maps.append(x)
        maps = [self.classifier(x), maps[3], maps[2]]
        scores: list[torch.Tensor] = []
        for index, score in enumerate(self.scores):
            scores.append(score(self.dropout(maps[index])))
        x = scores[0]
        for index, up in enumerate(self.ups):
            x = up(x) + scores[index + 1]
        return self.last(x)


def _set_bilinear(weight: torch.Tensor) -> None:
    """Set a 4x4 transposed convolution of stride 2 to bilinear interpolation of each channel, in place."""
    line = torch.tensor([0.25, 0.75, 0.75, 0.25])
    with torch.no_grad():
        weight.zero_()
        for channel in range(len(weight)):
            weight[channel, channel] = torch.outer(line, line)
