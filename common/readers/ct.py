"""Read CT scans and images of any usual format.

Every format is read into one form: (1, X, Y, Z) in the file's own axis order, with an affine (RAS, mm) for its
orientation. One chain of transforms then serves all formats, and a mask can return to the file's grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import torch
from monai.data import ITKReader, MetaTensor
from PIL import Image

from ..files import reason
from .dicom import check_pydicom

NIFTI = (".nii", ".nii.gz")
ITK = (".mha", ".mhd", ".nrrd")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp")
DICOM = (".dcm", ".dicom", ".ima")
UPRIGHT = "PL"  # rows run to posterior, columns to the patient's left: an axial slice as radiologists look at it
DIRECTIONS = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0)}  # in RAS+


def kind_of(path: str | Path) -> str:
    """Return ``nifti``, ``itk``, ``picture``, ``array``, ``dicom`` or "", by suffix or, without one, by content."""
    name = str(path).lower()
    for kind, endings in (
        ("nifti", NIFTI),
        ("itk", ITK),
        ("picture", PICTURES),
        ("array", (".npy",)),
        ("dicom", DICOM),
    ):
        if name.endswith(endings):
            return kind
    if Path(path).is_file() and not Path(path).suffix:
        with open(path, "rb") as file:
            return "dicom" if file.read(132)[128:] == b"DICM" else ""  # the DICOM file preamble
    return ""


def picture_affine(axes: str) -> np.ndarray:
    """Return the RAS affine (4, 4) of an image array [row, column, 0].

    Args:
        axes: two letters of R, L, A, P: the directions in which rows and columns run. ``PL`` is upright. A pixel counts
            as 1 mm.

    Raises:
        ValueError: for letters that do not span an axial plane.

    Example:
        >>> picture_affine("PL")[:2, :2]
    """
    if len(axes) != 2 or not set(axes) <= set(DIRECTIONS) or (axes[0] in "RL") == (axes[1] in "RL"):
        raise ValueError(f"Image axes are one letter of R, L and one of A, P, got {axes!r}. Upright is 'PL'.")
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = DIRECTIONS[axes[0]], DIRECTIONS[axes[1]]
    return affine


def _read_nifti(path: Path) -> MetaTensor:
    image: Any = nibabel.load(path)
    # In the file's memory order, where a slice is contiguous; MONAI's reader copies the whole volume
    return MetaTensor(torch.from_numpy(np.asarray(image.dataobj, np.float32)), affine=torch.from_numpy(image.affine))


def _read_itk(path: Path) -> MetaTensor:
    reader = ITKReader()  # imports itk here, because it takes a second and only MetaImage and NRRD need it
    values, meta = reader.get_data(reader.read(path))
    return MetaTensor(
        torch.from_numpy(np.ascontiguousarray(values, np.float32)), affine=torch.as_tensor(meta["affine"])
    )


def _read_picture(path: Path, axes: str) -> MetaTensor:
    with Image.open(path) as picture:
        if picture.mode not in ("L", "P", "1", "RGB", "RGBA"):
            raise ValueError(
                f"an image must be 8-bit grey, got mode {picture.mode}; convert it, or give DICOM or NIfTI"
            )
        pixels = np.asarray(picture)  # palette images stay indices, which label images hold
    if pixels.ndim == 3:
        if not (pixels[..., :3] == pixels[..., :1]).all():
            raise ValueError("a CT image must be grey, got colours; export it without overlays")
        pixels = pixels[..., 0]
    return MetaTensor(
        torch.from_numpy(pixels.astype(np.float32))[..., None], affine=torch.from_numpy(picture_affine(axes))
    )


def _read_dicom(paths: Sequence[Path]) -> MetaTensor:
    check_pydicom()
    import highdicom  # here, because it takes a second to import and only DICOM needs it

    datasets = [pydicom.dcmread(path) for path in paths]
    # highdicom sorts by position, applies the rescale slope, and refuses gaps and slices of differing geometry
    volume = highdicom.get_volume_from_series(datasets, dtype=np.float32)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine  # DICOM is LPS
    affine = affine[:, [2, 1, 0, 3]]  # (slice, row, column) to (column, row, slice)
    thickness = datasets[0].get("SliceThickness") if len(datasets) == 1 else None
    if thickness:  # a single slice has no distance to the next
        affine[:3, 2] *= float(thickness) / np.linalg.norm(affine[:3, 2])
    meta = {"spacing_known": len(datasets) > 1 or bool(thickness)}
    return MetaTensor(torch.from_numpy(volume.array).permute(2, 1, 0), affine=torch.from_numpy(affine), meta=meta)


def _read_array(path: Path) -> MetaTensor:
    stack = np.load(path, mmap_mode="r", allow_pickle=False)
    if stack.ndim != 4:
        raise ValueError(f"a stack of slices has shape (slices, rows, columns, channels), got {stack.shape}")
    stack = stack[..., 0] if stack.shape[-1] == 1 else stack.argmax(-1)
    affine = picture_affine(UPRIGHT)  # orientation of the public arrays
    return MetaTensor(torch.from_numpy(np.moveaxis(stack, 0, -1).astype(np.float32)), affine=torch.from_numpy(affine))


def read(path: str | Path | Sequence[str | Path], picture_axes: str = UPRIGHT) -> MetaTensor:
    """Read a volume, a DICOM series, a single DICOM slice, an array of slices, or an image.

    Args:
        path: a file, or the files of one DICOM series in any order.
        picture_axes: directions of an image's rows and columns; see ``picture_affine``.

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
    paths = [Path(path)] if isinstance(path, (str, Path)) else [Path(one) for one in path]
    name = paths[0] if len(paths) == 1 else paths[0].parent
    missing = [str(one) for one in paths if not one.exists()]
    if missing:
        raise FileNotFoundError(f"No such file: {', '.join(missing)}.")
    kind = kind_of(paths[0])
    try:
        if kind == "nifti":
            scan = _read_nifti(paths[0])
        elif kind == "itk":
            scan = _read_itk(paths[0])
        elif kind == "dicom":
            scan = _read_dicom(paths)
        elif kind == "picture":
            scan = _read_picture(paths[0], picture_axes)
        elif kind == "array":
            scan = _read_array(paths[0])
        else:
            raise ValueError(f"unknown format; use {', '.join(NIFTI + ITK + DICOM + PICTURES)}")
    except Exception as error:  # readers raise dozens of types; the user needs the file and the reason
        raise ValueError(f"{name}: cannot be read: {reason(error)}") from error
    shape = file_shape = tuple(scan.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == 2:
        shape = (*shape, 1)
    if len(shape) != 3:
        raise ValueError(f"{name}: a scan has three axes, got shape {shape}. Split it into volumes.")
    meta = {
        "filename_or_obj": str(name),
        "spacing_known": scan.meta.get("spacing_known", kind not in ("picture", "array")),
        "kind": kind,
        "file_shape": file_shape,
    }
    return MetaTensor(
        scan.as_tensor().reshape(1, *shape), affine=scan.affine, meta={**meta, "original_affine": scan.affine.clone()}
    )
