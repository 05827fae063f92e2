"""A saved mask and the classes of its values."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from ..report.scan_report import to_lps
from ..report.styles import ClassStyle, class_styles
from .surfaces import LUNG

LESION = (255, 176, 0)  # colour without metadata
UNREADABLE = (
    nibabel.filebasedimages.ImageFileError,
    nibabel.spatialimages.HeaderDataError,
    OSError,
    EOFError,
    zlib.error,
)


@dataclass(frozen=True)
class Study:
    """A saved mask in LPS order.

    Args:
        path: the file.
        mask: uint8 (X, Y, Z).
        affine: voxel index to mm, RAS, (4, 4).
        styles: the classes of the values.
    """

    path: Path
    mask: np.ndarray
    affine: np.ndarray
    styles: Sequence[ClassStyle]

    @property
    def case(self) -> str:
        """Name of the file without its endings."""
        return _stem(self.path).removesuffix("_mask")

    @property
    def lesion(self) -> np.ndarray:
        """Where lesions are, bool (X, Y, Z)."""
        return np.isin(self.mask, [style.value for style in self.styles if style.is_lesion])


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")


def read_volume(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a NIfTI volume.

    Returns:
        Array (X, Y, Z) in LPS order, of the file's type, or float32 if the file scales its values; affine (4, 4).

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a NIfTI file, or not a volume.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No such file: {path}. Give a saved mask, such as case_mask.nii.gz.")
    try:
        image: Any = nibabel.load(path)
        if not isinstance(image, nibabel.Nifti1Pair):
            raise nibabel.filebasedimages.ImageFileError(f"it is {type(image).__name__}")
        data: Any = image.dataobj
        scaled = (data.slope, data.inter) != (1.0, 0.0)
        array = data.get_scaled(np.float32) if scaled else np.asanyarray(data)
    except UNREADABLE as error:
        raise ValueError(f"{path} must be a NIfTI file, but cannot be read as one: {error}. Convert it.") from error
    shape = array.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3 or min(shape) < 2:
        raise ValueError(f"{path}: a 3-D view needs a volume of two or more slices, got shape {array.shape}.")
    if not np.linalg.det(image.affine):
        raise ValueError(f"{path}: the affine must be invertible, got {image.affine.tolist()}. Correct the header.")
    return to_lps(array.reshape(shape, order="F"), image.affine)


def read_mask(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a saved mask as uint8 (X, Y, Z) in LPS order, and its affine (4, 4).

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a NIfTI volume, or holds values other than the integers 0..255.
    """
    array, affine = read_volume(path)
    if array.dtype == np.uint8:
        return array, affine
    mask = np.empty(array.shape, np.uint8, order="F")
    for index in range(array.shape[2]):  # slice by slice, to save memory
        plane = array[:, :, index]
        with np.errstate(invalid="ignore"):  # NaN is found below
            mask[:, :, index] = plane.astype(np.uint8)
        if not (mask[:, :, index] == plane).all():
            wrong = plane[mask[:, :, index] != plane].flat[0]
            raise ValueError(
                f"{path}: a mask must hold integers 0..255, got {wrong}. Give a label map, not a scan or probabilities."
            )
    return mask, affine


def read_study(path: str | Path, metadata: str | None, lung_value: int) -> Study:
    """Read a mask and the classes of its values.

    Args:
        path: NIfTI file.
        metadata: a bundle's ``metadata.json``. Without it, every value but 0 and ``lung_value`` is the class
            ``lesion``.
        lung_value: value of the lung, used without metadata.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a mask that cannot be read, or is empty, or has values that the metadata does not declare.

    Example:
        >>> study = read_study("out/case_mask.nii.gz", "bundles/ct_drsegunet/configs/metadata.json", lung_value=3)
        >>> study.case, study.lesion.sum()
        ('case', 20345)
    """
    mask, affine = read_mask(path)
    values = [value for value in np.flatnonzero(np.bincount(mask.ravel(order="K"), minlength=256)).tolist() if value]
    if not values:
        raise ValueError(f"{path} holds neither lung nor lesion, only 0. Give another mask.")
    if metadata is None:
        lesion = ClassStyle("lesion", 1 if lung_value != 1 else 2, LESION)
        others = [value for value in values if value != lung_value]
        mask = _replaced(mask, dict.fromkeys(others, lesion.value))
        return Study(Path(path), mask, affine, [lesion, ClassStyle("lung", lung_value, LUNG)])
    names = [entry["name"] for entry in json.loads(Path(metadata).read_text())["labels"]]
    styles = class_styles(metadata, names)
    unknown = sorted(set(values) - {style.value for style in styles})
    if unknown:
        raise ValueError(
            f"{path}: {metadata} declares no class of value {unknown[0]}. Give the metadata of its bundle."
        )
    return Study(Path(path), mask, affine, styles)


def _replaced(mask: np.ndarray, values: dict[int, int]) -> np.ndarray:
    """A mask with other values, in the same memory order."""
    if all(old == new for old, new in values.items()):
        return mask
    table = np.arange(256, dtype=np.uint8)
    table[list(values)] = list(values.values())
    return table[mask.T].T
