"""Surfaces of masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from scipy import ndimage
from skimage.measure import marching_cubes

from ..report.styles import ClassStyle
from .scene import Part

LUNG, TRUTH = (100, 143, 255), (0, 214, 170)  # colours; that of the ground truth differs from every bundle's classes
LUNG_OPACITY = 0.2
LUNG_STEP, LESION_STEP = 2.0, 1.5  # mm, of the surfaces' grids


def surface(mask: np.ndarray, affine: np.ndarray, resolution: float = LUNG_STEP) -> tuple[np.ndarray, np.ndarray]:
    """Compute the closed surface of a mask, lightly smoothed.

    Regions too small to survive the smoothing keep the outline of their voxels, or of blocks of about ``resolution``.

    Args:
        mask: bool (X, Y, Z).
        affine: voxel index to mm, RAS, (4, 4).
        resolution: in mm; finer voxels are averaged in blocks of about this size.

    Returns:
        Vertices in mm, RAS, float32 (N, 3), and triangles of their indices, int64 (M, 3), counter-clockwise from
        outside. Both are empty for an empty mask.
    """
    filled = [np.flatnonzero(mask.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    if not filled[0].size:
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int64)
    start = np.array([each[0] for each in filled])
    blocks = mask[tuple(slice(each[0], each[-1] + 1) for each in filled)].view(np.uint8)
    block = np.maximum(1, np.round(resolution / voxel_sizes(affine))).astype(int)  # voxels
    for axis in range(3):
        blocks = np.add.reduceat(blocks, np.arange(0, blocks.shape[axis], block[axis]), axis=axis, dtype=np.uint16)
    steps = block * voxel_sizes(affine)  # mm
    sigma = max(0.7 * resolution, 0.4 * float(steps.max())) / steps  # thick slices would show as terraces
    border = np.ceil(4 * sigma).astype(int) + 1  # 4: where scipy cuts the Gaussian off
    share = np.pad(blocks.astype(np.float32) / block.prod(), [(width, width) for width in border])
    smooth = ndimage.gaussian_filter(share, sigma)
    pieces, count = ndimage.label(share > 0)
    weak = ndimage.maximum(smooth, pieces, np.arange(count + 1)) < 0.6
    weak[0] = False
    smooth[weak[pieces]] = 1.0
    vertices, faces, _, _ = marching_cubes(smooth, 0.5)
    vertices = apply_affine(affine, (vertices - border) * block + (block - 1) / 2 + start)
    turned = faces if np.linalg.det(affine[:3, :3]) < 0 else faces[:, ::-1]
    return vertices.astype(np.float32), np.ascontiguousarray(turned, dtype=np.int64)


def lesion_parts(lung: np.ndarray, labels: np.ndarray, affine: np.ndarray, styles: Sequence[ClassStyle]) -> list[Part]:
    """Compute a transparent surface of the lung, and a surface of each lesion class that occurs.

    Args:
        lung: bool (X, Y, Z), lesions included; not drawn if it holds nothing else.
        labels: integers (X, Y, Z), the predicted classes.
        affine: voxel index to mm, RAS, (4, 4).
        styles: what the values of ``labels`` mean.
    """
    colour = next((style.colour for style in styles if style.name == "lung"), LUNG)
    parts = []
    if np.count_nonzero(lung) > np.count_nonzero(np.isin(labels, [style.value for style in styles if style.is_lesion])):
        parts.append(Part("lung", *surface(lung, affine, LUNG_STEP), colour, LUNG_OPACITY))
    for style in [style for style in styles if style.is_lesion]:
        part = Part(style.name, *surface(labels == style.value, affine, LESION_STEP), style.colour)
        parts += [part] if len(part.faces) else []
    return parts
