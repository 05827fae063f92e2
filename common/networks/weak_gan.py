"""Networks of the weak GAN (*Towards unbiased COVID-19 lesion localisation*, sections 2 and 3.1)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from .blocks import check_size, convolution
from .unet import Contraction, Expansion

SLOPE = 0.2  # of the critic's leaky ReLU; the paper does not state it


class LesionSeparator(nn.Module):
    """Decompose a slice into its normal version and its lesions, by one encoder and two decoders.

    The encoder and each decoder form the U-Net of Ronneberger et al., which the paper cites. The paper does not state
    the number of channels. Both decoders end in tanh (section 3.1).

    Args:
        filters: channels of the first level; each level doubles them.
        lesions: False omits the lesion decoder (section 3.3). The lesions are then the slice minus its normal version.

    Shapes:
        (B, 1, H, W) in -1..1, H and W multiples of 16, to (B, 2, H, W): normal version and lesions, each in -1..1.

    Example:
        >>> separator = LesionSeparator(filters=16)
        >>> normal_version, lesions = separator(torch.zeros(1, 1, 64, 64)).split(1, dim=1)
    """

    def __init__(self, filters: int = 64, lesions: bool = True) -> None:
        super().__init__()
        self.encoder = Contraction(1, filters)
        self.normal = Expansion(filters, 1)
        self.lesions = Expansion(filters, 1) if lesions else None
        start_near_zero(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the normal version and the lesions; shapes as in the class."""
        check_size(x.shape[-2], x.shape[-1])
        features = self.encoder(x)
        normal = torch.tanh(self.normal(features))
        lesions = x - normal if self.lesions is None else torch.tanh(self.lesions(features))
        return torch.cat([normal, lesions], dim=1)


def start_near_zero(network: nn.Module) -> None:
    """Set random weights with which a network of ``Contraction`` and ``Expansion`` gives outputs near 0.

    A saturated tanh does not learn, and a critic that sees large values at the start may never recover.
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    for module in network.modules():
        if isinstance(module, Expansion):
            nn.init.normal_(module.head.weight, std=0.01)


class Critic(nn.Module):
    """Score how normal a slice looks, by seven layers (section 3.1).

    The layers are three pairs of 3x3 convolutions, the second of each pair with stride 2, and a fully connected layer.
    That layer takes the averages of all three down-sampled maps. There is no normalisation layer, because the gradient
    penalty is computed for each sample (Gulrajani et al. 2017, section 4). The paper does not state the number of
    channels and the activation.

    Args:
        filters: channels of the first pair; each pair doubles them.

    Shapes:
        (B, 1, H, W) to scores (B,), higher for slices that look normal.
    """

    def __init__(self, filters: int = 64) -> None:
        super().__init__()
        widths = [filters, 2 * filters, 4 * filters]
        self.pairs = nn.ModuleList(
            nn.Sequential(
                convolution(narrow, wide),
                nn.LeakyReLU(SLOPE),
                convolution(wide, wide, stride=2),
                nn.LeakyReLU(SLOPE),
            )
            for narrow, wide in pairwise([1, *widths])
        )
        self.decision = nn.Linear(sum(widths), 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, 1, H, W) to scores (B,)."""
        pooled = []
        for pair in self.pairs:
            x = pair(x)  # (B, filters, H/2, W/2), (B, 2 filters, H/4, W/4), (B, 4 filters, H/8, W/8)
            pooled.append(x.mean((2, 3)))
        return self.decision(torch.cat(pooled, dim=1))[:, 0]
