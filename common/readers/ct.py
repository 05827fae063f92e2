"""Read CT scans and images as tensors for MONAI's transforms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from monai.data import MetaTensor

from .isolated import Isolated
from .scan import UPRIGHT, read_volume
from .sniff import is_dicom

__all__ = ["in_memory", "read"]

ARRAY = "array"  # what a scan that is in no file is called


def read(
    path: str | Path | Sequence[str | Path],
    picture_axes: str = UPRIGHT,
    isolated: Isolated | None = None,
    **options: Any,
) -> MetaTensor:
    """Read a volume, a DICOM series, a single DICOM slice, an array of slices, or an image.

    Args:
        path: a file, the files of one DICOM series in any order, or the folder that holds them.
        picture_axes: directions of an image's rows and columns; see ``common.readers.scan.picture_affine``.
        isolated: the process that reads it; by default this one.
        options: ``indices``, ``gaps`` and ``orientation`` of ``common.readers.scan.read_volume``.

    Returns:
        float32 (1, X, Y, Z) in the file's own axis order, with its RAS affine in mm. ``meta["spacing_known"]`` is False
        for images and arrays, which record no pixel size, and for a single DICOM slice that states no thickness.
        One-hot arrays become channel indices.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it cannot be read, or is not one scan; the message names the file.

    Example:
        >>> scan = read("study_0255.nii.gz")
        >>> scan.shape, scan.affine
    """
    paths = [str(path)] if isinstance(path, (str, Path)) else [str(each) for each in path]
    if len(paths) == 1 and Path(paths[0]).is_dir():
        paths = [str(file) for file in sorted(Path(paths[0]).rglob("*")) if file.is_file() and is_dicom(file)]
        if not paths:
            raise ValueError(f"{path}: a folder must hold the files of one DICOM series, got none. Name a file.")
    options = {"picture_axes": picture_axes, **options}
    if isolated is None:
        values, affine, meta = read_volume(paths, **options)
    else:
        try:
            values, affine, meta = isolated.call(read_volume.__module__, read_volume.__name__, paths, **options)
        except ValueError as error:
            name = paths[0] if len(paths) == 1 else str(Path(paths[0]).parent)
            raise ValueError(str(error) if str(error).startswith(name) else f"{name}: {error}") from error
    tensor = torch.from_numpy(affine)
    return MetaTensor(torch.from_numpy(values)[None], affine=tensor, meta={**meta, "original_affine": tensor.clone()})


def in_memory(scan: MetaTensor) -> MetaTensor:
    """Give a scan that another program holds in memory the form of one that was read from a file.

    Args:
        scan: (X, Y, Z) or (1, X, Y, Z) in HU, with its RAS affine in mm. The identity counts as none, unless
            ``meta["original_affine"]`` states it: tensors without an affine have it, too.

    Returns:
        A copy in the form that ``read`` returns; further metadata are kept.

    Raises:
        ValueError: for another shape, no voxels, no affine, or one that is not RAS.
    """
    values = scan.as_tensor()
    values = values[0] if values.ndim == 4 and len(values) == 1 else values
    if values.ndim != 3 or not values.numel():
        raise ValueError(f"A CT scan is (X, Y, Z) in HU, got the shape {tuple(values.shape)}. Give one volume.")
    if str(scan.meta.get("space", "RAS")) != "RAS":
        raise ValueError(f"The affine of a scan is RAS, got {scan.meta['space']}. Give it in RAS, as nibabel does.")
    affine = torch.as_tensor(scan.affine, dtype=torch.float64)
    if affine.shape != (4, 4) or not affine.isfinite().all() or torch.linalg.matrix_rank(affine[:3, :3]) < 3:
        raise ValueError(f"The affine is a matrix (4, 4) from voxel index to mm, got {scan.affine.tolist()}.")
    if "original_affine" not in scan.meta and torch.equal(affine, torch.eye(4, dtype=affine.dtype)):
        raise ValueError("A scan in memory needs its affine (4, 4) from voxel index to mm in RAS, got none. Give it.")
    meta = {"filename_or_obj": ARRAY, **scan.meta, "affine": affine, "original_affine": affine.clone()}
    meta |= {"spacing_known": True, "kind": "array", "file_shape": tuple(values.shape), "notes": ""}
    return MetaTensor(values.float().clone()[None], meta=meta)
