"""Networks that *Towards unbiased COVID-19 lesion localisation* (section 3.2) compares its separator with.

Biomarker localisation needs none of its own: its generator is ``LesionSeparator(lesions=False)``.
"""

from __future__ import annotations

import torch
from monai.networks.nets import ResNet
from torch import nn

from .unet import classic_unet
from .weak_gan import start_near_zero


def lesion_classifier(filters: int = 64) -> ResNet:
    """ResNet18 that tells slices with lesions (1) from normal ones (0), for CAM, Grad-CAM and biomarker localisation.

    He et al. (2016), with one channel in and two classes: 11,171,266 parameters. ``layer4`` gives its last maps, of a
    32nd of the slice's height and width; ``fc`` weighs their averages.

    Args:
        filters: channels of the first stage; each of the other three doubles them.

    Shapes:
        (B, 1, H, W) to logits (B, 2).
    """
    return ResNet(
        "basic",
        [2, 2, 2, 2],
        [filters * 2**stage for stage in range(4)],
        spatial_dims=2,
        n_input_channels=1,
        conv1_t_stride=2,
        num_classes=2,
        bias_downsample=False,
    )


class MapNetwork(nn.Module):
    """VA-GAN's map M(x), which added to a slice with lesions makes it look normal (Baumgartner et al., CVPR 2018).

    M is Ronneberger's U-Net, the separator's own, so that methods are compared and not networks. The authors' code
    (github.com/baumgach/vagan-code) has 16 filters, three halvings and batch norm, and puts a tanh around x + M(x);
    here, as in the paper's formula, there is none.

    Args:
        filters: channels of the first level; each level doubles them.

    Shapes:
        (B, 1, H, W) in -1..1, H and W multiples of 16, to (B, 2, H, W): normal version x + M(x) and lesions -M(x), both
        without bounds.
    """

    def __init__(self, filters: int = 64) -> None:
        super().__init__()
        self.map = classic_unet(1, 1, filters)
        start_near_zero(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        change = self.map(x)
        return torch.cat([x + change, -change], dim=1)
