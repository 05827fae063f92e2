"""Crop scans to the box around the lungs."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import CropForegroundd

from ..lung_mask import lung_mask
from .grids import voxel_size
from .masks import mask_like

CROPS = ("none", "lungs")
BOX = "box"  # of the item, while it is cropped


class CropToLungsd(CropForegroundd):
    """MONAI's ``CropForegroundd`` with the lungs as foreground; ``Invertd`` puts what was cut off back, as 0.

    The lungs are the item's own mask, ``lung``, or those that ``common.lung_mask.lung_mask`` finds by threshold. Where
    it finds none, nothing is cropped.

    Args:
        keys: what is cropped, each (1, X, Y, Z) in LPS order; the lung mask, too, if it is among them.
        crop: ``lungs``, or ``none`` to leave everything as it is.
        margin: pixels, pixels and slices that are added to the box on each side, as far as the scan goes.
        image_key: image in HU, or grey levels mapped to HU by a window; clipped is fine, resampled is not.
        lung_key: of the item's own mask.
        allow_missing_keys: whether items may lack a key.

    Raises:
        ValueError: for another ``crop``.
    """

    def __init__(
        self,
        keys: KeysCollection,
        crop: str = "lungs",
        margin: Sequence[int] = (12, 12, 3),
        image_key: str = "image",
        lung_key: str = "lung",
        allow_missing_keys: bool = False,
    ) -> None:
        if crop not in CROPS:
            raise ValueError(f"--crop must be one of {', '.join(CROPS)}, got {crop!r}.")
        super().__init__(
            *(keys, BOX, _foreground),
            margin=list(margin),
            allow_smaller=True,
            allow_missing_keys=allow_missing_keys,
            start_coord_key=None,
            end_coord_key=None,
        )
        self.crop, self.image_key, self.lung_key = crop, image_key, lung_key

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        """Crop each key to the same box."""
        item: dict[Hashable, Any] = dict(data)
        if self.crop == "none":
            return item
        given = item.get(self.lung_key)
        item[BOX] = self.lungs(item) if given is None else mask_like(given > 0, item[self.image_key])
        item = super().__call__(item, lazy)
        del item[BOX]
        return item

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Put back what was cut off."""
        return dict(data) if self.crop == "none" else super().inverse(data)

    def lungs(self, item: Mapping[Hashable, Any]) -> MetaTensor:
        """Find the lungs in the image."""
        image: MetaTensor = item[self.image_key]
        size = voxel_size(image, item.get("intensity", "HU"))
        return mask_like(torch.from_numpy(lung_mask(image.as_tensor()[0].cpu().numpy(), size))[None], image)


def _foreground(mask: torch.Tensor) -> torch.Tensor:
    """Where a mask is positive, or everything if it is empty."""
    positive = mask > 0
    return positive if positive.any() else torch.ones_like(positive)
