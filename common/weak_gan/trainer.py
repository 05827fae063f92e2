"""The trainer of the weak GAN, which MONAI's trainers do not cover."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import isfinite
from typing import Any

import torch
import torch.distributed
from ignite.engine import Engine, Events
from monai.engines import Trainer
from monai.inferers import Inferer
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from ..inferers import MixedPrecisionInferer
from ..run.distributed import joined
from .losses import CriticLoss


class SeparationTrainer(Trainer):
    """Train a separator and its critic in turn (*Towards unbiased COVID-19 lesion localisation*, section 2.2).

    A batch holds ``image`` (B, 1, H, W) in -1..1 and ``label`` (B,), 0 for normal slices and 1 for slices with lesions.
    Training sees nothing else. ``engine.state.output`` is a list of one dict, as in MONAI's trainers: each weighted
    term of both losses by name, and ``loss``, the sum of the separator's terms. If a batch has no slices to train a
    network on, that network is not changed and its terms are missing; ``loss`` is 0 if the separator was not trained.

    On several devices, the gradients are averaged here: DistributedDataParallel does not support the second derivative
    of the gradient penalty. Either all devices take a step or none does, and a loss that is not finite on one device
    stops all. All devices start from the weights of the first. They must have equally many batches, of the same size.

    Args:
        device: device to train on.
        max_epochs: number of epochs.
        train_data_loader: loader of the batches.
        separator: network (B, 1, H, W) to (B, 2, H, W), normal version and lesions; see
            ``common.networks.weak_gan.LesionSeparator``.
        optimizer: optimiser of the separator.
        loss: loss of the separator: ``common.weak_gan.losses.SeparationLoss``, or another with the same call.
        critic: network (B, 1, H, W) to scores (B,); None trains without critic.
        critic_optimizer: optimiser of the critic.
        critic_loss: loss of the critic.
        critic_steps: steps of the critic before each step of the separator.
        made_from: slices that normal versions are made from in training: ``all``, or ``lesions``, only those with
            lesions (VA-GAN).
        inferer: calls both networks; float32 by default. Mixed precision must not be float16, because losses are not
            scaled. The gradient penalty is always computed in float32.
        train_handlers: handlers of the engine.
        epoch_length: iterations per epoch; by default the length of the loader.
        non_blocking: whether to copy batches to the device asynchronously.

    Raises:
        ValueError: for a critic without optimiser, loss or steps, or an unknown ``made_from``. In training, if a loss
            is not finite; names the term.
    """

    def __init__(
        self,
        device: str | torch.device,
        max_epochs: int,
        train_data_loader: DataLoader,
        separator: nn.Module,
        optimizer: Optimizer,
        loss: nn.Module,
        critic: nn.Module | None = None,
        critic_optimizer: Optimizer | None = None,
        critic_loss: CriticLoss | None = None,
        critic_steps: int = 1,
        made_from: str = "all",
        inferer: Inferer | None = None,
        train_handlers: Sequence[Any] | None = None,
        epoch_length: int | None = None,
        non_blocking: bool = False,
    ) -> None:
        super().__init__(
            device=torch.device(device),
            max_epochs=max_epochs,
            data_loader=train_data_loader,
            epoch_length=epoch_length,
            non_blocking=non_blocking,
            handlers=train_handlers,
            decollate=False,
        )
        if critic is not None and (critic_optimizer is None or critic_loss is None or critic_steps < 1):
            raise ValueError(
                "A critic needs critic_optimizer and critic_loss, and critic_steps of at least 1, got "
                f"critic_steps={critic_steps}. Give all three, or no critic."
            )
        if made_from not in ("all", "lesions"):
            raise ValueError(f"made_from must be 'all' or 'lesions', got {made_from!r}. Choose one of them.")
        self.separator, self.optimizer, self.loss = separator, optimizer, loss
        self.critic, self.critic_optimizer, self.critic_loss = critic, critic_optimizer, critic_loss
        self.critic_steps, self.made_from, self.inferer = critic_steps, made_from, inferer or MixedPrecisionInferer()
        self.add_event_handler(Events.STARTED, self.broadcast_weights)  # after checkpoints are restored

    def broadcast_weights(self) -> None:
        """Copy the weights of the first device to all devices."""
        for network in (self.separator, self.critic):
            if joined() and network is not None:
                for tensor in network.state_dict().values():
                    torch.distributed.broadcast(tensor, 0)

    def _iteration(self, engine: Engine, batchdata: Mapping[str, torch.Tensor]) -> list[dict[str, float]]:  # type: ignore[override]
        # 1. Batch: the normal slices, and the slices to make normal versions of
        device = engine.state.device  # type: ignore[attr-defined]
        x = torch.as_tensor(batchdata["image"]).to(device, non_blocking=self.non_blocking)
        is_normal = torch.as_tensor(batchdata["label"]).to(device).flatten() == 0
        normal = x[is_normal]
        if self.made_from == "lesions":
            x, is_normal = x[~is_normal], is_normal[~is_normal]
        critic_terms: dict[str, torch.Tensor] = {}
        separator_terms: dict[str, torch.Tensor] = {}
        if self.on_all_devices(len(x) > 0):
            # 2. Forward pass of the separator, for both steps: the critic's step does not change the separator
            self.separator.train()
            normal_version, lesions = self.inferer(x, self.separator).split(1, dim=1)

            # 3. Critic: normal slices are real, normal versions are fake; no gradient reaches the separator
            if self.critic is not None and self.on_all_devices(len(normal) > 0):
                self.critic.train().requires_grad_(True)
                fake, score = normal_version.detach(), partial(self.inferer, network=self.critic)
                for _ in range(self.critic_steps):
                    critic_terms = self.critic_loss(self.critic, normal, fake, score)  # type: ignore[misc]
                    self.step(self.critic, self.critic_optimizer, critic_terms)  # type: ignore[arg-type]

            # 4. Separator: the critic scores the normal versions, and is frozen
            critic_score = None
            if self.critic is not None:
                self.critic.requires_grad_(False)
                critic_score = self.inferer(normal_version, self.critic)
            separator_terms = self.loss(x, normal_version, lesions, is_normal, critic_score)
            self.step(self.separator, self.optimizer, separator_terms)
        values = {name: float(value.detach()) for name, value in (critic_terms | separator_terms).items()}
        return [values | {"loss": sum(values[name] for name in separator_terms)}]

    def on_all_devices(self, condition: bool) -> bool:
        """Return whether a condition is true on every device."""
        if joined():
            devices = torch.tensor(int(condition), device=self.state.device)  # type: ignore[attr-defined]
            torch.distributed.all_reduce(devices, torch.distributed.ReduceOp.MIN)
            return bool(devices)
        return condition

    def step(self, network: nn.Module, optimizer: Optimizer, terms: Mapping[str, torch.Tensor]) -> None:
        """Take one optimiser step of a network on the sum of its loss terms.

        Raises:
            ValueError: on all devices, before the network changes, if a term is not finite; names the term.
        """
        values = zip(terms, torch.stack([value.detach() for value in terms.values()]).tolist(), strict=True)
        not_finite = [f"{name} {value}" for name, value in values if not isfinite(value)]
        if not self.on_all_devices(not not_finite):
            got = not_finite[0] if not_finite else "NaN or infinity on another device"
            raise ValueError(
                f"Every loss must be finite, got {got} in epoch {self.state.epoch}, iteration {self.state.iteration}. "
                "last.pt holds the epoch before: resume from it with a lower --learning_rate and --resume True."
            )
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        if joined():
            for parameter in network.parameters():
                if parameter.grad is not None:
                    torch.distributed.all_reduce(parameter.grad)
                    parameter.grad /= torch.distributed.get_world_size()
        optimizer.step()
