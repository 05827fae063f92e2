"""Lesion burden: volume per class, share of the lungs, severity, and their row in a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from ..severity import severity_class

# Lung capacity of men: 7.99 x height in m - 7.08 litres, 8.9 at 2 m (Quanjer et al., Eur Respir J 1993;6 Suppl 16)
LARGEST_LUNG_ML = 9000.0
LUNG_SOURCES = ("network", "lung network", "threshold", "given")


def class_column(name: str) -> str:
    """Column of a class: ``ground_glass_ml`` for ``ground-glass``."""
    return f"{name.replace('-', '_').replace(' ', '_')}_ml"


def burden_columns(classes: Iterable[str]) -> list[str]:
    """Keys of ``lesion_burden`` in order, for these lesion classes."""
    return [*dict.fromkeys(("lung_ml", *map(class_column, classes), "lesion_ml", "share_of_lung", "severity"))]


def voxel_volume(affine: np.ndarray) -> float:
    """Volume of a voxel in ml, for an affine (4, 4) in mm, oblique or not."""
    return float(abs(np.linalg.det(affine[:3, :3]))) / 1000


def lesion_burden(
    mask: np.ndarray, lung: np.ndarray, values: Mapping[str, int], voxel_ml: float | None
) -> dict[str, float | str | None]:
    """Volume of each lesion class, and the share of the lungs that lesions take.

    Args:
        mask: label map of integers, any shape.
        lung: bool, same shape, True in the lungs. Lesions outside it count as lung, because a lung found by threshold
            lacks consolidations.
        values: value in ``mask`` of each lesion class, for example ``{"ground-glass": 1, "consolidation": 2}``. Other
            values in ``mask`` are no lesions.
        voxel_ml: volume of a voxel in ml, see ``voxel_volume``; None if the pixel size is unknown.

    Returns:
        ``lung_ml``, ``<class>_ml`` per class (``-`` and space become ``_``), ``lesion_ml``: ml rounded to 0.001, None
        without ``voxel_ml``; ``share_of_lung`` in 0..1 rounded to 0.0001, ``severity`` of the share before rounding
        (see ``common.severity.severity_class``): None without any lung.

    Raises:
        ValueError: for shapes that differ, a mask that is not of integers, a value that two classes share, or a voxel
            volume that is not positive.

    Example:
        >>> mask, lung = np.zeros((10, 10, 10), np.uint8), np.ones((10, 10, 10), bool)
        >>> mask[:3] = 1
        >>> burden = lesion_burden(mask, lung, {"ground-glass": 1}, voxel_ml=0.01)
        >>> burden["ground_glass_ml"], burden["lung_ml"], burden["share_of_lung"], burden["severity"]
        (3.0, 10.0, 0.3, 'CT-2')
    """
    if mask.shape != lung.shape:
        raise ValueError(f"Mask and lung must have one shape, got {mask.shape} and {lung.shape}. Put both on one grid.")
    if mask.dtype.kind not in "iub":
        raise ValueError(f"A label map must hold integers, got {mask.dtype}. Give class indices, not probabilities.")
    if len(set(values.values())) != len(values):
        raise ValueError(f"Each lesion class must have its own value, got {dict(values)}. Correct the values.")
    if voxel_ml is not None and not 0.0 < voxel_ml < float("inf"):
        raise ValueError(f"A voxel volume must be positive, in ml, got {voxel_ml}. Give None if it is unknown.")
    lesion = np.isin(mask, list(values.values()))
    counts = {
        "lung_ml": int(np.count_nonzero(lesion | lung.astype(bool))),
        **{class_column(name): int(np.count_nonzero(mask == value)) for name, value in values.items()},
        "lesion_ml": int(np.count_nonzero(lesion)),
    }
    burden: dict[str, float | str | None] = {
        column: None if voxel_ml is None else round(count * voxel_ml, 3) for column, count in counts.items()
    }
    share = counts["lesion_ml"] / counts["lung_ml"] if counts["lung_ml"] else None
    burden["share_of_lung"] = None if share is None else round(share, 4)
    burden["severity"] = None if share is None else severity_class(share)
    return burden


def implausible(
    burden: Mapping[str, float | str | None], lung: np.ndarray, lung_from: str, voxel_ml: float | None
) -> str:
    """Say why the volumes of a case cannot be those of lungs, or nothing.

    Args:
        burden: from ``lesion_burden``.
        lung: bool, the lung without the lesions outside it.
        lung_from: ``network``, whose lung has no lesions in it; ``threshold`` or ``given``.
        voxel_ml: volume of a voxel in ml; None if the pixel size is unknown.

    Example:
        >>> implausible({"lung_ml": 23291.0}, np.ones(1, bool), "network", 1.0)
        'lungs of 23.3 litres, with lesions, are larger than any (9 litres)'
    """
    total = burden["lung_ml"]
    if isinstance(total, float) and total > LARGEST_LUNG_ML:
        most = LARGEST_LUNG_ML / 1000
        return f"lungs of {total / 1000:.1f} litres, with lesions, are larger than any ({most:.0f} litres)"
    outside = isinstance(total, float) and voxel_ml and total > 2 * np.count_nonzero(lung) * voxel_ml
    if outside and lung_from != "network":
        return "most of what counts as lung are lesions outside the lung that was found"
    return ""


def burden_row(
    case: str, burden: Mapping[str, float | str | None], lung_from: str, classes: Iterable[str]
) -> dict[str, float | str | None]:
    """Row of ``lesions.csv``: ``case``, the columns of ``lesion_burden``, ``lung_from``.

    Args:
        case: its name.
        burden: from ``lesion_burden``, of the same classes.
        lung_from: where the lung comes from: ``network``, ``lung network``, ``threshold`` or ``given``.
        classes: names of the lesion classes in the order of their columns.

    Raises:
        ValueError: for a burden with other columns, or an unknown ``lung_from``.
    """
    columns = burden_columns(classes)
    if set(burden) != set(columns):
        raise ValueError(
            f"A burden must have the columns {', '.join(columns)}, got {', '.join(burden)}. Use the same classes."
        )
    if lung_from not in LUNG_SOURCES:
        raise ValueError(f"lung_from must be one of {', '.join(LUNG_SOURCES)}, got {lung_from!r}.")
    return {"case": case, **{name: burden[name] for name in columns}, "lung_from": lung_from}
