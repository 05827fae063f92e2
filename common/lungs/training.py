"""Training of the lung network."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence

import torch
from monai.data import DataLoader, Dataset
from monai.losses import DiceCELoss
from torch import nn
from torch.utils.data import WeightedRandomSampler

from ..inferers import FastCall
from ..lung_network.architecture import LungNetwork
from ..run.progress import progress
from .augmentation import augmentation

logger = logging.getLogger(__name__)
BATCH = 8
LEARNING_RATE = 3e-3  # at most, of a one-cycle schedule
FURTHER_RATE = 1e-3  # of a network that was trained before
WEIGHTS = (1.0, 1.0, 2.0, 4.0)  # of a pixel in the loss: no lung, lung, lesion, consolidation


def train(
    items: Sequence[dict[str, torch.Tensor]],
    shares: Sequence[float],
    views: int,
    amp: bool,
    seed: int,
    start: LungNetwork | None = None,
) -> LungNetwork:
    """Train a network.

    Args:
        items: slices in HU with their masks, see ``common.lungs.phantoms.phantom_slices``.
        shares: chance of each item to be drawn, in any unit.
        views: number of random views to train on.
        amp: bfloat16 where the processor has it.
        seed: of weights and views.
        start: network to train further; by default a new one.

    Returns:
        The network in evaluation mode.
    """
    torch.manual_seed(seed)
    network = LungNetwork() if start is None else copy.deepcopy(start).train()
    rate = LEARNING_RATE if start is None else FURTHER_RATE
    sampler = WeightedRandomSampler(list(shares), views, generator=torch.Generator().manual_seed(seed))
    loader = DataLoader(Dataset(items, augmentation(seed)), batch_size=BATCH, sampler=sampler, drop_last=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=len(loader), pct_start=0.15)
    dice = DiceCELoss(sigmoid=True, batch=True, lambda_ce=0.0)
    weights, call = torch.tensor(WEIGHTS), FastCall(amp, half=False)
    running = 0.0
    for step, batch in enumerate(progress(loader, desc="Training", total=len(loader), unit="step"), start=1):
        image, mask = (torch.as_tensor(batch[key].as_tensor()) for key in ("image", "mask"))
        lung = (mask > 0).float()
        logits = call(network, image)
        entropy = nn.functional.binary_cross_entropy_with_logits(logits, lung, weights[mask.long()])
        loss = entropy + dice(logits, lung)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        running = loss.item() if step == 1 else 0.98 * running + 0.02 * loss.item()
        if step % 100 == 0:
            logger.info("Step %d of %d: loss %.4f", step, len(loader), running)
    return network.eval()
