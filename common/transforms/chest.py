"""Whether a scan shows a chest at all, before a patient is reported by it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from ..lung_mask import TISSUE_FROM, lung_mask
from ..lung_network.methods import BY_NETWORK
from ..run.errors import Refused
from .ct import check_intensity
from .grids import voxel_size

SLICES = 24  # slices in which lung is looked for if no lung mask is at hand


class CheckChestd(MapTransform):
    """Refuse CT that shows hardly any lung: heads, abdomens, limbs, other organs.

    The share is that of lung by threshold in body and lung together. Measured: 12 of 14 real chest slices have 17 to
    25 %, the two at the lung bases 5 and 6 %, 24 synthetic patients 19 % or more; a real slice at the shoulders 0.2 %,
    a real head 0 %. A lung mask that the user gave is believed. Images in grey levels are not checked, because their
    window is unknown.

    Args:
        keys: images (1, X, Y, Z) in HU, in LPS order, neither clipped above -300 HU nor resampled.
        least: smallest share of lung, 0 to 1; 0 accepts every scan.
        lung_key: lung mask by threshold, if it was made before; one by the lung network does not count, because the
            network has learned from chests alone.

    Raises:
        Refused: for a scan with less lung.
        ValueError: as ``common.transforms.ct.check_intensity`` does.
    """

    def __init__(self, keys: KeysCollection, least: float = 0.01, lung_key: str = "lung") -> None:
        super().__init__(keys)
        self.least, self.lung_key = float(least), lung_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Check each image, unchanged."""
        item = dict(data)
        if self.least <= 0 or item.get("intensity", "HU") != "HU" or item.get("lung_from") == "given":
            return item
        for key in self.keys:
            scan, given = item[key], item.get(self.lung_key)
            check_intensity(scan, "HU", str(item.get("case", key)))  # its reason comes first: lungs need HU
            usable = isinstance(given, torch.Tensor) and item.get("lung_from") != BY_NETWORK  # no path that is not read
            lung = given if usable else None
            some = np.unique(np.linspace(0, scan.shape[-1] - 1, SLICES if lung is None else scan.shape[-1]).astype(int))
            image = scan.as_tensor()[0][..., some].cpu().numpy()
            if lung is not None:
                inside = np.asarray(lung[0]) > 0
            else:
                inside = lung_mask(image, voxel_size(scan))
            share = float(inside.sum() / max(1, np.count_nonzero(inside | (image > TISSUE_FROM))))
            if share < self.least:
                raise Refused(
                    f"{item.get('case', key)}: a chest CT shows lung, got {100 * share:.2f} % of the body, where "
                    f"{100 * self.least:g} % are needed. Is it a scan of another part of the body? Leave it out with "
                    "--exclude. If it is a chest, give a lung mask or --min_lung 0."
                )
        return item
