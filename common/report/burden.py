"""How much of the lungs is diseased: volumes per class, share of the lungs, severity, and their table."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

import numpy as np

from ..severity import severity_class

LUNG_SOURCES = ("network", "threshold", "given")


def _column(name: str) -> str:
    """Column of a class: ``ground-glass`` to ``ground_glass_ml``."""
    return f"{name.replace('-', '_').replace(' ', '_')}_ml"


def burden_columns(classes: Iterable[str]) -> list[str]:
    """Keys of ``lesion_burden`` in order, for lesion classes of these names."""
    return ["lung_ml", *map(_column, classes), "lesion_ml", "share_of_lung", "severity"]


def lesion_burden(
    mask: np.ndarray, lung: np.ndarray, values: Mapping[str, int], voxel_ml: float | None
) -> dict[str, float | str | None]:
    """Volume of each lesion class, and the share of the lungs that lesions take.

    Args:
        mask: label map of integers, any shape.
        lung: bool, same shape, True in the lungs. Lesions outside it count as lung: thresholds miss consolidations.
        values: value in ``mask`` of each lesion class, for example ``{"ground-glass": 1, "consolidation": 2}``. Other
            values in ``mask`` are no lesions.
        voxel_ml: volume of a voxel in ml, for an affine in mm ``abs(det(affine[:3, :3])) / 1000``, oblique or not.
            None where the pixel size is unknown.

    Returns:
        ``lung_ml``, ``<class>_ml`` per class (``-`` and space become ``_``), ``lesion_ml``: ml rounded to 0.001, None
        without ``voxel_ml``; ``share_of_lung`` in 0..1 rounded to 0.0001, ``severity`` of the share before rounding
        (see ``severity_class``): None without any lung.

    Raises:
        ValueError: for shapes that differ, a mask that is not of integers, values shared by two classes, or a voxel
            volume that is not positive.
    """
    if mask.shape != lung.shape:
        raise ValueError(f"Mask and lung have one shape, got {mask.shape} and {lung.shape}. Put both on one grid.")
    if mask.dtype.kind not in "iub":
        raise ValueError(f"A label map holds integers, got {mask.dtype}. Take the class index, not the probability.")
    if len(set(values.values())) != len(values):
        raise ValueError(f"Each lesion class has its own value, got {dict(values)}. Correct the values.")
    if voxel_ml is not None and not 0.0 < voxel_ml < float("inf"):
        raise ValueError(f"A voxel volume is positive, in ml, got {voxel_ml}. Give None where it is unknown.")
    lesion = np.isin(mask, list(values.values()))
    counts = {
        "lung_ml": np.count_nonzero(lesion | lung.astype(bool)),
        **{_column(name): np.count_nonzero(mask == value) for name, value in values.items()},
        "lesion_ml": np.count_nonzero(lesion),
    }
    burden: dict[str, float | str | None] = {
        column: None if voxel_ml is None else round(count * voxel_ml, 3) for column, count in counts.items()
    }
    share = counts["lesion_ml"] / counts["lung_ml"] if counts["lung_ml"] else None
    burden["share_of_lung"] = None if share is None else round(share, 4)
    burden["severity"] = None if share is None else severity_class(share)
    return burden


class BurdenTable:
    """CSV of one row per case, written as cases finish, so that an interrupted run keeps them.

    Columns: ``case``, those of ``lesion_burden``, and ``lung_from``: ``network``, ``threshold`` or ``given``.
    Unknown values are blank. Opening starts the file anew; its folder is made where missing.

    Args:
        path: the file, usually ``lesions.csv``.
        classes: names of the lesion classes in the order of their columns.
    """

    def __init__(self, path: str | Path, classes: Iterable[str]) -> None:
        self.path = Path(path)
        self.columns = ["case", *burden_columns(classes), "lung_from"]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("w", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._file, self.columns, lineterminator="\n")
        self._writer.writeheader()
        self._file.flush()

    def append(self, case: str, burden: Mapping[str, float | str | None], lung_from: str) -> None:
        """Write one case to disk.

        Args:
            case: its name.
            burden: from ``lesion_burden``, of the same classes.
            lung_from: ``network``, ``threshold`` or ``given``, where the lungs came from.

        Raises:
            ValueError: for a burden of other columns, or an unknown ``lung_from``.
        """
        if set(burden) != set(self.columns[1:-1]):
            raise ValueError(
                f"A burden has the columns {self.columns[1:-1]}, got {list(burden)}. Use the same classes."
            )
        if lung_from not in LUNG_SOURCES:
            raise ValueError(f"lung_from is one of {LUNG_SOURCES}, got {lung_from!r}.")
        self._writer.writerow({"case": case, **burden, "lung_from": lung_from})
        self._file.flush()

    def close(self) -> None:
        """Close the file; rows are on disk already."""
        self._file.close()

    def __enter__(self) -> BurdenTable:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
