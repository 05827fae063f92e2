"""Lesion heatmaps of a network that separates lesions from normal lung."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from ..inferers import SlicesInferer
from ..outliers.monitor import Monitor

HEATS = ("positive", "affine")


class HeatmapInferer(SlicesInferer):
    """Run a separator over slices or volumes, and give its lesion heatmap and its normal version.

    By default the heatmap is max(lesions, 0), at most 1: a pixel without lesion scores 0. *Towards unbiased COVID-19
    lesion localisation* (section 3.1) normalises the lesions from -1..1 to 0..1; if that is an affine map, such a pixel
    scores 0.5.

    Args:
        heat: ``positive``, or ``affine``: (lesions + 1) / 2.
        slices_at_once: batch size in volumes.
        amp: mixed precision.
        monitor: see ``common.inferers.FastCall``.

    Raises:
        ValueError: for an unknown ``heat``.
    """

    def __init__(
        self, heat: str = "positive", slices_at_once: int = 1, amp: bool = False, monitor: Monitor | None = None
    ) -> None:
        super().__init__(slices_at_once, amp=amp, monitor=monitor)
        if heat not in HEATS:
            raise ValueError(f"Unknown heat {heat!r}. Choose one of {', '.join(HEATS)}.")
        self.heat = heat

    def decide(self, logits: torch.Tensor) -> torch.Tensor:
        """Turn normal version and lesions (B, 2, H, W) into heatmap, 0..1, and normal version (B, 2, H, W)."""
        normal_version, lesions = logits.split(1, dim=1)
        heat = lesions if self.heat == "positive" else (lesions + 1) / 2
        return torch.cat([heat.clamp(0, 1), normal_version], dim=1)


class ReferenceInferer(SlicesInferer):
    """Heatmaps without any network, which every method has to beat.

    Args:
        method: ``lung``: 1 everywhere, which is the lung where heatmaps are limited to it; or ``brightness``: the
            positive part of the input.
        slices_at_once: batch size in volumes.
    """

    def __init__(self, method: str, slices_at_once: int = 1) -> None:
        super().__init__(slices_at_once)
        self.method = method

    def of_slices(self, network: Callable[..., Any], slices: torch.Tensor) -> torch.Tensor:
        """Turn slices (B, 1, H, W), -1..1, into heatmaps (B, 1, H, W), 0..1."""
        return torch.ones_like(slices) if self.method == "lung" else slices.clamp(0, 1)


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
