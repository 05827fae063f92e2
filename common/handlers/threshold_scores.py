"""Dice at each threshold, and the share of lesions at each probability: what the choice of a threshold needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine
from monai.engines import IterationEvents
from monai.metrics import compute_dice

from ..inferers import lesion_area
from ..run.distributed import gathered
from ..tables import write_csv
from .lungs_of_slices import lungs_of
from .slice_table import SliceTable

FILES = ("thresholds_per_slice.csv", "reliability.csv")
THRESHOLDS = [number / 20 for number in range(1, 20)]
PIXELS = ("pixels", "lesion_pixels", "lung_pixels", "lung_lesion_pixels")  # columns of the second
LOGITS = np.linspace(-8, 8, 161)  # edges of the bins; fine where probabilities are near 0 and 1


class ThresholdScores(SliceTable):
    """Score all kinds of lesion together at each threshold of their probability.

    ``thresholds_per_slice.csv`` has the Dice of each slice in the columns ``dice_0.05`` to ``dice_0.95``; a slice
    without lesions scores 1 if none is predicted, else 0. ``reliability.csv`` has for each logit of the probability
    (the middle of a bin) the number of pixels, and how many of them are lesion in the ground truth; and both numbers
    within lungs and lesions. ``python -m common.calibrate`` chooses a threshold and a temperature by them.

    Args:
        output_dir: folder of both files.
        lesions: channels of the kinds of lesion.
        smallest: see ``common.inferers.lesions_first``.
    """

    def __init__(self, output_dir: str | Path, lesions: Sequence[int], smallest: Sequence[int] = (0, 0)) -> None:
        super().__init__(output_dir)
        self.lesions, self.smallest = list(lesions), list(smallest)

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator, whose network gives logits (B, classes, H, W); labels are indices (B, 1, H, W)."""
        super().attach(engine)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self.before_decision)

    def clear(self) -> None:
        """Forget the slices of an earlier evaluation."""
        super().clear()
        self.counts = np.zeros((4, len(LOGITS) - 1), np.int64)

    def before_decision(self, engine: Engine) -> None:
        """Score a batch of logits at each threshold."""
        output: Any = engine.state.output
        probability = output["pred"].detach().float().softmax(1)[:, self.lesions].sum(1, keepdim=True)
        truth = torch.isin(output["label"].long(), torch.tensor(self.lesions, device=probability.device))
        found = [lesion_area(probability, threshold, self.smallest[0]) for threshold in THRESHOLDS]
        dice = [compute_dice(each.float(), truth.float(), ignore_empty=False)[:, 0] for each in found]
        self.values.append(torch.stack(dice, 1).cpu())  # (B, thresholds)
        logits = probability.logit(1e-6).clamp(LOGITS[0], LOGITS[-1])
        lung = lungs_of(output) | truth
        for row, pixels in zip(self.counts, (torch.ones_like(truth), truth, lung, lung & truth), strict=True):
            row += np.histogram(logits[pixels].cpu().numpy(), LOGITS)[0]

    def gather(self) -> None:
        """Add the slices of the other processes."""
        super().gather()
        self.counts = np.sum(gathered([self.counts]), axis=0)

    def write(self, engine: Engine) -> None:
        """Write both tables."""
        columns = [f"dice_{threshold:.2f}" for threshold in THRESHOLDS]
        rows = self.named_rows(torch.cat(self.values).tolist())
        write_csv(self.output_dir / FILES[0], ["case", "patient", "slice", *columns], rows)
        middles = (LOGITS[1:] + LOGITS[:-1]) / 2
        table = zip(middles.round(3).tolist(), *self.counts.tolist(), strict=True)
        write_csv(self.output_dir / FILES[1], ["logit", *PIXELS], table, form="g")
