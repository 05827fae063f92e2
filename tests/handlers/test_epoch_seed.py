"""An epoch's random numbers depend on the seed and its number only."""

from __future__ import annotations

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader, Dataset
from monai.transforms import RandFlipd

from common.handlers.epoch_seed import EpochSeed


def numbers(seed: int, epochs: list[int]) -> list[list[float]]:
    """Random flips and numbers that a training sees in each of the epochs."""
    data = Dataset([{"image": torch.arange(4.0).view(1, 2, 2)}] * 3, RandFlipd("image", prob=0.5))
    seen: list[list[float]] = []
    engine = Engine(lambda _, batch: None)
    engine.data_loader = DataLoader(data, batch_size=1, shuffle=True)  # type: ignore[attr-defined]
    EpochSeed(seed).attach(engine)
    for epoch in epochs:
        engine.state.epoch = epoch
        engine.fire_event(Events.EPOCH_STARTED)
        flips = [float(batch["image"].flatten()[0]) for batch in engine.data_loader]  # type: ignore[attr-defined]
        seen.append([*flips, float(torch.rand(())), float(np.random.rand())])
    return seen


def test_an_epoch_repeats_whatever_ran_before_it() -> None:
    whole, resumed = numbers(0, [1, 2, 3, 4]), numbers(0, [3, 4])
    assert whole[2:] == resumed
    assert whole[0] != whole[1] and numbers(1, [1]) != numbers(0, [1])
