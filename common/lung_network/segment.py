"""Lung masks of chest CT by the network: the lung with its lesions, also where consolidation reaches the chest wall."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from skimage.morphology import remove_small_holes

from ..inferers import FastCall
from ..lung_mask import checked_volume
from .architecture import SIZE, WINDOW, LungNetwork

WEIGHTS = Path(__file__).with_name("lungs.pt")  # lungs.json beside it is their record
AT_ONCE = 8  # slices
SMALLEST_SHARE = 0.02  # of the largest region; smaller ones are bowel or trachea
HOLE_SHARE = 0.01  # of the lung in the slice; smaller holes are vessels


@lru_cache(maxsize=2)
def lung_network(weights: Path = WEIGHTS) -> LungNetwork:
    """Load the network, once per process, in float32 and evaluation mode.

    Args:
        weights: half-precision weights; by default those that come with the code.
    """
    network = LungNetwork()
    state = torch.load(weights, map_location="cpu", weights_only=True)
    network.load_state_dict({name: values.float() for name, values in state.items()})
    return network.eval()


def lung_by_network(
    image: np.ndarray, window: Sequence[float] = WINDOW, network: torch.nn.Module | None = None
) -> np.ndarray:
    """Segment both lungs with their lesions and vessels, without trachea and main bronchi.

    Each slice is resized to 256 x 256, and the network's logits are resized back. Regions smaller than 2 % of the
    largest are left out, and holes smaller than 1 % of the lung in the slice are filled.

    Args:
        image: HU, or grey levels; shape (X, Y, Z) in LPS order (X to the patient's left, Y to the back), any numeric
            type.
        window: values that are black and white: HU for scans, (0, 255) for images in grey levels of any lung window.
        network: by default the one that comes with the code.

    Returns:
        bool of the image's shape, True in the lungs; all False if there are none.

    Raises:
        ValueError: if the image does not have three axes, or holds NaN or infinity.

    Example:
        >>> phantom = chest_ct(seed=0, size=(128, 128), slices=20)
        >>> lungs = lung_by_network(phantom.image)
        >>> lungs.shape, lungs.dtype
        ((128, 128, 20), dtype('bool'))
    """
    image = checked_volume(image)
    network = lung_network() if network is None else network
    low, high = map(float, window)
    mask = np.zeros(image.shape, dtype=bool)
    call = FastCall(amp=True)
    with torch.inference_mode():
        for start in range(0, image.shape[2], AT_ONCE):
            planes = torch.from_numpy(np.ascontiguousarray(image[:, :, start : start + AT_ONCE], np.float32))
            x = ((planes.permute(2, 0, 1)[:, None] - low) / (high - low)).clamp_(0, 1)
            logits = call(network, _resized(x, (SIZE, SIZE)))
            mask[:, :, start : start + AT_ONCE] = (_resized(logits, image.shape[:2])[:, 0] > 0).permute(1, 2, 0).numpy()
    return _tidied(mask)


def _resized(planes: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Resize slices (B, 1, X, Y) linearly; smaller ones are averages of the pixels that they replace."""
    return torch.nn.functional.interpolate(planes, tuple(size), mode="bilinear", antialias=True, align_corners=False)


def _tidied(mask: np.ndarray) -> np.ndarray:
    """Remove small 3-D components, and fill small holes of each slice."""
    labels, _ = ndimage.label(mask)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    keep: np.ndarray = sizes > SMALLEST_SHARE * sizes.max()
    mask = keep[labels] & mask
    for index in np.flatnonzero(mask.any(axis=(0, 1))):
        plane = mask[:, :, index]
        plane |= remove_small_holes(plane, max_size=int(HOLE_SHARE * plane.sum()))
    return mask
