"""The classifier behind CAM, Grad-CAM and biomarker localisation, which the weak GAN is compared with.

See *Towards unbiased COVID-19 lesion localisation*, section 3.2.
"""

from __future__ import annotations

from monai.networks.nets import ResNet


def lesion_classifier(filters: int = 64) -> ResNet:
    """Build a ResNet18 that classifies slices: normal (0) or with lesions (1).

    He et al. (2016), with one input channel and two classes: 11,171,266 parameters. ``layer4`` gives the last feature
    maps, with 1/32 of the slice's height and width; ``fc`` weights their averages.

    Args:
        filters: channels of the first stage; each of the other three stages doubles them.

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
