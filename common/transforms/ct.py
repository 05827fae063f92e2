"""CT: read scans, check declared intensities, apply a window, normalise each slice."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from scipy.ndimage import gaussian_filter1d
from skimage.filters import threshold_otsu

from ..readers.ct import in_memory, read
from ..readers.isolated import Isolated
from ..readers.scan import UPRIGHT
from ..run.errors import Refused
from .grids import resampled
from .mask_values import translated

AIR = (-1150.0, -500.0)  # HU of lung, airways and the air around the body
TISSUE = (-200.0, 300.0)  # HU of fat, muscle, blood and consolidation
LEAST = 0.005  # share of the voxels that a chest CT has of each
BEYOND = 1e5  # no HU is as large: metal reaches 3,000 to 30,000
SAMPLE = 500_000  # voxels that are looked at
KINDS: dict[Hashable, str] = {"label": "lesion", "truth": "lesion", "lung": "lung"}  # of masks, by key
LUNG_WINDOW = (-1350.0, 150.0)  # HU: the usual window in which lungs are shown
BY_MODES = "modes"  # in place of a window: see window_by_modes
LUNG_LEVEL, TISSUE_LEVEL = -860.0, 40.0  # HU of healthy lung, and of muscle and blood
SMOOTHING = 3.0  # grey levels, standard deviation
SMALLEST = 8  # pixels of a slice, each way


class LoadScand(MapTransform):
    """Read the file or DICOM series of each key as (1, X, Y, Z); see ``common.readers.ct.read``.

    A key that is missing or None is removed from the item, so that sources without lung masks need no other pipeline.
    One-hot arrays (``masks_*.npy`` of MedSeg) are converted to the form of the other layouts: 0 and 1 under ``lung``,
    else a lesion mask. Images of masks keep their indices. If the item has ``label_map`` (value: class),
    the lesion mask gets the values of the public masks, and if a value is the lung, the item a lung mask. If it has
    ``resample_masks``, masks on another grid than ``image`` are resampled onto it.

    Args:
        keys: paths; or scans that another program holds in memory, see ``common.readers.ct.in_memory``. Tensors that
            ``common.readers.ct.read`` gave stay as they are.
        isolated: read in a process of its own, so that a decoder that crashes or hangs loses one case.
        timeout: seconds after which reading one file is stopped, if isolated.
        memory: GiB that reading one file may need, if isolated.
        allow_missing_keys: ignored, since missing keys are always left out.
    """

    def __init__(
        self,
        keys: KeysCollection,
        isolated: bool = False,
        timeout: float = 300.0,
        memory: float = 16.0,
        allow_missing_keys: bool = True,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.reader = Isolated(timeout, memory) if isolated else None

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace each path by its tensor."""
        item = dict(data)
        options = {name: item[name] for name in ("gaps", "orientation") if name in item}
        for key in self.keys:
            if item.get(key) is None:
                item.pop(key, None)
                continue
            axes = item.get("picture_axes", UPRIGHT)
            scan = item[key]
            if not isinstance(scan, MetaTensor):
                scan = read(scan, axes, self.reader, indices=key != "image", **options)
            elif "kind" not in scan.meta:
                scan = in_memory(scan)
            if key == "image":
                item["notes"] = scan.meta["notes"]
                if sorted(scan.shape[1:])[1] < SMALLEST:  # slices may lie along any axis of the file
                    size = " x ".join(map(str, scan.shape[1:]))
                    raise ValueError(f"{item.get('case', item[key])}: {size} voxels are no CT. Leave it out.")
            if scan.meta["kind"] == "array" and key != "image":
                # of the channels ground-glass, consolidation, lung, background
                values = torch.tensor([1.0, 1.0, 1.0, 0.0] if key == "lung" else [1.0, 2.0, 0.0, 0.0])
                scan = MetaTensor(values[scan.as_tensor().long()], meta=scan.meta)
            item[key] = scan
        self.own_masks(item)
        return item

    def own_masks(self, item: dict[Hashable, Any]) -> None:
        """Translate the values of masks by the item's ``label_map``, and resample masks with ``resample_masks``."""
        masks = [key for key in self.keys if key in KINDS and key in item]
        for key in masks:
            if item.get("label_map") and KINDS[key] == "lesion":
                item[key], lung = translated(item[key], item["label_map"])
                if lung is not None and "lung" in self.keys and "lung" not in item:
                    item["lung"] = lung
                    masks.append("lung")
        if item.get("resample_masks") and "image" in item:
            for key in masks:
                item[key] = resampled(item[key], item["image"], KINDS[key])


def check_intensity(scan: torch.Tensor, intensity: str, name: str) -> None:
    """Check a scan against its declared intensity.

    Args:
        scan: intensities of any shape.
        intensity: ``HU`` or ``8bit`` (windowed grey levels, 0..255).
        name: file name for the message.

    Raises:
        Refused: if values do not fit the declared intensity.
        ValueError: if values are not finite, or if the intensity is unknown.
    """
    if scan.is_complex():
        raise ValueError(f"{name}: intensities must be real numbers, got complex ones. Export the scan in HU.")
    low, high = (float(bound) for bound in torch.aminmax(scan))  # keeps NaN and infinity
    observed = f"observed range {low:g} to {high:g}"
    if not np.isfinite(low) or not np.isfinite(high):
        count = int((~torch.isfinite(scan)).sum())
        raise ValueError(
            f"{name}: intensities must be finite, got {count} NaN or infinite voxels. Export the scan again."
        )
    if intensity == "HU":
        if max(-low, high) > BEYOND:
            raise Refused(f"{name}: declared as HU, but {observed}, which no CT has. Export it again.")
        shares = hu_shares(scan)
        lacking = [
            f"{kind} ({bounds[0]:g} to {bounds[1]:g} HU): {100 * share:.2f} % of the voxels"
            for kind, bounds, share in zip(("air", "soft tissue"), (AIR, TISSUE), shares, strict=True)
            if share < LEAST
        ]
        if lacking:
            raise Refused(
                f"{name}: declared as HU, but a chest CT has air and soft tissue, got too little "
                f"{' and '.join(lacking)}; {observed}. If it holds windowed grey levels 0..255, declare --intensity "
                "8bit. If the rescale slope and intercept were lost (values of HU + 1024), export it again. If it is a "
                "mask, leave it out with --exclude."
            )
    elif intensity == "8bit":
        if low < 0 or high > 255:
            raise Refused(
                f"{name}: declared as 8bit, which is 0..255; {observed}. If it is CT in HU, declare --intensity HU."
            )
    else:
        raise ValueError(f"{name}: unknown intensity {intensity!r}. Declare 'HU' or '8bit'.")


def hu_shares(scan: torch.Tensor) -> tuple[float, float]:
    """Return the shares of air and of soft tissue among the voxels of a scan in HU, of a sample of large ones.

    Padding outside the field of view (below the HU of air) does not count.
    """
    values = scan.as_tensor() if isinstance(scan, MetaTensor) else scan
    flat = values.reshape(-1)
    sample = flat[:: max(1, flat.numel() // SAMPLE)]
    sample = sample[sample >= AIR[0]]
    if not sample.numel():
        return 0.0, 0.0
    air, tissue = (((sample >= low) & (sample <= high)).float().mean() for low, high in (AIR, TISSUE))
    return float(air), float(tissue)


def window_by_modes(picture: torch.Tensor) -> tuple[float, float]:
    """Estimate the window of a picture of the chest: lung and soft tissue are its most frequent grey levels.

    The levels are those of the histogram's highest peaks below and above Otsu's threshold. They are taken as -860 HU
    and 40 HU. Where most of the lung is diseased, or hardly any lung is seen, the estimate is poor.

    Args:
        picture: grey levels 0..255, of any shape.

    Returns:
        HU of the grey levels 0 and 255.

    Example:
        >>> window_by_modes(torch.tensor([40.0] * 50 + [210.0] * 50))  # what lung windows give
        (-1071.76..., 278.23...)
    """
    levels = picture.round().clamp(0, 255).to(torch.int64).reshape(-1).cpu()
    counts = torch.bincount(levels, minlength=256).numpy().astype(float)
    between = int(threshold_otsu(hist=(counts, np.arange(256)))) if np.count_nonzero(counts) > 1 else 127
    counts[[0, 255]] = 0  # clipped, or padding
    smooth = gaussian_filter1d(counts, SMOOTHING, mode="constant")
    lung, tissue = int(smooth[: between + 1].argmax()), between + 1 + int(smooth[between + 1 :].argmax())
    per_level = (TISSUE_LEVEL - LUNG_LEVEL) / max(tissue - lung, 1)
    black = LUNG_LEVEL - lung * per_level
    return black, black + 255 * per_level


class WindowCTd(MapTransform):
    """Check the declared intensity and clip to a window in HU.

    8-bit grey levels are first mapped linearly to ``grey_window``, because images do not record the window that they
    were made with; items whose ``grey_window`` is ``modes`` by the grey levels of their lung and their soft tissue, see
    ``window_by_modes``. A z-score afterwards removes errors of scale and offset, but not an error of the clipping
    point.

    Args:
        keys: images of any shape.
        window: lower and upper bound in HU.
        intensity: ``HU`` or ``8bit``, for items that do not declare their own under ``intensity``.
        grey_window: HU of the grey levels 0 and 255, or ``modes``, for items that do not declare their own under
            ``grey_window``; by default ``window``.

    Raises:
        ValueError: as ``check_intensity`` does, or for another word than ``modes``.
    """

    def __init__(
        self,
        keys: KeysCollection,
        window: Sequence[float],
        intensity: str = "HU",
        grey_window: Sequence[float] | str | None = None,
    ) -> None:
        super().__init__(keys)
        self.low, self.high = float(window[0]), float(window[1])
        if isinstance(grey_window, str) and grey_window != BY_MODES:
            raise ValueError(
                f"--grey_window must be the HU of grey 0 and 255, or {BY_MODES}, got {grey_window!r}. Give one of both."
            )
        self.grey_window = grey_window or window
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
                declared = item.get("grey_window", self.grey_window)
                black, white = window_by_modes(values) if declared == BY_MODES else declared
                values.mul_((white - black) / 255.0).add_(black)
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


class NormalizeCTd(NormalizeSlicesd):
    """Normalise windowed CT, in place.

    Args:
        keys: images (1, X, Y, Z), clipped to the window.
        by: ``slice``: see ``NormalizeSlicesd``; or ``window``: -1 to 1 from its lower to its upper bound. Each slice's
            mean moves with what it shows: at the lung's base, where tissue prevails, liver and fat look as ground-glass
            does elsewhere. The window's bounds do not move.
        window: lower and upper bound in HU.

    Raises:
        ValueError: for another ``by``.
    """

    def __init__(self, keys: KeysCollection, by: str, window: Sequence[float]) -> None:
        super().__init__(keys)
        if by not in ("slice", "window"):
            raise ValueError(f"--normalise must be slice or window, got {by!r}.")
        self.by, self.low, self.high = by, float(window[0]), float(window[1])

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Normalise each image."""
        if self.by == "slice":
            return super().__call__(data)
        item = dict(data)
        for key in self.keys:
            values = item[key].as_tensor() if isinstance(item[key], MetaTensor) else item[key]
            values.sub_(self.low).mul_(2 / (self.high - self.low)).sub_(1)
        return item
