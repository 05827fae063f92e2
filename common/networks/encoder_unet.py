"""A U-Net whose encoder is one of four (*Segmentation by transfer learning on MosMedData*, chapters 6 to 9)."""

from __future__ import annotations

import torch
from monai.networks.nets import FLEXUNET_BACKBONE, FlexibleUNet
from monai.networks.nets.basic_unet import UpCat
from monai.networks.nets.flexible_unet import SegmentationHead
from torch import nn

from .encoders import ENCODERS

NORM = ("batch", {"eps": 1e-3, "momentum": 0.1})
ACT = ("relu", {"inplace": True})


class EncoderUNet(FlexibleUNet):
    """MONAI's ``FlexibleUNet`` with section 6.1's decoder: 2x2 transposed convolutions, two 3x3 ones, a 1x1 at the end.

    It adds three things. Encoders that give a map of the input's own size (U-Net, VGG19) have it joined too, as a U-Net
    does. Any size goes in: it is padded by its border to a multiple of the smallest map's stride, and the result cut.
    And the input passes ``(x - input_mean) / input_std``, which is nothing (0 and 1) unless ImageNet weights need it:
    both are part of the weights, so that nobody who loads them can forget them.

    With one channel in and out the U-Net has 31,036,481 parameters.

    Args:
        encoder: ``unet``, ``vgg19``, ``resnet34`` or ``mobilenetv2``.
        in_channels: channels of the input.
        out_channels: classes.
        dropout: probability of each map before the last convolution; the text has none, uncertainty is measured by it.

    Shapes:
        (B, in_channels, H, W) to logits (B, out_channels, H, W).

    Raises:
        ValueError: for an unknown encoder.
    """

    def __init__(self, encoder: str, in_channels: int = 1, out_channels: int = 1, dropout: float = 0.0) -> None:
        if encoder not in ENCODERS:
            raise ValueError(f"Unknown encoder {encoder!r}. Choose one of: {', '.join(ENCODERS)}.")
        parts = ENCODERS[encoder]
        FLEXUNET_BACKBONE.register_class(parts)  # type: ignore[arg-type]
        super().__init__(
            in_channels,
            out_channels,
            parts.backbone,
            decoder_channels=parts.decoder,
            norm=NORM,
            act=ACT,
            upsample="deconv",
            is_pad=False,
        )
        if parts.full_resolution:
            *_, wide, narrow = parts.decoder[: len(parts.channels)]
            self.decoder.blocks[-1] = UpCat(2, wide, parts.full_resolution, narrow, ACT, NORM, bias=False, is_pad=False)
            self.skip_connect += 1
        self.segmentation_head = SegmentationHead(
            2, parts.decoder[len(parts.channels) - 1], out_channels, kernel_size=1
        )
        self.dropout = nn.Dropout2d(dropout)
        self.stride = 2 ** len(parts.channels)
        self.input_mean, self.input_std = nn.Buffer(torch.zeros(())), nn.Buffer(torch.ones(()))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(B, in_channels, H, W) to logits (B, out_channels, H, W)."""
        height, width = inputs.shape[-2], inputs.shape[-1]
        x = (inputs - self.input_mean) / self.input_std
        x = nn.functional.pad(x, [0, -width % self.stride, 0, -height % self.stride], mode="replicate")
        x = self.dropout(self.decoder(self.encoder(x), self.skip_connect))
        return self.segmentation_head(x)[..., :height, :width]
