"""Random numbers that are the same in every run of an epoch."""

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
    """Make all randomness of an epoch depend on seed and epoch alone.

    The order of samples, augmentation and dropout of epoch 7 are then the same in a run that was interrupted and
    resumed as in one that was not, without random states in checkpoints. With several processes the sampler decides on
    the order, and everything else differs from process to process.

    Args:
        seed: of the training.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer, before its other handlers."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Seed Python, NumPy, torch and the dataset's random transforms."""
        # MONAI's datasets count on from this seed, so epochs lie 1000 apart, and processes 1000 epochs apart.
        seed = self.seed + 1000 * engine.state.epoch + 1_000_000 * rank()
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        set_rnd(engine.data_loader.dataset, seed)  # type: ignore[attr-defined]
