"""Phantoms as NIfTI files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray


def lps_affine(shape: tuple[int, ...], spacing: tuple[float, float, float]) -> NDArray[np.float64]:
    """Return the NIfTI affine (4, 4) of an array in LPS order whose first slice is centred on the origin."""
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    affine[0, 3] = spacing[0] * (shape[0] - 1) / 2
    affine[1, 3] = spacing[1] * (shape[1] - 1) / 2
    return affine


def save_nifti(path: Path, array: NDArray[Any], spacing: tuple[float, float, float], order: str = "LPS") -> None:
    """Write an array as NIfTI.

    Args:
        path: file to write; its folder is created if it does not exist.
        array: values in LPS order (X, Y, Z).
        spacing: voxel size, mm.
        order: order that the array is stored in, ``LPS`` or ``RAS``.
    """
    affine = lps_affine(array.shape, spacing)
    if order == "RAS":
        array = array[::-1, ::-1]
        affine = np.diag([spacing[0], spacing[1], spacing[2], 1.0])
        affine[0, 3] = -spacing[0] * (array.shape[0] - 1) / 2
        affine[1, 3] = -spacing[1] * (array.shape[1] - 1) / 2
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(np.ascontiguousarray(array), affine)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
