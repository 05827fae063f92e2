"""Slices that look alike, for splits of sources that name no patients."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from monai.transforms import Orientation
from scipy.cluster.hierarchy import fcluster, linkage
from skimage.transform import resize

from ...readers.ct import read
from ...readers.scan import UPRIGHT

logger = logging.getLogger(__name__)

SIZE = (24, 24)  # pixels: outlines of lungs and body, and large lesions
ALIKE = 0.85  # correlation; of MedSeg's 50 pictures it joins 17, among them two copies of one picture


def look_alikes(cases: Sequence[Mapping[str, Any]], alike: float = ALIKE) -> list[str]:
    """Return a group for each slice: slices of one group look alike, and may be of one patient.

    Slices are compared at 24 x 24 pixels by correlation, and joined by average linkage. That finds copies and
    neighbours. It does not find every pair of slices of a patient.

    Args:
        cases: slices and pictures, ``image`` and, of a volume, ``slice``. Those with a ``patient`` are grouped by it.
        alike: mean correlation from which slices are joined.

    Returns:
        Names of groups, one for each case.

    Example:
        >>> groups = look_alikes(lesions("/data/medseg"))
    """
    unnamed = [case for case in cases if case.get("patient") is None]
    small = [np.ravel(resize(_slice(case), SIZE, anti_aliasing=True)) for case in unnamed]
    numbers: Any = range(len(small))
    if len(small) > 1:
        distance = np.clip(1 - np.corrcoef(np.nan_to_num(small)), 0, None)[np.triu_indices(len(small), 1)]
        numbers = fcluster(linkage(np.nan_to_num(distance, nan=1.0), "average"), 1 - alike, "distance")
    joined = sum(count for count in Counter(numbers).values() if count > 1)
    logger.info("%d of %d slices look like another one; they stay on one side of the split.", joined, len(cases))
    left = iter(numbers)
    return [f"alike {next(left)}" if case.get("patient") is None else str(case["patient"]) for case in cases]


def _slice(case: Mapping[str, Any]) -> np.ndarray:
    """The image of a case, (X, Y), of a volume the slice or the middle one."""
    scan = read(case["image"], case.get("picture_axes", UPRIGHT))
    volume = Orientation(axcodes="LPS", labels=None)(scan)[0].numpy()
    return volume[..., case.get("slice", volume.shape[-1] // 2)].astype(np.float32)
