"""Hollows of a lung mask at the ribs, where consolidation at the chest wall was missed."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.morphology import convex_hull_image

SMALLEST_AREA = 100.0  # mm2, summed over the slices
HOLLOW = (2.5, 20.0)  # mm, radius of the largest circle in a hollow; less is roughness, more may be liver or spleen
FACING = 0.5  # cosine of 60 degrees; towards the front, lungs have hollows beside the sternum
GAP_SMOOTHING = 5.0  # mm, across columns
GAP_DEPTH = 0.5  # of the highest column of the smaller lung; measured: below 0.31


def midline_between(mask: np.ndarray, pixel: tuple[float, float]) -> int | None:
    """Return the column of the gap between the lungs, or None without a gap, because there is one lung only."""
    columns = ndimage.gaussian_filter1d(mask.sum(axis=(1, 2)).astype(float), GAP_SMOOTHING / pixel[0])
    first, last = np.searchsorted(np.cumsum(columns), np.array([0.15, 0.85]) * columns.sum())
    column = int(first + np.argmin(columns[first : last + 1]))
    sides = min(columns[: column + 1].max(), columns[column:].max())
    return column if columns[column] < GAP_DEPTH * sides else None


def _costal(opening: np.ndarray, hollow: np.ndarray) -> bool:
    """Return whether a hollow opens to the ribs at the side or the back, not to heart, spine, diaphragm or sternum.

    The opening must face away from the middle of the chest within 60 degrees, and not to the front.

    Args:
        opening: points (N, 2) on the straight line that closes the hollow, in mm from the middle of the chest.
        hollow: points (M, 2) of the hollow, in mm from the middle of the chest.
    """
    if len(opening) < 3:  # lung surrounds the hollow
        return False
    middle = opening.mean(axis=0)
    normal = np.linalg.svd(opening - middle, full_matrices=False)[2][1]
    if normal @ (middle - hollow.mean(axis=0)) < 0:
        normal = -normal
    return bool(normal @ middle > FACING * np.linalg.norm(middle) and normal[1] > -FACING)


def convex_hull(piece: np.ndarray) -> np.ndarray:
    """Return the convex hull of a mask (X, Y); pixels on one line are returned as they are."""
    if np.count_nonzero(piece) <= max(piece.shape):
        pixels = np.argwhere(piece)
        if np.linalg.matrix_rank(pixels - pixels[:1]) < 2:
            return piece
    return convex_hull_image(piece, offset_coordinates=False)


def hollows(half: np.ndarray, centre: tuple[float, float], pixel: tuple[float, float]) -> np.ndarray:
    """Return the hollows at the ribs in the half of a mask (X, Y) on one side of the midline.

    Args:
        half: that half of the mask.
        centre: middle of the chest, in pixels of the half.
        pixel: size of a pixel in mm.
    """
    found = np.zeros_like(half)
    pieces, _ = ndimage.label(half)
    for number, box in enumerate(ndimage.find_objects(pieces), start=1):
        piece = pieces[box] == number
        if np.count_nonzero(piece) * pixel[0] * pixel[1] < SMALLEST_AREA:
            continue
        hull = convex_hull(piece)
        labels, count = ndimage.label(hull & ~half[box])
        depth = ndimage.distance_transform_edt(np.pad(labels > 0, 1), sampling=pixel)[1:-1, 1:-1]
        radius = ndimage.maximum(depth, labels, np.arange(count + 1))
        edge = hull & ~ndimage.binary_erosion(hull)
        origin = np.array(centre) - [span.start for span in box]
        for label in np.flatnonzero((radius > HOLLOW[0]) & (radius < HOLLOW[1])):
            hollow = labels == label
            opening, points = ((np.argwhere(each) - origin) * pixel for each in (hollow & edge, hollow))
            if _costal(opening, points):
                found[box] |= hollow
    return found
