"""Watches a network find lesions, and says how large the errors of the case are likely to be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from ..run.model_record import read_record, weights_files
from .error_model import ErrorModel
from .measures import Lesions, Measures

RECORD = "errors"  # key in the record of weights


class OneLesion(NamedTuple):
    """What is likely of a connected lesion.

    Args:
        voxels: number.
        probability: mean, 0..1.
        centre: centre of mass, voxel index in the mask.
        dice: expected, with the lesions of a ground truth that it touches; None if the record does not know.
        uncertain: fewer than two in three such lesions are real.
    """

    voxels: int
    probability: float
    centre: tuple[float, ...]
    dice: float | None
    uncertain: bool


class Likely(NamedTuple):
    """What is likely of a case; None where it is not known.

    Args:
        dice: of the mask with a ground truth.
        dice_error: root mean square error of ``dice``.
        low, high: bounds of the true number of lesion voxels, which hold it in nine of ten cases.
        uncertain: bool, shape of the mask: lesions of which fewer than two in three are real.
        lesions: all lesions, the largest first.
    """

    dice: float | None
    dice_error: float | None
    low: float | None
    high: float | None
    uncertain: np.ndarray
    lesions: tuple[OneLesion, ...]

    @property
    def doubtful(self) -> int:
        """How many lesions are uncertain."""
        return sum(each.uncertain for each in self.lesions)


class Reliability:
    """Judges the errors of each case, if the record of the weights says how large they were.

    Args:
        weights: as ``--weights``. Several, an ensemble, have no such record: its members were measured alone.
        lesions: channels that are lesions, of a softmax; None for a sigmoid of each channel.
        threshold: probability of lesion above which the mask has one.
        adjusted: the decision is not that of the record, so that its errors are not, either.
        every: measure, to learn it; what the record says is not read.
    """

    def __init__(
        self,
        weights: Any,
        lesions: Sequence[int] | None = None,
        threshold: float = 0.5,
        adjusted: bool = False,
        every: bool = False,
    ) -> None:
        files = weights_files(weights, several=True)
        record = None if adjusted or every or len(files) > 1 else read_record(files[0]).get(RECORD)
        self.model = ErrorModel.from_record(record) if record else None
        self.active = every or self.model is not None
        self.lesions, self.threshold = None if lesions is None else list(lesions), threshold
        self._sums = np.zeros(3)

    def start(self) -> None:
        """Forget what a case that failed has left."""
        self._sums[:] = 0

    def add(self, plain: torch.Tensor, mirrored: torch.Tensor) -> None:
        """Take the logits (B, classes, H, W) of slices, and those of their mirror images, turned back."""
        first, second = (self.probability(each) > self.threshold for each in (plain, mirrored))
        self._sums += [int((first & second).sum()), int(first.sum()), int(second.sum())]

    def probability(self, logits: torch.Tensor) -> torch.Tensor:
        """Probability of lesion (B, 1, H, W) for logits (B, classes, H, W)."""
        if self.lesions is None:
            return logits.sigmoid().amax(1, keepdim=True)
        return logits.softmax(1)[:, self.lesions].sum(1, keepdim=True)

    def agreement(self) -> float | None:
        """Dice of the lesions in all slices and in their mirror images since the last call."""
        (both, first, second), self._sums = self._sums.tolist(), np.zeros(3)
        return 2 * both / (first + second) if first + second else None

    def judge(self, probability: np.ndarray, lesion: np.ndarray) -> Likely | None:
        """What is likely of the case at hand; None if the record does not say.

        Args:
            probability: of lesion, uint8, in steps of 1/255, (X, Y, Z).
            lesion: bool, same shape: where the mask says lesion.
        """
        agreement = self.agreement()
        if self.model is None:
            return None
        measures, found = Measures.of(probability, lesion, agreement), Lesions.of(probability, lesion)
        doubtful = found.probability < self.model.doubt
        dice = self.model.dice(measures)
        low, high = self.model.interval(measures) or (None, None)
        return Likely(
            dice,
            None if dice is None else self.model.dice_error,
            low,
            high,
            found.area(doubtful, lesion.shape),
            self._each(found, doubtful),
        )

    def _each(self, found: Lesions, doubtful: np.ndarray) -> tuple[OneLesion, ...]:
        """The lesions of a mask, the largest first."""
        one = None if self.model is None else self.model.lesion
        dice = [None] * len(doubtful) if one is None else one.dice(found).tolist()
        values = (found.voxels, found.probability, found.centres(), dice, doubtful)
        each = [
            OneLesion(int(voxels), float(mean), tuple(centre.tolist()), expected, bool(doubt))
            for voxels, mean, centre, expected, doubt in zip(*values, strict=True)
        ]
        return tuple(sorted(each, key=lambda lesion: -lesion.voxels))
