"""Grids of masks and images: whether they agree, and masks resampled onto their image's grid."""

from __future__ import annotations

import logging

import numpy as np
import torch
from monai.data import MetaTensor
from nibabel.affines import voxel_sizes
from nibabel.orientations import aff2axcodes
from scipy.ndimage import affine_transform

logger = logging.getLogger(__name__)

TOLERANCE = 0.5  # voxels of the image: up to here the nearest voxel is the same
ADVICE = (
    "Give the mask of this {}. If its header is right: training and evaluation take --resample_masks True; for "
    "inference save it on the grid of the {}."
)
LOST = 0.1  # share of a mask's volume outside its image that is worth a warning


def check_same_grid(name: str, mask: torch.Tensor, image: torch.Tensor, reference: str = "image") -> None:
    """Check that a mask lies on the grid of its image, or of another mask of the same image.

    Masks of other tools in another order of axes are fine if their header places them on the image. A header that
    states voxels of 1 mm and the origin 0 is what tools write that know no place: such a mask of the image's shape and
    axes is taken as it is. Pictures and arrays state no place either.

    Args:
        name: kind of mask, for the message.
        mask: mask (1, X, Y, Z), with an affine if it has one.
        image: image or mask (1, X, Y, Z) that the mask must match, in the same order of axes by now.
        reference: kind of ``image``, for the message.

    Raises:
        ValueError: if shapes differ, or voxels lie more than half a voxel apart; names both grids.
    """
    file = getattr(mask, "meta", {}).get("filename_or_obj", name)
    if mask.shape[1:] != image.shape[1:]:
        grids = ""
        if isinstance(mask, MetaTensor) and isinstance(image, MetaTensor):
            grids = f" ({grid_in_words(mask)}; the {reference} has {grid_in_words(image)})"
        raise ValueError(
            f"{file}: the {name} mask must have the {reference}'s shape {tuple(image.shape[1:])}, got "
            f"{tuple(mask.shape[1:])}{grids}. {ADVICE.format(reference, reference)}"
        )
    if not (isinstance(mask, MetaTensor) and isinstance(image, MetaTensor)):
        return
    apart = _apart(mask, image)
    if apart <= TOLERANCE:
        return
    axes = ["".join(map(str, aff2axcodes(_original(each)))) for each in (mask, image)]
    # In another order of axes, the header alone says which voxel is which: it must place the mask on the scan
    if axes[0] != axes[1]:
        raise ValueError(
            f"{file}: the {name} mask has the axes {axes[0]}, the {reference} {axes[1]}, and its header places it "
            "elsewhere. Save the mask with a header that describes where its voxels lie."
        )
    if _places(mask) and _places(image):
        raise ValueError(
            f"{file}: the {name} mask lies on another grid than the {reference}, up to {apart:.1f} voxels apart: "
            f"{grid_in_words(mask)}; the {reference} has {grid_in_words(image)}. {ADVICE.format(reference, reference)}"
        )


def resampled(mask: MetaTensor, image: MetaTensor, name: str) -> MetaTensor:
    """Resample a mask onto the grid of its image, by the nearest voxel; outside of it the mask is 0.

    Args:
        mask: (1, X, Y, Z), in the order of its file.
        image: (1, X, Y, Z), in the order of its file.
        name: kind of mask, for the message.

    Returns:
        The mask on the image's grid. A mask that states no place, or that is there already, is not changed.

    Raises:
        ValueError: when nothing of the mask lies in the image.
    """
    same_shape = mask.shape == image.shape
    if not (_places(mask) and _places(image)) or (same_shape and _apart(mask, image) <= TOLERANCE):
        return mask
    # SciPy, because MONAI's ResampleToMatch holds the coordinates of all voxels: 2.5 GiB for 512 x 512 x 300
    to_mask = np.linalg.inv(_affine(mask)) @ _affine(image)
    values = affine_transform(mask.as_tensor()[0].numpy(), to_mask, output_shape=tuple(image.shape[1:]), order=0)
    before = float((mask.as_tensor() > 0).sum()) * float(voxel_sizes(_affine(mask)).prod())
    after = float((values > 0).sum()) * float(voxel_sizes(_affine(image)).prod())
    file = mask.meta.get("filename_or_obj", name)
    if before and not after:
        raise ValueError(
            f"{file}: nothing of the {name} mask lies in its image: {grid_in_words(mask)}; the image has "
            f"{grid_in_words(image)}. Give the mask of this image."
        )
    if before and after < (1 - LOST) * before:
        logger.warning("%s: resampled, %.0f %% of the %s mask remain.", file, 100 * after / before, name)
    affines = {"affine": image.affine.clone(), "original_affine": image.meta.get("original_affine", image.affine)}
    return MetaTensor(torch.from_numpy(values)[None], meta={**mask.meta, **affines})


def grid_in_words(scan: MetaTensor) -> str:
    """Shape, voxel size and origin of a grid: ``32 x 32 x 8 voxels of 1 x 1 x 5 mm from (-10, 0, 20) mm``."""
    affine = _affine(scan)
    shape, sizes = " x ".join(map(str, scan.shape[1:])), " x ".join(f"{size:.3g}" for size in voxel_sizes(affine))
    return f"{shape} voxels of {sizes} mm from ({', '.join(f'{value:.4g}' for value in affine[:3, 3])}) mm"


def pixel_size(scan: torch.Tensor) -> torch.Tensor:
    """Size of a pixel of an axial slice in mm, along X and Y: (2,); NaN if the file does not state it.

    Args:
        scan: (1, X, Y, Z); a plain tensor states no size.
    """
    if not isinstance(scan, MetaTensor) or not _places(scan):
        return torch.full((2,), torch.nan)
    return torch.from_numpy(voxel_sizes(_affine(scan))[:2]).float()


def voxel_size(scan: MetaTensor, intensity: str = "HU") -> tuple[float, float, float] | None:
    """Size of a voxel in mm; None for pictures in grey levels, and for files that state none.

    Args:
        scan: (1, X, Y, Z).
        intensity: ``HU`` or ``8bit``.
    """
    if intensity != "HU" or not scan.meta.get("spacing_known", True):
        return None
    x, y, z = map(float, voxel_sizes(_affine(scan)))
    return x, y, z


def _affine(scan: MetaTensor) -> np.ndarray:
    return np.asarray(scan.affine, float)


def _original(scan: MetaTensor) -> np.ndarray:
    """Affine of the file, before its axes were turned."""
    return np.asarray(scan.meta.get("original_affine", scan.affine), float)


def _places(scan: MetaTensor) -> bool:
    """Whether a scan states where its voxels lie."""
    affine = _original(scan)
    bare = np.allclose(voxel_sizes(affine), 1) and not affine[:3, 3].any()
    return bool(scan.meta.get("spacing_known", True)) and not bare


def _apart(mask: MetaTensor, image: MetaTensor) -> float:
    """Largest distance between the corners of two grids of one shape, in voxels of the image along any axis."""
    size = np.asarray(image.shape[1:], float) - 1
    corners = np.array([[x, y, z, 1.0] for x in (0, size[0]) for y in (0, size[1]) for z in (0, size[2])])
    there = corners @ (np.linalg.inv(_affine(image)) @ _affine(mask)).T
    return float(np.abs(there - corners).max())
