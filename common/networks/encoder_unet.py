"""U-Net with a choice of encoders (thesis *Segmentation by transfer learning on MosMedData*, chapters 6 to 9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.networks.nets import FLEXUNET_BACKBONE, FlexibleUNet
from monai.networks.nets.basic_unet import UpCat
from monai.networks.nets.flexible_unet import SegmentationHead
from torch import nn

from .encoders import ENCODERS

NORM = ("batch", {"eps": 1e-3, "momentum": 0.1})
ACT = ("relu", {"inplace": True})
# Mean and standard deviation of RGB in 0..1 as torchvision documents them, averaged because CT has one channel
MEAN = (0.485 + 0.456 + 0.406) / 3  # 0.449
STD = (0.229 + 0.224 + 0.225) / 3  # 0.226
INPUTS = {"window": (0.0, 1.0), "imagenet": (2 * MEAN - 1, 2 * STD)}  # mean and standard deviation of an input in -1..1
DECODERS = ("own", "equal")


class EncoderUNet(FlexibleUNet):
    """MONAI's ``FlexibleUNet`` with the decoder of section 6.1.

    Each decoder level has a 2x2 transposed convolution and two 3x3 convolutions. A 1x1 convolution ends the network.
    Three things are added to ``FlexibleUNet``:

    - Where the encoder gives a map of the input's size (U-Net, VGG19), it becomes a skip connection too.
    - The input may have any size. Its border is repeated up to a multiple of the smallest map's stride, and the output
      is cropped to the input's size.
    - The input is normalised as ``(x - input_mean) / input_std``. Both are saved with the weights, and weights that
      were trained with others are refused.

    With one input and one output channel, the network with the U-Net encoder has 31,036,481 parameters.

    Args:
        encoder: ``unet``, ``vgg19``, ``resnet34`` or ``mobilenetv2``, as in the thesis; or ``efficientnet_lite0``.
        in_channels: channels of the input.
        out_channels: number of classes.
        dropout: probability that each feature map is dropped before the last convolution, for estimates of uncertainty;
            0 in the thesis.
        decoder: channels of the decoder's levels: ``own``, those of the encoder, ``Encoder.decoder``; or ``equal``, the
            U-Net's at each size, 512 at 1/8 to 64 at 1/1, and 512 at 1/16 too where the encoder ends at 1/32.
        normalise: ``window`` takes the input as it is, -1..1; ``imagenet`` takes it as grey levels 0..1 and normalises
            them by ImageNet's mean and standard deviation.

    Shapes:
        (B, in_channels, H, W) to logits (B, out_channels, H, W).

    Raises:
        ValueError: for an unknown encoder, decoder or normalisation; on loading, for weights that were trained with
            another normalisation.

    Example:
        >>> network = EncoderUNet("resnet34")
        >>> network(torch.zeros(1, 1, 100, 90)).shape
        torch.Size([1, 1, 100, 90])
    """

    def __init__(
        self,
        encoder: str,
        in_channels: int = 1,
        out_channels: int = 1,
        dropout: float = 0.0,
        decoder: str = "own",
        normalise: str = "window",
    ) -> None:
        for name, value, known in (
            ("encoder", encoder, ENCODERS),
            ("decoder", decoder, DECODERS),
            ("normalise", normalise, INPUTS),
        ):
            if value not in known:
                raise ValueError(f"Unknown {name} {value!r}. Choose one of: {', '.join(known)}.")
        encoder_class = ENCODERS[encoder]
        widths = encoder_class.decoder[: len(encoder_class.channels)]
        if decoder == "equal":
            *deeper, last = ENCODERS["unet"].decoder[::-1]  # from the finest level
            widths = (*[last] * (len(widths) - len(deeper)), *deeper[::-1])
        FLEXUNET_BACKBONE.register_class(encoder_class)  # type: ignore[arg-type]
        super().__init__(
            in_channels,
            out_channels,
            encoder_class.backbone,
            decoder_channels=widths,
            norm=NORM,
            act=ACT,
            upsample="deconv",
            is_pad=False,
        )
        if encoder_class.full_resolution:
            *_, wide, narrow = widths
            self.decoder.blocks[-1] = UpCat(
                2, wide, encoder_class.full_resolution, narrow, ACT, NORM, bias=False, is_pad=False
            )
            self.skip_connect += 1
        self.segmentation_head = SegmentationHead(2, widths[-1], out_channels, kernel_size=1)
        self.dropout = nn.Dropout2d(dropout)
        self.stride = 2 ** len(encoder_class.channels)
        self.input_mean, self.input_std = (nn.Buffer(torch.tensor(value)) for value in INPUTS[normalise])

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map (B, in_channels, H, W) to logits (B, out_channels, H, W)."""
        height, width = inputs.shape[-2], inputs.shape[-1]
        x = (inputs - self.input_mean) / self.input_std
        x = nn.functional.pad(x, [0, -width % self.stride, 0, -height % self.stride], mode="replicate")
        x = self.dropout(self.decoder(self.encoder(x), self.skip_connect))
        return self.segmentation_head(x)[..., :height, :width]

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *others: Any) -> None:
        """Refuse weights that were trained on inputs of another scale; torch calls this when it loads them."""
        for name, own in (("input_mean", self.input_mean), ("input_std", self.input_std)):
            given = state_dict.get(prefix + name)
            if given is not None and not torch.allclose(given.to(own), own, atol=1e-3):
                scale = next((word for word, (mean, _) in INPUTS.items() if abs(mean - float(given)) < 1e-3), "another")
                raise ValueError(
                    f"The weights must have been trained on inputs as this network takes them, but their {name} is "
                    f"{float(given):.3f} instead of {float(own):.3f}. Give --normalise {scale}, or other weights."
                )
        super()._load_from_state_dict(state_dict, prefix, *others)
