"""Features of an input, taken from a network's encoder while it works."""

from __future__ import annotations

from itertools import islice
from typing import Any

import torch
from torch import nn

from ..networks.drsegunet import DRSegUNet
from ..networks.ensemble import Ensemble
from .monitor import Monitor

QUARTERS = 4
SHALLOW = 3  # finest maps, which show noise, sharpness and grey levels


class WithFeatures(nn.Module):
    """A network that returns its logits and the features of its input from the same pass.

    Args:
        network: with an encoder; of an ensemble the first member is looked at.

    Shapes:
        (B, C, H, W) to the logits, and to one tensor (B, features) for each of ``common.outliers.changes.PARTS``; see
        ``pooled``.

    Raises:
        ValueError: for a network without an encoder.

    Example:
        >>> logits, texture, content, first, second = WithFeatures(UNet())(torch.zeros(1, 1, 64, 64))
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self._maps = network, []  # type: ignore[var-annotated]
        for module in encoder_modules(network):
            module.register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: object, output: Any) -> None:
        self._maps += output if isinstance(output, (list, tuple)) else [output]

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return logits and features."""
        self._maps.clear()
        logits = self.network(x)
        features = pooled(self._maps)
        self._maps.clear()
        return (logits, *features)


def watched(network: nn.Module, monitor: Monitor) -> nn.Module:
    """The network, with features if a monitor wants them.

    Args:
        network: see ``WithFeatures``. One without an encoder, such as one of your own in a config, stays as it is, and
            nothing is said of its cases, unless the monitor is to learn.
        monitor: that knows what is usual, or learns it.

    Raises:
        ValueError: for a network without an encoder, if the monitor learns.
    """
    if monitor.active and not monitor.every and not _has_encoder(network):
        return network
    return WithFeatures(network) if monitor.active else network


def _has_encoder(network: nn.Module) -> bool:
    try:
        return bool(encoder_modules(network))
    except ValueError:
        return False


def encoder_modules(network: nn.Module) -> list[nn.Module]:
    """The modules that together give the maps of a network's encoder, the finest first.

    Raises:
        ValueError: for a network without an encoder.
    """
    if isinstance(network, Ensemble):
        return encoder_modules(network.members[0])
    if isinstance(network, DRSegUNet):
        return [network.stem, *network.encoders]
    found = (module for name, module in network.named_modules() if name.rpartition(".")[2] == "encoder")
    first = list(islice(found, 1))
    if not first:
        raise ValueError(f"{type(network).__name__} has no encoder whose features could be compared.")
    return first


def pooled(maps: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """Numbers that describe the maps of an encoder.

    Args:
        maps: (B, C, H, W), the finest first.

    Returns:
        Mean and standard deviation of each channel of the finest maps; mean of each channel of the coarsest map; and,
        of each channel of the map before it, the differences of the outer and of the inner quarters of the rows, and of
        the columns. These differences change their sign when a map is mirrored. All (B, features).
    """
    texture = torch.cat([each for item in maps[:SHALLOW] for each in (item.mean((2, 3)), item.std((2, 3)))], 1)
    quarters = nn.functional.adaptive_avg_pool2d(maps[-2], QUARTERS)  # (B, C, 4, 4)
    halves = [
        torch.cat([each[..., 0] - each[..., 3], each[..., 1] - each[..., 2]], 1)  # (B, 2 C)
        for each in (quarters.mean(3), quarters.mean(2))
    ]
    return (texture, maps[-1].mean((2, 3)), *halves)
