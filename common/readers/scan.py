"""Read CT scans and images of any usual format as numbers and an affine, without torch.

Every format is read into one form: (X, Y, Z) in the file's own axis order, with an affine (RAS, mm).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .dicom_volume import read_series
from .images import coloured, luminance, read_image, read_indices
from .itk import read_itk
from .nifti import read_nifti, sound
from .reasons import in_words
from .refused import Refused
from .sniff import is_dicom
from .volume import Volume

NIFTI = (".nii", ".nii.gz", ".img")
ITK = (".mha", ".mhd", ".nrrd", ".nhdr")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
DICOM = (".dcm", ".dicom", ".ima")
UPRIGHT = "PL"  # rows run to posterior, columns to the patient's left: an axial slice as radiologists look at it
TINT = 8  # grey levels between the channels of an image that counts as grey
DIRECTIONS = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0)}  # in RAS+


def kind_of(path: str | Path) -> str:
    """Return ``nifti``, ``itk``, ``picture``, ``array``, ``dicom`` or "", by a known suffix, else by content.

    DICOM files are often named by a UID, ``slice.001`` or ``IM0001``.
    """
    path = Path(path)
    name = path.name.lower()
    kinds = {"nifti": NIFTI, "itk": ITK, "picture": PICTURES, "array": (".npy",), "dicom": DICOM}
    for kind, endings in kinds.items():
        if name.endswith(endings):
            if name.endswith(".img") and not path.with_suffix(".hdr").is_file():
                return ""
            return kind
    return "dicom" if path.is_file() and is_dicom(path) else ""


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


def read_volume(
    paths: Sequence[str | Path],
    picture_axes: str = UPRIGHT,
    indices: bool = False,
    gaps: str = "refuse",
    orientation: str = "",
) -> Volume:
    """Read a volume, a DICOM series, a single DICOM slice, an array of slices, or an image.

    Args:
        paths: one file, or the files of one DICOM series in any order.
        picture_axes: directions of an image's rows and columns; see ``picture_affine``.
        indices: an image holds label indices instead of grey levels.
        gaps: what to do with missing slices of a DICOM series; see ``common.readers.dicom_volume.read_series``.
        orientation: axes of NIfTI files whose header states none; see ``common.readers.nifti.read_nifti``.

    Returns:
        float32 (X, Y, Z). ``meta`` holds ``filename_or_obj``, ``kind``, ``file_shape``, ``spacing_known``, ``notes``.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it cannot be read, or is not one scan; the message names the file.
    """
    files = [Path(path) for path in paths]
    name = files[0] if len(files) == 1 else files[0].parent
    missing = [str(file) for file in files if not file.exists()]
    if missing:
        raise FileNotFoundError(f"No such file: {', '.join(missing)}.")
    kind = kind_of(files[0])
    try:
        if kind == "nifti":
            volume = read_nifti(files[0], orientation)
        elif kind == "itk":
            volume = read_itk(files[0])
        elif kind == "dicom":
            volume = read_series(files, gaps)
        elif kind == "picture":
            volume = _read_picture(files[0], picture_axes, indices)
        elif kind == "array":
            volume = _read_array(files[0])
        else:
            raise Refused(f"unknown format; use {', '.join(NIFTI + ITK + DICOM + PICTURES)}.")
    except Refused as error:
        raise ValueError(f"{name}: {error}") from error
    except Exception as error:  # readers raise dozens of types; the user needs the file and the reason
        raise ValueError(f"{name}: cannot be read: {in_words(error)}") from error
    shape = file_shape = volume.values.shape
    if 0 in shape:
        raise ValueError(f"{name}: a scan must hold voxels, but its header states the size {shape}. Export it again.")
    if not sound(volume.affine):
        raise ValueError(f"{name}: its header states an impossible orientation or voxel size. Export it again.")
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == 2:
        shape = (*shape, 1)
    if len(shape) != 3:
        raise ValueError(f"{name}: a scan has three axes, got shape {shape}. Split it into volumes.")
    meta = {
        "filename_or_obj": str(name),
        "spacing_known": volume.meta.get("spacing_known", kind not in ("picture", "array")),
        "kind": kind,
        "file_shape": file_shape,
        "notes": volume.meta.get("notes", ""),
    }
    return Volume(volume.values.reshape(shape), volume.affine, meta)


def _read_picture(path: Path, axes: str, indices: bool) -> Volume:
    pixels = read_indices(path) if indices else read_image(path)
    if not indices:
        if coloured(pixels, TINT) > 0:
            raise Refused("a CT image must be grey, got colours. Export it without overlays.")
        pixels = luminance(pixels)
    return Volume(pixels.astype(np.float32)[..., None], picture_affine(axes), {})


def _read_array(path: Path) -> Volume:
    stack = np.load(path, mmap_mode="r", allow_pickle=False)
    if stack.ndim != 4:
        raise Refused(f"a stack of slices has shape (slices, rows, columns, channels), got {stack.shape}.")
    stack = stack[..., 0] if stack.shape[-1] == 1 else stack.argmax(-1)
    affine = picture_affine(UPRIGHT)  # orientation of the public arrays
    return Volume(np.moveaxis(stack, 0, -1).astype(np.float32), affine, {})
