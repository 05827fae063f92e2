"""U-Net with a choice of four encoders (thesis *Segmentation by transfer learning on MosMedData*, chapters 6 to 9)."""

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
    """MONAI's ``FlexibleUNet`` with the decoder of section 6.1.

    Each decoder level has a 2x2 transposed convolution and two 3x3 convolutions. A 1x1 convolution ends the network.
    Three things are added to ``FlexibleUNet``:

    - Where the encoder gives a map of the input's size (U-Net, VGG19), it becomes a skip connection too.
    - The input may have any size. Its border is repeated up to a multiple of the smallest map's stride, and the output
      is cropped to the input's size.
    - The input is normalised as ``(x - input_mean) / input_std``. These are 0 and 1 unless ImageNet weights need other
      values. They are saved with the weights, so loading the weights also restores them.

    With one input and one output channel, the network with the U-Net encoder has 31,036,481 parameters.

    Args:
        encoder: ``unet``, ``vgg19``, ``resnet34`` or ``mobilenetv2``.
        in_channels: channels of the input.
        out_channels: number of classes.
        dropout: probability that each feature map is dropped before the last convolution, for estimates of uncertainty;
            0 in the thesis.

    Shapes:
        (B, in_channels, H, W) to logits (B, out_channels, H, W).

    Raises:
        ValueError: for an unknown encoder.

    Example:
        >>> network = EncoderUNet("resnet34")
        >>> network(torch.zeros(1, 1, 100, 90)).shape
        torch.Size([1, 1, 100, 90])
    """

    def __init__(self, encoder: str, in_channels: int = 1, out_channels: int = 1, dropout: float = 0.0) -> None:
        if encoder not in ENCODERS:
            raise ValueError(f"Unknown encoder {encoder!r}. Choose one of: {', '.join(ENCODERS)}.")
        encoder_class = ENCODERS[encoder]
        FLEXUNET_BACKBONE.register_class(encoder_class)  # type: ignore[arg-type]
        super().__init__(
            in_channels,
            out_channels,
            encoder_class.backbone,
            decoder_channels=encoder_class.decoder,
            norm=NORM,
            act=ACT,
            upsample="deconv",
            is_pad=False,
        )
        if encoder_class.full_resolution:
            *_, wide, narrow = encoder_class.decoder[: len(encoder_class.channels)]
            self.decoder.blocks[-1] = UpCat(
                2, wide, encoder_class.full_resolution, narrow, ACT, NORM, bias=False, is_pad=False
            )
            self.skip_connect += 1
        self.segmentation_head = SegmentationHead(
            2, encoder_class.decoder[len(encoder_class.channels) - 1], out_channels, kernel_size=1
        )
        self.dropout = nn.Dropout2d(dropout)
        self.stride = 2 ** len(encoder_class.channels)
        self.input_mean, self.input_std = nn.Buffer(torch.zeros(())), nn.Buffer(torch.ones(()))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map (B, in_channels, H, W) to logits (B, out_channels, H, W)."""
        height, width = inputs.shape[-2], inputs.shape[-1]
        x = (inputs - self.input_mean) / self.input_std
        x = nn.functional.pad(x, [0, -width % self.stride, 0, -height % self.stride], mode="replicate")
        x = self.dropout(self.decoder(self.encoder(x), self.skip_connect))
        return self.segmentation_head(x)[..., :height, :width]
