"""The lung of scans that bring no mask of it: by network, by threshold, or not at all."""

from __future__ import annotations

import numpy as np

from ..lung_mask import lung_mask
from .architecture import WINDOW
from .segment import lung_by_network

NETWORK, THRESHOLD, GIVEN = LUNGS = ("network", "threshold", "given")  # values of --lungs
BY_NETWORK = "lung network"  # in lung_from, where "network" is the bundle's own network with its class lung
FROM = {NETWORK: BY_NETWORK, THRESHOLD: THRESHOLD}  # lung_from of a lung that was found
GREY = (0.0, 255.0)  # of images in grey levels


def check_lungs(lungs: str) -> str:
    """Return the value of ``--lungs``.

    Args:
        lungs: ``network``, ``threshold`` or ``given``.

    Raises:
        ValueError: for another value.
    """
    if lungs not in LUNGS:
        raise ValueError(f"--lungs must be one of {', '.join(LUNGS)}, got {lungs!r}.")
    return lungs


def find_lung(
    image: np.ndarray,
    spacing: tuple[float, float, float] | None,
    lungs: str,
    intensity: str = "HU",
    name: str = "the scan",
) -> np.ndarray:
    """Find the lungs of a scan that has no mask of them.

    Args:
        image: (X, Y, Z) in LPS order, HU or grey levels 0..255, neither clipped above 150 HU nor resampled.
        spacing: voxel size in mm; None if it is unknown, and for images in grey levels.
        lungs: ``network`` (``lung_by_network``) or ``threshold`` (``common.lung_mask.lung_mask``).
        intensity: ``HU`` or ``8bit``.
        name: of the case, for messages.

    Returns:
        bool of the image's shape; all False if there are none.

    Raises:
        ValueError: for ``given``: the case has no mask.
    """
    if check_lungs(lungs) == GIVEN:
        raise ValueError(
            f"{name}: --lungs given needs a lung mask of every case, got none for this one. Give its mask (the column "
            "lung of a table, or --lung_masks with their folder), or --lungs network."
        )
    if lungs == THRESHOLD:
        return lung_mask(image, spacing)
    return lung_by_network(image, GREY if intensity == "8bit" else WINDOW)
