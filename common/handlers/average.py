"""A running average of the weights, which scores better than the weights of any one step."""

from __future__ import annotations

from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.handlers import EMAHandler
from torch import nn


class AverageWeights(EMAHandler):
    """Ignite's exponential moving average of a network's weights and of its batch norms' statistics.

    ``ema_model`` is the averaged network: to validate with, and to save (``Checkpoint``'s ``averaged``). The average
    starts from the weights that the training starts from, and continues where a resumed training was.

    Args:
        network: that is trained.
        decay: share of the average that each step keeps; the average reaches back about 1 / (1 - decay) steps. At the
            beginning it reaches less far: step n keeps n / (n + 9) at most, as in TensorFlow's moving average.

    Example:
        >>> average = AverageWeights(network, decay=0.99)
        >>> average.attach(trainer)
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__(network, 1 - decay, handle_buffers="update")

    def attach(self, engine: Engine, *args: Any, **kwargs: Any) -> None:
        """Attach to a trainer, before its ``Checkpoint``, which restores the average of a resumed training."""
        engine.add_event_handler(Events.STARTED, self.start)
        super().attach(engine, *args, **kwargs)

    def start(self) -> None:
        """Begin with the weights as they are, which may have been loaded after the network was built."""
        self.ema_model.load_state_dict(self.model.state_dict())

    def _update_ema_model(self, engine: Engine, name: str) -> None:
        step = engine.state.iteration
        setattr(engine.state, name, max(self.momentum, 9 / (step + 9)))
        with torch.no_grad():
            super()._update_ema_model(engine, name)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The averaged weights, for checkpoints."""
        return self.ema_model.state_dict()

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Restore the averaged weights."""
        self.ema_model.load_state_dict(state)
