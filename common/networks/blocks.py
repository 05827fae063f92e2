"""Building blocks that several networks share."""

from __future__ import annotations

import torch
from monai.networks.nets import FlexibleUNet
from torch import nn
from torch.fx.experimental.optimization import fuse

LEVELS = 4  # times that height and width are halved


def convolution(in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1) -> nn.Conv2d:
    """Return a convolution with bias: (B, in, H, W) to (B, out, H / stride, W / stride)."""
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2)


class DepthwiseConv2d(nn.Conv2d):
    """Convolution of each channel by itself, in float32 where gradients are computed on a CPU.

    In bfloat16 the backward pass of EfficientNet-Lite0 takes twice as long there, and a training step 1.6 times.

    Args:
        channels: of input and output.
        kernel_size, stride, padding: see ``torch.nn.Conv2d``.
    """

    def __init__(self, channels: int, kernel_size: int = 3, stride: int = 1, padding: int = 0) -> None:
        super().__init__(channels, channels, kernel_size, stride, padding, groups=channels, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, channels, H, W) to (B, channels, H / stride, W / stride)."""
        if torch.jit.is_scripting() or not torch.is_grad_enabled() or x.device.type != "cpu":
            return self._conv_forward(x, self.weight, None)
        with torch.autocast("cpu", enabled=False):
            return self._conv_forward(x.float(), self.weight, None)


def upsampling(in_channels: int, out_channels: int, decoder: str) -> tuple[nn.Module, int]:
    """Return a layer that doubles height and width, and the number of its output channels.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output of a transposed convolution. Interpolation keeps ``in_channels``.
        decoder: ``transposed`` (3x3, stride 2, learned), ``transposed 2x2`` (the up-convolution of Ronneberger et al.)
            or ``upsample`` (nearest neighbour, the default of Keras).

    Raises:
        ValueError: for an unknown decoder.
    """
    if decoder == "transposed":
        return nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1), out_channels
    if decoder == "transposed 2x2":
        return nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2), out_channels
    if decoder == "upsample":
        return nn.Upsample(scale_factor=2.0, mode="nearest"), in_channels
    raise ValueError(f"Unknown decoder {decoder!r}. Choose 'transposed', 'transposed 2x2' or 'upsample'.")


def check_size(height: int, width: int, multiple: int = 16) -> None:
    """Check that height and width can be halved as often as a network does, by default four times.

    Raises:
        ValueError: if height or width is not a multiple.
    """
    if height % multiple or width % multiple:  # 2**LEVELS as a number: TorchScript cannot read module variables
        rule = f"Height and width must be multiples of {multiple}, got {height} x {width}"
        raise ValueError(f"{rule}. Resize or pad the image.")


def initialise_like_keras(network: nn.Module) -> None:
    """Set Glorot-uniform weights and zero biases: the defaults of Keras, which the thesis used."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def initialise_for_relu(network: nn.Module) -> None:
    """Set the initial weights of He et al. for ReLU, as torchvision does for VGG, ResNet and MobileNetV2."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def keras_parameter_count(network: nn.Module) -> int:
    """Count the parameters as Keras does: with the running mean and variance of each batch norm."""
    running = sum(
        buffer.numel() for name, buffer in network.named_buffers() if name.endswith(("running_mean", "running_var"))
    )
    return sum(parameter.numel() for parameter in network.parameters()) + running


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """Return a copy for inference in which batch norms are folded into the convolutions before them.

    The copy computes the same function up to rounding. It saves two thirds of DRSegUNet's batch norms, and an eighth
    of its time on a CPU.

    MONAI's ``FlexibleUNet`` stays as it is: the tracing that folding needs loses its skip connections.

    Args:
        network: network with its final weights. It is switched to evaluation mode.
    """
    if any(isinstance(module, FlexibleUNet) for module in network.modules()):
        return network.eval()
    return fuse(network.eval())


class PreActivatedConvolution(nn.Sequential):
    """Batch norm, ReLU, 3x3 convolution: (B, in, H, W) to (B, out, H / stride, W / stride)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(
            nn.BatchNorm2d(in_channels), nn.ReLU(inplace=True), convolution(in_channels, out_channels, stride=stride)
        )


class ResidualBlock(nn.Module):
    """Residual block: two pre-activated 3x3 convolutions, plus a shortcut of a 1x1 convolution with batch norm.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: stride of the first convolution and of the shortcut.
        body: replaces the two convolutions. The stem needs it: its first convolution has no activation before it.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, body: nn.Module | None = None) -> None:
        super().__init__()
        self.body = body or nn.Sequential(
            PreActivatedConvolution(in_channels, out_channels, stride),
            PreActivatedConvolution(out_channels, out_channels),
        )
        self.shortcut = nn.Sequential(
            convolution(in_channels, out_channels, kernel_size=1, stride=stride), nn.BatchNorm2d(out_channels)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, in, H, W) to (B, out, H / stride, W / stride)."""
        return self.body(x) + self.shortcut(x)
