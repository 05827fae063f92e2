"""Slices and a trainer of the weak GAN, for tests."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from common.networks.weak_gan import Critic, LesionSeparator
from common.weak_gan.losses import CriticLoss, SeparationLoss
from common.weak_gan.trainer import SeparationTrainer


class Slices:
    """Slices of noise, every other one with a bright square and the label 1."""

    def __init__(self, count: int = 8, size: int = 32) -> None:
        generator = np.random.default_rng(0)
        self.items: list[dict[str, Any]] = []
        for number in range(count):
            image = generator.normal(-0.6, 0.1, (1, size, size)).astype(np.float32)
            if number % 2:
                image[:, 8:16, 8:16] += 0.8
            self.items.append({"image": torch.from_numpy(image.clip(-1, 1)), "label": number % 2})

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.items[index]


def trainer(critic: bool = True, epochs: int = 1, rate: float = 2e-4, **settings: Any) -> SeparationTrainer:
    torch.manual_seed(0)
    separator, critic_network = settings.pop("separator", None) or LesionSeparator(filters=4), Critic(filters=4)
    defaults = {
        "train_data_loader": DataLoader(Slices(), batch_size=4),  # type: ignore[arg-type]
        "loss": SeparationLoss(),
    }
    return SeparationTrainer(
        device="cpu",
        max_epochs=epochs,
        separator=separator,
        optimizer=torch.optim.Adam(separator.parameters(), rate),
        critic=critic_network if critic else None,
        critic_optimizer=torch.optim.Adam(critic_network.parameters(), rate),
        critic_loss=CriticLoss(),
        **(defaults | settings),
    )


def watch(engine: SeparationTrainer) -> list[nn.Module]:
    """The networks in the order of their steps; each step is checked to change only one of them."""
    taught: list[nn.Module] = []
    original = engine.step

    def watched(network: nn.Module, optimizer: Any, terms: Any) -> None:
        other: Any = engine.critic if network is engine.separator else engine.separator
        before = copy.deepcopy(other.state_dict())
        for parameter in other.parameters():
            parameter.grad = None
        original(network, optimizer, terms)
        assert all(parameter.grad is None for parameter in other.parameters())
        assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())
        assert all(parameter.grad is not None for parameter in network.parameters())
        taught.append(network)

    engine.step = watched  # type: ignore[method-assign]
    return taught
