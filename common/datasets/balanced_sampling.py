"""Random samples in which each class counts the same, and in it each patient."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch.utils.data import WeightedRandomSampler


def balanced_sampler(items: Sequence[Mapping[str, Any]], samples: int) -> WeightedRandomSampler:
    """Draw frames or slices so that classes count the same, in a class its patients, and in a patient its files.

    Args:
        items: with ``label``, an index; ``patient``, where it is empty ``case`` counts as one; and ``case``.
        samples: number that is drawn for each epoch, with replacement.

    Example:
        >>> sampler = balanced_sampler(dataset.planes, samples=288)
    """
    return WeightedRandomSampler(balanced_weights(items), samples)


def balanced_weights(items: Sequence[Mapping[str, Any]]) -> list[float]:
    """Probability of each item; they sum to 1."""
    levels = [(int(each["label"]), each["patient"] or each["case"], each["case"], n) for n, each in enumerate(items)]
    inside: dict[tuple[Any, ...], set[Any]] = {}  # classes; of a class the patients; of a patient the files; frames
    for level in levels:
        for depth, name in enumerate(level):
            inside.setdefault(level[:depth], set()).add(name)
    return [math.prod(1 / len(inside[level[:depth]]) for depth in range(len(level))) for level in levels]
