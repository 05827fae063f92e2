"""NIfTI volumes: values, and the affine that the header states soundly."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from .reasons import INCOMPLETE
from .refused import Refused
from .volume import Volume

AXES = {"L": 0, "R": 0, "A": 1, "P": 1, "S": 2, "I": 2}
HARMLESS = 2**25  # bytes that a broken header may ask for
LARGEST = 2**31  # voxels; more is a broken header, and would take 8 GiB


def read_nifti(path: Path, orientation: str = "") -> Volume:
    """Read a NIfTI volume in the order of the file.

    The affine is the sform if its code is above 0 and it is invertible, else the qform if its code is above 0.

    Args:
        path: ``.nii``, ``.nii.gz``, or ``.img`` with its ``.hdr``.
        orientation: axes of a volume whose header states none (both codes 0), such as ``LAS``; the voxel sizes are
            then those of the header.

    Returns:
        float32, any number of axes, with its RAS affine in mm.

    Raises:
        Refused: for colours, complex numbers, a header without orientation, or one that is broken.
    """
    image: Any = nibabel.load(path)
    header = image.header
    dtype = header.get_data_dtype()
    if dtype.fields:
        raise Refused(f"a scan must hold one number per voxel, got colours ({', '.join(dtype.names)}). Export HU.")
    if dtype.kind == "c":
        raise Refused("a scan must hold real numbers, got complex ones. Export the magnitude or HU.")
    if np.prod(image.shape, dtype=float) > LARGEST:
        raise Refused(
            f"its header states {' x '.join(map(str, image.shape))} voxels, which is no scan. Export it again."
        )
    needed = int(image.dataobj.offset + np.prod(image.shape, dtype=float) * dtype.itemsize)
    if path.suffix.lower() == ".gz" and not holds(path, needed):
        raise Refused(INCOMPLETE)
    affine = stated_affine(header)
    if affine is None:
        if not orientation:
            raise Refused(
                "its header states no orientation (no sform and no qform with a code above 0), so left and right are "
                "unknown. Save it with its orientation, or declare the axes of all such files with --orientation, for "
                "example LAS."
            )
        affine = assumed_affine(header, orientation)
    # In the file's memory order, where a slice is contiguous; MONAI's reader copies the whole volume
    values = np.asarray(image.dataobj, np.float32)
    return Volume(values, affine, {})


def holds(path: Path, size: int) -> bool:
    """Whether a gzip file holds as many bytes as a header states; nibabel would take the memory first.

    Its last bytes state its length. Files of several members do not, and are read to the end.
    """
    with path.open("rb") as file:
        file.seek(-min(4, path.stat().st_size), os.SEEK_END)
        if size <= max(HARMLESS, int.from_bytes(file.read(4), "little")):
            return True
    with gzip.open(path) as content:
        while size > 0 and (block := content.read(min(size, 2**20))):
            size -= len(block)
    return size <= 0


def stated_affine(header: Any) -> np.ndarray | None:
    """Return the sform, else the qform, whichever is stated and sound; None without either."""
    for name in ("sform", "qform"):
        affine, code = getattr(header, f"get_{name}")(coded=True)
        if affine is not None and code > 0 and sound(affine):
            return np.asarray(affine, float)
    return None


def sound(affine: np.ndarray) -> bool:
    """Whether an affine is finite and invertible."""
    return bool(np.isfinite(affine).all()) and abs(float(np.linalg.det(affine[:3, :3]))) > 1e-9


def assumed_affine(header: Any, orientation: str) -> np.ndarray:
    """Return the affine of declared axes with the header's voxel sizes.

    Raises:
        Refused: for axes that are not three letters, one of each direction.
    """
    letters = orientation.upper()
    if len(letters) != 3 or sorted(AXES.get(letter, -1) for letter in letters) != [0, 1, 2]:
        raise Refused(f"--orientation is three letters such as LAS or RAS, got {orientation!r}.")
    codes = nibabel.orientations.axcodes2ornt(tuple(letters))
    sizes = [float(size) or 1.0 for size in header.get_zooms()[:3]]
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (world, direction) in enumerate(codes):
        affine[int(world), axis] = direction * sizes[axis]
    return affine
