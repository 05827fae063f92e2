"""Random views of a slice to learn lungs from: crops as pictures have them, scanner windows, shapes, noise."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.transforms import (
    Compose,
    MapTransform,
    RandAdjustContrastd,
    RandAffined,
    RandFlipd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    RandGridDistortiond,
    Randomizable,
)

from ..lung_network.architecture import SIZE, WINDOW

PADDING = -2000.0  # HU around a circular field of view
# Share of the views: the slice as it is, cropped around both lungs, one lung, any box
VIEWS = {"whole": 0.35, "lungs": 0.4, "side": 0.1, "box": 0.15}
USUAL_WINDOW = 0.55  # share of the views with the window that inference applies to HU
WHOLE_RANGE = 0.15  # share with nearly all of the HU, in which lungs are dark
LOW, HIGH = (-1500.0, -850.0), (-100.0, 500.0)  # HU, bounds of the other windows
WIDE = (1000.0, 3000.0)  # HU, upper bounds of nearly all of the HU


class RandViewd(Randomizable, MapTransform):
    """Crop a slice and resize it to ``SIZE``, and let some have the padding of a circular field of view.

    Args:
        keys: image in HU (1, X, Y) and mask, uint8.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace both by a random view of them: float32 (1, ``SIZE``, ``SIZE``)."""
        item = dict(data)
        image, mask = (item[key] for key in self.keys)
        image = image.float()
        if self.R.random() < 0.2:
            x, y = (np.linspace(-1, 1, size) for size in image.shape[1:])
            outside = np.hypot(x[:, None], y[None, :]) > self.R.uniform(0.85, 1.1)
            image = image.masked_fill(torch.from_numpy(outside), PADDING)
        columns, rows = (slice(*bounds) for bounds in self.box(mask[0].numpy() > 0))
        options: tuple[dict[str, Any], ...] = ({"mode": "bilinear", "align_corners": False}, {"mode": "nearest"})
        for key, values, how in zip(self.keys, (image, mask.float()), options, strict=True):
            item[key] = torch.nn.functional.interpolate(values[None, :, columns, rows], (SIZE, SIZE), **how)[0]
        return item

    def box(self, lung: np.ndarray) -> list[tuple[int, int]]:
        """Bounds along both axes."""
        view = self.R.choice(list(VIEWS), p=list(VIEWS.values()))
        if view == "side":
            half = len(lung) // 2
            lung = lung.copy()
            lung[slice(half) if self.R.random() < 0.5 else slice(half, None)] = False
        if view == "whole":
            bounds = [(0, size) for size in lung.shape]
            loose = (0.0, 0.12)
        elif view == "box" or not lung.any():
            bounds = [tuple(np.sort(self.R.uniform(0, size, 2)).astype(int)) for size in lung.shape]  # type: ignore
            loose = (-0.2, 0.0)
        else:
            bounds = [(int(found[0]), int(found[-1]) + 1) for found in map(np.flatnonzero, (lung.any(1), lung.any(0)))]
            loose = (-0.2, 0.06)  # of the width: outwards, and a little into the lung
        moved = []
        for (low, high), size in zip(bounds, lung.shape, strict=True):
            change = self.R.uniform(*loose, 2) * (high - low)
            low, high = max(0, int(low + change[0])), min(size, int(high - change[1]))
            moved.append((low, high) if high - low >= size // 4 else (low := min(low, 3 * size // 4), low + size // 4))
        return moved


class RandWindowd(Randomizable, MapTransform):
    """Apply a window: the usual one, any other, or nearly all of the HU; the result is 0 to 1.

    Args:
        keys: images in HU.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Window each image."""
        item = dict(data)
        for key in self.keys:
            low, high = WINDOW
            draw = self.R.random()
            if draw > USUAL_WINDOW:
                low, high = self.R.uniform(*LOW), self.R.uniform(*HIGH)
            if draw > 1 - WHOLE_RANGE:
                high = self.R.uniform(*WIDE)
            item[key] = ((item[key] - low) / (high - low)).clamp(0, 1)
        return item


def augmentation(seed: int) -> Compose:
    """Return the transform from an item of ``phantom_slices`` to image 0 to 1 and mask, float32 (1, SIZE, SIZE).

    Args:
        seed: of its random numbers.
    """
    both = ["image", "mask"]
    modes: Any = ["bilinear", "nearest"]
    views = Compose([
        RandViewd(both),
        RandFlipd(both, prob=0.5, spatial_axis=0),  # left-right
        RandAffined(
            both,
            prob=0.7,
            rotate_range=0.25,  # radians
            shear_range=0.1,
            scale_range=0.12,
            translate_range=10,  # pixels
            mode=modes,
            padding_mode="border",
        ),
        RandGridDistortiond(both, prob=0.3, num_cells=5, distort_limit=0.25, mode=modes, padding_mode="border"),
        RandGaussianNoised("image", prob=0.3, std=60.0),  # HU
        RandWindowd("image"),
        RandGaussianSmoothd("image", prob=0.25, sigma_x=(0.4, 1.5), sigma_y=(0.4, 1.5)),  # pixels
        RandAdjustContrastd("image", prob=0.3, gamma=(0.7, 1.5)),
    ])  # fmt: skip
    views.set_random_state(seed)
    return views
