"""Probabilities of CT, beside the mask that is made of them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from ..reliability.measures import LESION_PROBABILITY, in_steps


class SplitProbabilitiesd(MapTransform):
    """Take apart what ``MaskInferer`` gives: the key keeps the mask.

    Args:
        keys: (1 + classes, ...) or, with ``lesion``, (2, ...) or (2 + classes, ...); becomes the mask, (1, ...), uint8.
        lesion: the second channel is the probability of lesion, which becomes ``lesion_probability``, (1, ...).
        name: of the item's entry that gets the probabilities, (classes, ...).

    All probabilities are uint8, in steps of 1/255.
    """

    def __init__(self, keys: KeysCollection, lesion: bool = False, name: str = "probability") -> None:
        super().__init__(keys)
        self.name, self.lesion = name, lesion

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Split each key; a mask alone stays as it is."""
        item = dict(data)
        for key in self.key_iterator(item):
            channels = item[key].to(torch.uint8)
            first = 2 if self.lesion else 1
            item[key] = channels[:1]
            if self.lesion:
                item[LESION_PROBABILITY] = channels[1:2]
            if len(channels) > first:
                item[self.name] = channels[first:]
        return item


class KeepProbabilitiesd(MapTransform):
    """Keep probabilities before they are made a mask, uint8 in steps of 1/255.

    Args:
        keys: probabilities of lesions, (classes, ...), that are not exclusive; the highest becomes
            ``lesion_probability``, (1, ...).
        every: keep those of all classes, too, as ``probability``.
    """

    def __init__(self, keys: KeysCollection, every: bool = False) -> None:
        super().__init__(keys)
        self.every = every

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Keep them of each key."""
        item = dict(data)
        for key in self.key_iterator(item):
            steps = in_steps(item[key])
            item[LESION_PROBABILITY] = steps.amax(0, keepdim=True) if len(steps) > 1 else steps
            if self.every:
                item["probability"] = steps
        return item
