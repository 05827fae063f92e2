"""Training that stock engines of MONAI cannot do."""

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
    """Trains a separator and its critic in turn (*Towards unbiased COVID-19 lesion localisation*, section 2.2).

    A batch holds ``image`` (B, 1, H, W) in -1..1 and ``label`` (B,), 0 normal and 1 with lesions, and nothing else that
    training could see. ``engine.state.output``, a list as MONAI's trainers give it, has one dict: every weighted term
    of both losses by name, and ``loss``, the separator's sum. A batch without the slices that a network is taught by
    leaves that network as it is, and its terms out; ``loss`` is then 0.

    On several devices gradients are averaged by hand: DistributedDataParallel does not go together with the second
    derivative that the gradient penalty takes. A step is taken on all of them or on none, and a loss that is not finite
    on one stops all. They start from the weights of the first, and must have as many batches, each of as many slices.

    Args:
        device: where to train.
        max_epochs: how long.
        train_data_loader: gives the batches.
        separator: (B, 1, H, W) to (B, 2, H, W), normal version and lesions; see
            ``common.networks.weak_gan.LesionSeparator``.
        optimizer: of the separator.
        loss: of the separator: ``common.weak_gan.losses.SeparationLoss``, or another with its call.
        critic: (B, 1, H, W) to (B,); None trains without.
        critic_optimizer: of the critic.
        critic_loss: of the critic.
        critic_steps: of the critic before each one of the separator.
        made_from: the slices that normal versions are made from, in training the critic and the separator: ``all``, or
            ``lesions``, those with lesions alone (VA-GAN).
        inferer: calls both networks; float32 by default. Mixed precision must not be float16, whose losses would need
            scaling; the gradient penalty stays float32 in any case.
        train_handlers: of the engine.
        epoch_length: iterations an epoch, by default those of the loader.
        non_blocking: copy to the device meanwhile.

    Raises:
        ValueError: for a critic without optimiser, or an unknown ``made_from``; in training, naming the term, where a
            loss is not finite.
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
            raise ValueError("A critic needs an optimiser, a loss and one step or more. Give them, or no critic.")
        if made_from not in ("all", "lesions"):
            raise ValueError(f"Normal versions are made from 'all' slices or those with 'lesions', got {made_from!r}.")
        self.separator, self.optimizer, self.loss = separator, optimizer, loss
        self.critic, self.critic_optimizer, self.critic_loss = critic, critic_optimizer, critic_loss
        self.critic_steps, self.made_from, self.inferer = critic_steps, made_from, inferer or MixedPrecisionInferer()
        self.add_event_handler(Events.STARTED, self.share_weights)  # after checkpoints are restored

    def share_weights(self) -> None:
        """Start from the weights of the first device."""
        for network in (self.separator, self.critic):
            if joined() and network is not None:
                for tensor in network.state_dict().values():
                    torch.distributed.broadcast(tensor, 0)

    def _iteration(self, engine: Engine, batchdata: Mapping[str, torch.Tensor]) -> list[dict[str, float]]:  # type: ignore[override]
        # 1. The batch: normal slices, and those that normal versions are made from
        device = engine.state.device  # type: ignore[attr-defined]
        x = torch.as_tensor(batchdata["image"]).to(device, non_blocking=self.non_blocking)
        is_normal = torch.as_tensor(batchdata["label"]).to(device).flatten() == 0
        normal = x[is_normal]
        if self.made_from == "lesions":
            x, is_normal = x[~is_normal], is_normal[~is_normal]
        terms: dict[str, torch.Tensor] = {}
        found: dict[str, torch.Tensor] = {}
        if self.everywhere(len(x) > 0):
            # 2. Both steps share this pass, for the critic's does not change the separator
            self.separator.train()
            normal_version, lesions = self.inferer(x, self.separator).split(1, dim=1)

            # 3. Critic: normal slices beside normal versions, which are given as they are
            if self.critic is not None and self.everywhere(len(normal) > 0):
                self.critic.train().requires_grad_(True)
                made, judge = normal_version.detach(), partial(self.inferer, network=self.critic)
                for _ in range(self.critic_steps):
                    terms = self.critic_loss(self.critic, normal, made, judge)  # type: ignore[misc]
                    self.step(self.critic, self.critic_optimizer, terms)  # type: ignore[arg-type]

            # 4. Separator: the critic judges, and is not taught
            verdict = None
            if self.critic is not None:
                self.critic.requires_grad_(False)
                verdict = self.inferer(normal_version, self.critic)
            found = self.loss(x, normal_version, lesions, is_normal, verdict)
            self.step(self.separator, self.optimizer, found)
        values = {name: float(value.detach()) for name, value in (terms | found).items()}
        return [values | {"loss": sum(values[name] for name in found)}]

    def everywhere(self, holds: bool) -> bool:
        """Whether something holds on every device."""
        if joined():
            devices = torch.tensor(int(holds), device=self.state.device)  # type: ignore[attr-defined]
            torch.distributed.all_reduce(devices, torch.distributed.ReduceOp.MIN)
            return bool(devices)
        return holds

    def step(self, network: nn.Module, optimizer: Optimizer, terms: Mapping[str, torch.Tensor]) -> None:
        """One step of one network by the sum of its terms.

        Raises:
            ValueError: on every device, naming the term that is not finite, before the network has changed.
        """
        values = zip(terms, torch.stack([value.detach() for value in terms.values()]).tolist(), strict=True)
        wrong = [f"{name} {value}" for name, value in values if not isfinite(value)]
        if not self.everywhere(not wrong):
            got = wrong[0] if wrong else "one on another device that is not,"
            raise ValueError(
                f"Every loss must be finite, got {got} in epoch {self.state.epoch}, iteration {self.state.iteration}. "
                "last.pt holds the epoch before: go on from there with a lower --learning_rate and --resume True."
            )
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        if joined():
            for parameter in network.parameters():
                if parameter.grad is not None:
                    torch.distributed.all_reduce(parameter.grad)
                    parameter.grad /= torch.distributed.get_world_size()
        optimizer.step()
