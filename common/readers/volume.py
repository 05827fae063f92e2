"""A volume as it is read: values, affine, and what else is known of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


class Volume(NamedTuple):
    """A scan in the order of its file.

    Attributes:
        values: float32, any number of axes.
        affine: voxel index to mm in RAS, (4, 4).
        meta: ``spacing_known``, and ``notes``: what a user should know of the scan.
    """

    values: np.ndarray
    affine: np.ndarray
    meta: dict[str, Any]
