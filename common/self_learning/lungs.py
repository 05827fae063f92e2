"""Steps 1 to 3 of pseudo-labels: lungs by threshold (Balantrapu, *DRSegUNet*, 2021, section 4.4.1)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from scipy import ndimage
from skimage.measure import label

from ..transforms.ct import AIR
from ..transforms.masks import mask_like

PLAIN_AIR = -940.0  # HU; also for a scanner 40 HU out of calibration; a lung at the border had a median of -929
LEAST_LUNG = 0.01  # of a slice; the middle of a chest has ten times that


class LungByThresholdd(MapTransform):
    """Lungs as the two largest regions below -170 HU in each slice, with their holes filled: a mask of 0 and 1.

    * The paper thresholds the slice and keeps the two largest objects. The largest is the air around the body; the
      paper does not say how it is excluded. Here regions that touch the border of the slice are left out if their
      median is below -940 HU. Denser ones stay: they are lungs of a slice that is cropped within the body.
    * Regions are 8-connected. Of equally large ones the first along X is kept, as in ``bwareafilt``. Where the lungs
      touch each other they are one region, and the next largest region is kept too.
    * Holes are areas that 4-connected steps do not lead out of, as in ``imfill``: vessels, and consolidation above
      -170 HU that lung encloses. Consolidation that reaches the pleura is lost.

    Args:
        keys: images in HU, (1, X, Y, Z), not normalised; clipping to -1000..400 makes no difference.
        lung_key: receives the mask, uint8 of the image's shape.
        threshold: HU.
        count: number of regions.

    Raises:
        ValueError: naming the case, for an image that does not hold HU; naming the slice too, if no lung is found.
    """

    def __init__(self, keys: KeysCollection, lung_key: str = "lung", threshold: float = -170.0, count: int = 2) -> None:
        super().__init__(keys)
        self.lung_key, self.threshold, self.count = lung_key, threshold, count

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Find the lungs of one key's image."""
        item = dict(data)
        for key in self.keys:
            name = item.get("case", key)
            check_hu(item[key], item.get("intensity", "HU"), str(name))
            planes = item[key][0].numpy()  # (X, Y, Z)
            lung = np.stack([self.lung(planes[..., index]) for index in range(planes.shape[-1])], axis=-1)
            for index, share in enumerate(lung.mean(axis=(0, 1))):
                if share < LEAST_LUNG:
                    number = item.get("slices", range(1, planes.shape[-1] + 1))[index]
                    raise ValueError(
                        f"{name}: a lung is needed in each slice, got {share:.1%} of slice {number} below "
                        f"{self.threshold:g} HU, without the air around the body. Is it a complete chest CT in HU, "
                        "with the orientation in its header? If not, leave it out with --exclude."
                    )
            item[self.lung_key] = mask_like(torch.from_numpy(lung)[None], item[key])
        return item

    def lung(self, plane: np.ndarray) -> np.ndarray:
        """Lungs of one slice, HU (X, Y) to bool (X, Y)."""
        labels = label(plane < self.threshold, connectivity=2)
        areas = np.bincount(labels.ravel())
        areas[0] = 0
        border = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
        for region in border[border > 0]:
            if np.median(plane[labels == region]) < PLAIN_AIR:
                areas[region] = 0
        largest = np.argsort(-areas, kind="stable")[: self.count]  # stable: of equal ones the first
        return ndimage.binary_fill_holes(np.isin(labels, largest[areas[largest] > 0]))


def check_hu(image: torch.Tensor, intensity: str, name: str) -> None:
    """Check that an image holds HU, the unit of the thresholds.

    Args:
        image: any shape.
        intensity: as it is declared.
        name: the case, for the message.

    Raises:
        ValueError: for another declared intensity, or values that are not finite or have no air.
    """
    low, high = (float(bound) for bound in torch.aminmax(image))
    if intensity != "HU" or not (np.isfinite([low, high]).all() and low <= AIR[1]):
        raise ValueError(
            f"{name}: pseudo-labels need HU, with air below {AIR[1]:g}, got {low:g} to {high:g}, declared as "
            f"{intensity}. Export the scan in HU, or leave it out with --exclude."
        )
