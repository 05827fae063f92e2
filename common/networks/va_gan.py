"""The network of VA-GAN (Baumgartner et al., CVPR 2018), which the weak GAN is compared with."""

from __future__ import annotations

import torch
from torch import nn

from .unet import classic_unet
from .weak_gan import start_near_zero


class MapNetwork(nn.Module):
    """VA-GAN's map M(x): added to a slice with lesions, it makes the slice look normal.

    M is the U-Net of Ronneberger et al., as in the separator, so that the comparison is between methods and not between
    networks. The authors' code (github.com/baumgach/vagan-code) has 16 filters, three halvings and batch norm, and
    applies tanh to x + M(x). This class follows the paper's formula, which has no tanh.

    Args:
        filters: channels of the first level; each level doubles them.

    Shapes:
        (B, 1, H, W) in -1..1, H and W multiples of 16, to (B, 2, H, W): normal version x + M(x) and lesions -M(x), both
        unbounded.
    """

    def __init__(self, filters: int = 64) -> None:
        super().__init__()
        self.map = classic_unet(1, 1, filters)
        start_near_zero(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the normal version and the lesions; shapes as in the class."""
        change = self.map(x)
        return torch.cat([x + change, -change], dim=1)
