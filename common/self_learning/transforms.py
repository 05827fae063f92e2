"""Pseudo-labels of ground-glass without any annotation (Balantrapu, *DRSegUNet*, 2021, section 4.4.1).

``MiddleSlicesd`` takes two slices of each volume. Six steps follow, slice by slice: lungs by threshold (1 to 3,
``lungs.LungByThresholdd``), clusters of grey levels within them (4 and 5, ``clusters.ClustersInLungd``), morphology (6,
``OpenAndCloseLesiond``). The paper works in MATLAB and leaves much open; each class says what was decided.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, SpatialCrop
from skimage.morphology import closing, opening

from ..transforms.masks import mask_like
from .structuring_elements import disk, line


class MiddleSlicesd(MapTransform):
    """Take axial slices near the middle one, by default p-3 and p-2, where p is the middle one.

    Slices count from 0, from inferior to superior in LPS order, and p is half their number, rounded down. The paper
    says neither in which direction it counts, nor which slice is the middle of an even number.

    Args:
        keys: (1, X, Y, Z) with their affine. The item gets ``slices``: numbers of the slices taken, which count from 1,
            as in figures.
        first: the first slice, counted from p.
        count: number of slices.
        allow_missing_keys: an item may lack a key.

    Raises:
        ValueError: naming the case, for a volume with too few slices.
    """

    def __init__(self, keys: KeysCollection, first: int = -3, count: int = 2, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.first, self.count = first, count

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Crop each key."""
        item = dict(data)
        for key in self.key_iterator(item):
            depth = item[key].shape[-1]
            start = depth // 2 + self.first
            end = start + self.count
            if start < 0 or end > depth:
                raise ValueError(
                    f"{item.get('case', key)}: slices p{self.first:+d} to p{self.first + self.count - 1:+d} are taken, "
                    f"with p the middle one, got a volume of {depth}. Give a complete chest CT, or leave it out with "
                    "--exclude."
                )
            item[key] = SpatialCrop(roi_slices=[slice(None), slice(None), slice(start, end)])(item[key])
            item["slices"] = list(range(start + 1, end + 1))
        return item


class OpenAndCloseLesiond(MapTransform):
    """Step 6: clean the ground-glass mask by an opening with a line and a closing with a disk, within the lung.

    The paper erodes, dilates, then closes, and does not say what. Here it is the mask of the ground-glass cluster: the
    opening removes parts thinner than the line, such as vessels, and the closing fills gaps. What the closing adds
    outside the lung mask is dropped. Everything else in the lung mask is lung, so that the classes exclude each other;
    this includes vessels, and consolidation that the closing does not reach. Line and disk are MATLAB's
    (``self_learning.structuring_elements``), in pixels of slices of 512 x 512. The line's angle is that on an upright
    slice, with the patient's left at the right. As in MATLAB, the border of the image neither grows nor shrinks a mask.

    Args:
        keys: clusters (1, X, Y, Z), in LPS order.
        lung_key: mask of the same shape, positive in the lungs.
        label_key: receives the label, uint8: 1 ground-glass, 0 elsewhere.
        cluster: number of the ground-glass cluster.
        line_length: pixels.
        line_degrees: counterclockwise from the horizontal.
        disk_radius: pixels.
    """

    def __init__(
        self,
        keys: KeysCollection,
        lung_key: str = "lung",
        label_key: str = "label",
        cluster: int = 2,
        line_length: float = 8,
        line_degrees: float = 50,
        disk_radius: int = 6,
    ) -> None:
        super().__init__(keys)
        self.lung_key, self.label_key, self.cluster = lung_key, label_key, cluster
        self.line, self.disk = line(line_length, line_degrees).T, disk(disk_radius)  # transposed for arrays (X, Y)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Make the label from one key's clusters."""
        item = dict(data)
        for key in self.keys:
            found = (item[key] == self.cluster)[0].numpy()  # (X, Y, Z)
            clean = np.stack([self.opened_and_closed(found[..., index]) for index in range(found.shape[-1])], axis=-1)
            lesion = torch.from_numpy(clean)[None] & (item[self.lung_key].as_tensor() > 0)
            item[self.label_key] = mask_like(lesion, item[key])
        return item

    def opened_and_closed(self, plane: np.ndarray) -> np.ndarray:
        """One slice, bool (X, Y), after opening and closing."""
        return closing(opening(plane, self.line, mode="ignore"), self.disk, mode="ignore")
