"""Scans of a tilted gantry, resampled to an upright grid."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform, SpatialResample
from nibabel.orientations import io_orientation

logger = logging.getLogger(__name__)

ANGLE = 0.5  # degrees between axes of a grid that counts as rectangular
OUTSIDE = -1024.0  # HU of what the scan does not cover


def shear(affine: np.ndarray) -> float:
    """Return the largest deviation from 90 degrees between two axes of a grid.

    Example:
        >>> shear(np.diag([0.7, 0.7, 3.0, 1.0]))
        0.0
    """
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    cosines = np.abs(axes.T @ axes)[np.triu_indices(3, 1)]
    return float(np.degrees(np.arcsin(np.clip(cosines.max(), 0, 1))))


def upright_grid(affine: np.ndarray, shape: Sequence[int]) -> tuple[np.ndarray, tuple[int, ...]]:
    """Return affine and shape of the grid along the patient's axes that covers a sheared one, in its order of axes.

    Voxels keep their distances along the patient's axes. Of slices that are tilted about one of these, rows and columns
    stay where they are, and values are interpolated along the third axis alone.
    """
    orientation = io_orientation(affine)  # patient's axis of each of the grid's, and its direction
    order, signs = orientation[:, 0].astype(int), orientation[:, 1]
    matrix = np.zeros((3, 3))
    matrix[order, range(3)] = signs * np.abs(affine[order, range(3)])
    corners = np.array([[x, y, z] for x in (0, shape[0] - 1) for y in (0, shape[1] - 1) for z in (0, shape[2] - 1)])
    world = corners @ affine[:3, :3].T + affine[:3, 3]
    inside = world @ np.linalg.inv(matrix).T  # in voxels of the new grid, from its origin
    low, high = inside.min(0), inside.max(0)
    made = np.eye(4)
    made[:3, :3], made[:3, 3] = matrix, matrix @ low
    return made, tuple(int(np.ceil(size - 1e-3)) + 1 for size in high - low)


class Uprightd(MapTransform, InvertibleTransform):
    """Resample scans on a sheared grid, as a tilted gantry gives, to an upright one; others stay as they are.

    ``Invertd`` takes a mask back to the tilted slices.

    Args:
        keys: scans and masks (1, X, Y, Z) with their affine.
        mode: ``bilinear`` for scans, ``nearest`` for masks, one or one per key.
        outside: value of a scan where it shows nothing; masks have 0 there.
        allow_missing_keys: an item may lack a key.
    """

    def __init__(
        self,
        keys: KeysCollection,
        mode: str | Sequence[str] = "bilinear",
        outside: float = OUTSIDE,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.resample = SpatialResample(padding_mode="border")
        self.inside = SpatialResample(mode="nearest", padding_mode="zeros")
        self.outside = float(outside)
        self.modes = [mode] * len(self.keys) if isinstance(mode, str) else list(mode)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Resample each sheared volume."""
        item = dict(data)
        for key, mode in self.key_iterator(item, self.modes):
            scan = item[key]
            affine = np.asarray(scan.affine, float)
            angle = shear(affine)
            if angle <= ANGLE or scan.shape[-1] < 2:
                continue
            grid, shape = upright_grid(affine, scan.shape[1:])
            target = torch.as_tensor(grid)
            resampled = self.resample(scan, target, shape, mode=mode)
            ones = MetaTensor(torch.ones(scan.shape, dtype=torch.float32), affine=scan.affine)
            covered = torch.as_tensor(self.inside(ones, target, shape)) > 0  # to half a voxel beyond the outer slices
            item[key] = resampled.masked_fill(~covered, 0.0 if mode == "nearest" else self.outside)
            logger.info("%s: gantry tilt of %.1f degrees, resampled to an upright grid.", item.get("case", key), angle)
        return item

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Take volumes back to the sheared grid."""
        item = dict(data)
        for key in self.key_iterator(item):
            operations = item[key].applied_operations if isinstance(item[key], MetaTensor) else []
            if operations and operations[-1].get("id") == id(self.resample):
                item[key] = self.resample.inverse(item[key])
        return item
