"""Epochs whose random numbers can be repeated."""

from __future__ import annotations

import logging
import random

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data.utils import set_rnd

from ..run.distributed import rank

logger = logging.getLogger(__name__)


class EpochSeed:
    """Make the randomness of an epoch a function of seed and epoch alone.

    Order of samples, augmentation and dropout of epoch 7 are then the same in a run that was cut off and resumed as in
    one that was not, without random states in checkpoints. With several processes the sampler decides on the order, and
    all else differs from process to process.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer, before its other handlers."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Seed Python, NumPy, torch and the data set's random transforms."""
        # Leaves room for the data set, which counts on from it, and for a thousand epochs of each process.
        seed = self.seed + 1000 * engine.state.epoch + 1_000_000 * rank()
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        set_rnd(engine.data_loader.dataset, seed)  # type: ignore[attr-defined]
