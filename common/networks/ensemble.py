"""Several networks of one kind, whose probabilities are averaged."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from ..run.model_record import weights_files

LEAST = 1e-7  # probability below which a logit is not told apart from minus infinity


class Ensemble(nn.Module):
    """Average the probabilities of several networks; the output are logits that give these averages.

    Whatever takes the logits of one network takes those of an ensemble.

    Args:
        members: networks with the same input and output.
        activation: ``softmax`` over classes that exclude each other, or ``sigmoid``.

    Shapes:
        (B, C, H, W) to (B, classes, H, W).

    Raises:
        ValueError: for another activation.
    """

    def __init__(self, members: list[nn.Module], activation: str) -> None:
        super().__init__()
        if activation not in ("softmax", "sigmoid"):
            raise ValueError(f"Unknown activation {activation!r}. Choose 'softmax' or 'sigmoid'.")
        self.members, self.activation = nn.ModuleList(members), activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of the averages, float32."""
        logits = torch.stack([member(x).float() for member in self.members])  # (members, B, classes, H, W)
        if self.activation == "softmax":
            return logits.softmax(2).mean(0).clamp(min=LEAST).log()
        return logits.sigmoid().mean(0).logit(LEAST)


def members(network: nn.Module, weights: Any, activation: str) -> nn.Module:
    """Return a network for one file of weights, and an ensemble of such networks for a list of files.

    ``common.transfer.load_weights`` loads them.

    Args:
        network: on its device; an ensemble holds copies.
        weights: ``--weights``: a path, or a list of paths.
        activation: see ``Ensemble``.

    Example:
        >>> members(classic_unet(1, 7), ["fold0/model.pt", "fold1/model.pt"], "softmax").members
    """
    count = len(weights_files(weights, several=True))
    return Ensemble([copy.deepcopy(network) for _ in range(count)], activation) if count > 1 else network
