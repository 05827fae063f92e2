"""CT: reading any scan, declared intensities, slice-wise normalisation."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from ..readers.ct import UPRIGHT, read

AIR = -500.0  # HU; a chest CT always has voxels below this: lung, airways, the air around the body


class LoadScand(MapTransform):
    """Read each key's file, or files of a DICOM series, as (1, X, Y, Z); see ``common.readers.ct.read``.

    A key that is missing or None is left out, so that sources without lung masks go the same way. One-hot arrays
    (MedSeg's ``masks_*.npy``) become what the other layouts hold: a lesion mask under ``label``, 0/1 under ``lung``.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace paths by tensors."""
        item = dict(data)
        axes = item.get("picture_axes", UPRIGHT)
        for key in self.keys:
            if item.get(key) is None:
                item.pop(key, None)
                continue
            scan = read(item[key], axes)
            if scan.meta["kind"] == "array" and key != "image":
                # channels: ground-glass, consolidation, lung, background
                table = torch.tensor([1.0, 2.0, 0.0, 0.0] if key == "label" else [1.0, 1.0, 1.0, 0.0])
                scan = MetaTensor(table[scan.as_tensor().long()], meta=scan.meta)
            item[key] = scan
        return item


def check_intensity(scan: torch.Tensor, intensity: str, name: str) -> None:
    """Hold a scan to its declared intensity.

    Args:
        scan: any shape.
        intensity: ``HU`` or ``8bit`` (windowed grey levels, 0..255).
        name: the file, for the message.

    Raises:
        ValueError: not finite, not of that intensity, or an unknown word.
    """
    low, high = (float(bound) for bound in torch.aminmax(scan))  # NaN and infinity survive it
    seen = f"observed range {low:g} to {high:g}"
    if not np.isfinite(low) or not np.isfinite(high):
        count = int((~torch.isfinite(scan)).sum())
        raise ValueError(
            f"{name}: intensities must be finite, got {count} NaN or infinite voxels. Export the scan again."
        )
    if intensity == "HU":
        if low > AIR:
            raise ValueError(
                f"{name}: declared as HU, but a chest CT in HU has air below {AIR:g} HU; {seen}. If it holds windowed "
                "grey levels 0..255, declare --intensity 8bit; if the rescale slope was lost, export it again; if it "
                "is a mask, leave it out with --exclude."
            )
    elif intensity == "8bit":
        if low < 0 or high > 255:
            raise ValueError(
                f"{name}: declared as 8bit, which is 0..255; {seen}. If it is CT in HU, declare --intensity HU."
            )
    else:
        raise ValueError(f"{name}: unknown intensity {intensity!r}. Declare 'HU' or '8bit'.")


class WindowCTd(MapTransform):
    """Check the declared intensity and clip to a window in HU.

    Windowed 8-bit grey levels are spread linearly over the same window, or over ``grey_window``: which window they were
    made with, no picture tells; a z-score afterwards makes scale and offset irrelevant, the clipping point is not.

    Args:
        keys: images, any shape.
        window: lower and upper bound in HU.
        intensity: ``HU`` or ``8bit`` where the item does not declare its own under ``intensity``.
        grey_window: HU that 8-bit 0 and 255 stand for; by default ``window``.

    Raises:
        ValueError: as ``check_intensity``.
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
        """Clip in place: a whole CT is too large to copy without need."""
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
    """Z-score over each axial slice: mean 0, standard deviation 1, the same for a slice alone and in its volume.

    A constant slice becomes zeros. Shapes (1, X, Y, Z), in place.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Normalise slice by slice, which keeps the working memory at one slice."""
        item = dict(data)
        for key in self.keys:
            values = item[key].as_tensor() if isinstance(item[key], MetaTensor) else item[key]
            for slice_ in values.unbind(-1):  # (1, X, Y), a view
                deviation, mean = torch.std_mean(slice_, correction=0)
                slice_.sub_(mean).div_(deviation if deviation > 0 else 1.0)
        return item
