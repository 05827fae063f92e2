"""Collects the features of a case while the network works, and says how usual it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ..run.model_record import read_record, weights_files
from .changes import CONTENT, CUT, PARTS, SHARPER, SMOOTHER, TEXTURE
from .detector import Detector

USUAL, UNUSUAL = "usual", "unusual"
RECORD = "trust"  # key in the record of weights
REASONS = {
    TEXTURE: "noise, sharpness or grey levels are not those of the training data",
    CONTENT: "it does not look like the training data",
    SHARPER: "it is sharper than the training data, or noisier",
    SMOOTHER: "it is smoother than the training data",
    CUT: "the lungs seem to be cut off",
}


@dataclass(frozen=True)
class Verdict:
    """How far a result can be trusted.

    Args:
        word: ``usual`` or ``unusual``; empty where the weights do not know.
        reason: of what is unusual, a sentence.
        scores: above 1 is unusual.
    """

    word: str = ""
    reason: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)


class Monitor:
    """Watches the inputs of a network; see ``common.outliers.detector``.

    Args:
        weights: as ``--weights``: a path, or several of an ensemble, whose first member's features are compared. Their
            record holds what is usual; without that, nothing is watched.
        every: keep features, to learn what is usual; what the record says of it is not read, so that it may be damaged.
    """

    def __init__(self, weights: Any, every: bool = False) -> None:
        record = None if every else read_record(weights_files(weights, several=True)[0]).get(RECORD)
        self.detector = Detector.from_record(record) if record else None
        self.every, self.active = every, every or self.detector is not None
        self._parts: list[list[np.ndarray]] = []

    def add(self, features: list[torch.Tensor]) -> None:
        """Take the features of a batch, one tensor (B, features) for each of ``PARTS``."""
        self._parts.append([each.detach().float().cpu().numpy() for each in features])

    def take(self) -> dict[str, np.ndarray]:
        """The features since the last call, by part, (slices, features)."""
        parts, self._parts = self._parts, []
        return {name: np.concatenate([each[index] for each in parts]) for index, name in enumerate(PARTS) if parts}

    def verdict(self) -> Verdict:
        """What the features since the last call say."""
        features = self.take()
        if self.detector is None or not features:
            return Verdict()
        scores = self.detector.scores(features)
        axes = self.detector.data.get("axes", {})
        above = [
            REASONS.get(part) or f"{axes.get(part, part)} seem to be exchanged"
            for part, score in scores.items()
            if score > 1
        ]
        rounded = {part: round(score, 3) for part, score in scores.items()}
        return Verdict(UNUSUAL if above else USUAL, "; ".join(above), rounded)
