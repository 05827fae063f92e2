"""Masks, affines and colours of 3-D views, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np
from conftest import ROOT
from PIL import Image

from common.phantoms.ct.nifti_files import lps_affine

METADATA = ROOT / "bundles" / "ct_drsegunet" / "configs" / "metadata.json"
CLASSES = ["ground-glass", "consolidation", "lung", "background"]
AMBER = (255, 176, 0)


def turned(degrees: float, spacing: Sequence[float], origin: Sequence[float] = (0.0, 0.0, 0.0)) -> np.ndarray:
    """Affine of a volume turned about the patient's long axis."""
    angle = np.deg2rad(degrees)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine[:3, :3] = affine[:3, :3] @ np.diag(spacing)
    affine[:3, 3] = origin
    return affine


def pixels(path: Path) -> np.ndarray:
    """PNG as (rows, columns, 3), without the legend."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)[:-50]


def amber(picture: np.ndarray) -> np.ndarray:
    red, green, blue = np.moveaxis(picture, -1, 0)
    return (red > 110) & (green > 60) & (red > green + 20) & (green > blue + 40)


def teal(picture: np.ndarray) -> np.ndarray:
    red, green, blue = np.moveaxis(picture, -1, 0)
    return (green > red + 50) & (green > blue + 10)


def glass(picture: np.ndarray) -> np.ndarray:
    red, _, blue = np.moveaxis(picture, -1, 0)
    return blue > red + 15


def save(path: Path, array: np.ndarray, affine: np.ndarray) -> str:
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return str(path)


def chest(lesion: tuple[slice, slice, slice] | None = None) -> np.ndarray:
    """Two blocks of lung, 3, in LPS order, voxels of 4 mm; with a lesion, 1, if one is given."""
    mask = np.zeros((60, 40, 50), np.uint8)
    mask[5:27, 5:35, 5:45] = mask[33:55, 5:35, 5:45] = 3
    if lesion:
        mask[lesion] = 1
    return mask


CHEST_AFFINE = lps_affine((60, 40, 50), (4.0, 4.0, 4.0))
