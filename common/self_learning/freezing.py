"""Freeze the first layers of a network while the others learn."""

from __future__ import annotations

import logging
import re

import torch
from monai.networks.utils import freeze_layers
from torch import nn

logger = logging.getLogger(__name__)


def first_layers(network: nn.Module, count: int) -> list[str]:
    """Names of the modules with weights up to the ``count``-th convolution, in the order in which they are defined.

    A layer is a convolution, together with the batch norms between it and the one before. The first two of
    ``networks.drsegunet.DRSegUNet`` are the 3x3 convolutions of its stem (``conv2d`` and ``conv2d-1`` in table 2);
    the stem's 1x1 shortcut would be the third.

    Args:
        network: the network.
        count: number of layers, 0 or more.

    Raises:
        ValueError: for a count below 0, or if no layer would be left to learn.
    """
    weighted = [
        (name, module) for name, module in network.named_modules() if next(module.parameters(False), None) is not None
    ]
    layers = [
        place for place, (_, module) in enumerate(weighted) if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d))
    ]
    if not 0 <= count < len(layers):
        raise ValueError(
            f"The number of frozen layers must be in 0 to {len(layers) - 1}, because {type(network).__name__} has "
            f"{len(layers)} layers and at least one must learn; got {count}. Freeze fewer."
        )
    return [name for name, _ in weighted[: layers[count - 1] + 1]] if count else []


def freeze_first(network: nn.Module, count: int) -> nn.Module:
    """Freeze the first layers: their weights, and mean and variance of their batch norms.

    A frozen batch norm normalises with its learned mean and variance in training too, as in Keras with
    ``trainable=False``. The optimiser may hold all parameters: those without gradient do not change.

    Args:
        network: changed in place.
        count: number of layers; see ``first_layers``.

    Returns:
        The same network.

    Raises:
        ValueError: see ``first_layers``.

    Example:
        >>> from common.networks.drsegunet import DRSegUNet
        >>> network = freeze_first(DRSegUNet(), 2)
        >>> sum(not parameter.requires_grad for parameter in network.parameters()) > 0
        True
    """
    names = first_layers(network, count)
    if not names:
        return network
    freeze_layers(network, freeze_vars=f"^({'|'.join(map(re.escape, names))})[.][^.]+$")
    for name in names:
        module = network.get_submodule(name)
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.register_forward_pre_hook(_evaluate)  # trainers set the whole network to training mode
    logger.info("Frozen: %s.", ", ".join(names))
    return network


def _evaluate(module: nn.Module, _: tuple[torch.Tensor, ...]) -> None:
    module.eval()
