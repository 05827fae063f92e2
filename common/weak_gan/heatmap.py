"""Lesion heatmaps of a network that separates lesions from normal lung."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from ..inferers import SlicesInferer


class HeatmapInferer(SlicesInferer):
    """Run a separator over slices or volumes, and give its lesion heatmap and its normal version.

    The heatmap is max(lesions, 0), at most 1: a pixel without lesion scores 0. *Towards unbiased COVID-19 lesion
    localisation* (section 3.1) normalises the lesions from -1..1 to 0..1; an affine map would give such a pixel 0.5.
    """

    def decide(self, logits: torch.Tensor) -> torch.Tensor:
        """Turn normal version and lesions (B, 2, H, W) into heatmap, 0..1, and normal version (B, 2, H, W)."""
        normal_version, lesions = logits.split(1, dim=1)
        return torch.cat([lesions.clamp(0, 1), normal_version], dim=1)


class SplitHeatmapd(MapTransform):
    """Split an inferer's output: the key keeps the heatmap, ``normal`` gets the normal version.

    CAM and Grad-CAM give a heatmap alone; ``normal`` is then not set.

    Args:
        keys: outputs of ``common.weak_gan.methods.inferer``, shape (1 or 2, ...); they become (1, ...).
    """

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Split each key."""
        item = dict(data)
        for key in self.keys:
            channels = item[key]
            item[key] = channels[:1]
            if len(channels) > 1:
                item["normal"] = channels[1:]
        return item
