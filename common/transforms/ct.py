"""CT: read scans, check declared intensities, apply a window, normalise each slice."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from ..readers.ct import read
from ..readers.scan import UPRIGHT

AIR = -500.0  # HU; every chest CT has voxels below this: lung, airways, air around the body


class LoadScand(MapTransform):
    """Read the file or DICOM series of each key as (1, X, Y, Z); see ``common.readers.ct.read``.

    A key that is missing or None is removed from the item, so that sources without lung masks need no other pipeline.
    One-hot arrays (``masks_*.npy`` of MedSeg) are converted to the form of the other layouts: a lesion mask under
    ``label``, 0 and 1 under ``lung``.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace each path by its tensor."""
        item = dict(data)
        axes = item.get("picture_axes", UPRIGHT)
        for key in self.keys:
            if item.get(key) is None:
                item.pop(key, None)
                continue
            scan = read(item[key], axes)
            if scan.meta["kind"] == "array" and key != "image":
                # of the channels ground-glass, consolidation, lung, background
                values = torch.tensor([1.0, 2.0, 0.0, 0.0] if key == "label" else [1.0, 1.0, 1.0, 0.0])
                scan = MetaTensor(values[scan.as_tensor().long()], meta=scan.meta)
            item[key] = scan
        return item


def check_intensity(scan: torch.Tensor, intensity: str, name: str) -> None:
    """Check a scan against its declared intensity.

    Args:
        scan: intensities of any shape.
        intensity: ``HU`` or ``8bit`` (windowed grey levels, 0..255).
        name: file name for the message.

    Raises:
        ValueError: if values are not finite or do not fit the declared intensity, or if the intensity is unknown.
    """
    low, high = (float(bound) for bound in torch.aminmax(scan))  # keeps NaN and infinity
    observed = f"observed range {low:g} to {high:g}"
    if not np.isfinite(low) or not np.isfinite(high):
        count = int((~torch.isfinite(scan)).sum())
        raise ValueError(
            f"{name}: intensities must be finite, got {count} NaN or infinite voxels. Export the scan again."
        )
    if intensity == "HU":
        if low > AIR:
            raise ValueError(
                f"{name}: declared as HU, but a chest CT in HU has air below {AIR:g} HU; {observed}. If it holds "
                "windowed grey levels 0..255, declare --intensity 8bit. If the rescale slope was lost, export it "
                "again. If it is a mask, leave it out with --exclude."
            )
    elif intensity == "8bit":
        if low < 0 or high > 255:
            raise ValueError(
                f"{name}: declared as 8bit, which is 0..255; {observed}. If it is CT in HU, declare --intensity HU."
            )
    else:
        raise ValueError(f"{name}: unknown intensity {intensity!r}. Declare 'HU' or '8bit'.")


class WindowCTd(MapTransform):
    """Check the declared intensity and clip to a window in HU.

    8-bit grey levels are first mapped linearly to ``grey_window``, because images do not record the window that they
    were made with. A z-score afterwards removes errors of scale and offset, but not an error of the clipping point.

    Args:
        keys: images of any shape.
        window: lower and upper bound in HU.
        intensity: ``HU`` or ``8bit``, for items that do not declare their own under ``intensity``.
        grey_window: HU of the grey levels 0 and 255; by default ``window``.

    Raises:
        ValueError: as ``check_intensity`` does.
    """

    def __init__(
        self,
        keys: KeysCollection,
        window: Sequence[float],
        intensity: str = "HU",
        grey_window: Sequence[float] | None = None,
    ) -> None:
        super().__init__(keys)
        self.low, self.high = float(window[0]), float(window[1])
        self.black, self.white = map(float, grey_window or window)
        self.intensity = intensity

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Clip each image in place, because a CT volume is large."""
        item = dict(data)
        for key in self.keys:
            scan = item[key]
            intensity = item.get("intensity", self.intensity)
            name = item.get("case") or getattr(scan, "meta", {}).get("filename_or_obj", key)
            check_intensity(scan, intensity, str(name))
            values = scan.as_tensor() if isinstance(scan, MetaTensor) else scan
            if intensity == "8bit":
                values.mul_((self.white - self.black) / 255.0).add_(self.black)
            values.clamp_(self.low, self.high)
        return item


class NormalizeSlicesd(MapTransform):
    """Normalise each axial slice to mean 0 and standard deviation 1 (z-score), in place.

    A slice gives the same values alone and in its volume. A constant slice becomes zeros.

    Args:
        keys: images (1, X, Y, Z).
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Normalise one slice after another, which needs the memory of one slice only."""
        item = dict(data)
        for key in self.keys:
            values = item[key].as_tensor() if isinstance(item[key], MetaTensor) else item[key]
            for slice_ in values.unbind(-1):  # (1, X, Y), a view
                deviation, mean = torch.std_mean(slice_, correction=0)
                slice_.sub_(mean).div_(deviation if deviation > 0 else 1.0)
        return item
