"""Structuring elements of mathematical morphology as MATLAB's ``strel`` defines them, which papers quote by name."""

from __future__ import annotations

from typing import Any

import numpy as np
from skimage import morphology


def line(length: float, degrees: float) -> np.ndarray:
    """``strel('line', length, degrees)``: pixels of a straight line about its centre.

    The ends lie at ``(length - 1) / 2`` from the centre, rounded to pixels; along the longer side there is one pixel a
    row or column, rounded to the nearest. So the line is as long as asked only along rows and columns, and with an odd
    length: ``line(8, 0)`` has 9 pixels. ``line(8, 50)`` is 7 rows by 5 columns with 7 pixels. GNU Octave's has its
    pixels beside the centre one column nearer to it.

    Source: MathWorks, Image Processing Toolbox, ``strel``: symmetric about the centre, the length is about that between
    the outermost pixels' centres. Halves are rounded away from 0, as MATLAB rounds; ``skimage.draw.line`` rounds them
    to one side, which would not be symmetric.

    Args:
        length: in pixels, 1 or more.
        degrees: counterclockwise from the direction in which columns count.

    Returns:
        bool (rows, columns), both odd; row 0 is the uppermost. For arrays (X, Y) take the transpose.

    Raises:
        ValueError: for a length below 1.
    """
    if not length >= 1:
        raise ValueError(f"A line is 1 pixel long or more, got {length}. Give its length in pixels.")
    reach, angle = (length - 1) / 2, np.deg2rad(degrees)
    right, up = _rounded(reach * np.cos(angle)), _rounded(reach * np.sin(angle))
    steps = max(abs(right), abs(up))
    along = np.arange(-steps, steps + 1)
    element = np.zeros((2 * abs(up) + 1, 2 * abs(right) + 1), dtype=bool)
    rows, columns = _rounded(-along * up / max(steps, 1)), _rounded(along * right / max(steps, 1))
    element[rows + abs(up), columns + abs(right)] = True
    return element


def disk(radius: int) -> np.ndarray:
    """``strel('disk', radius)``: from radius 3 on no disk but an octagon, and smaller than its name.

    MATLAB builds it of lines along rows, columns and both diagonals, so that it can dilate by one after the other. It
    is ``2 * radius - 1`` pixels wide. That of radius 6 is 11 x 11 with 109 pixels: the pixels within a distance of 6,
    without the four at the ends of the axes. Below radius 3 it is the disk itself.

    Source: MathWorks, Image Processing Toolbox, ``strel`` with its default of 4 lines. Their lengths: Adams, *Radial
    decomposition of discs and spheres*, CVGIP 55 (1993), page 328; Jones and Soille, *Periodic lines*, Pattern
    Recognition Letters 17 (1996). None of scikit-image's decompositions of a disk is the same.

    Args:
        radius: in pixels, 0 or more.

    Returns:
        bool (rows, columns), both odd.

    Raises:
        ValueError: for a radius that is not a whole number, or negative.
    """
    if radius < 0 or radius != int(radius):
        raise ValueError(f"The radius of a disk is a whole number of pixels, 0 or more, got {radius}.")
    if radius < 3:
        return morphology.disk(radius, dtype=bool)
    extent = 2 * radius / (1 / np.tan(np.pi / 8) + 1 / np.sin(np.pi / 8))  # Adams: half the length of each line
    corner = 2 * int(extent / np.sqrt(2))  # what the two diagonal lines cut off
    return morphology.octagon(2 * radius - 1 - 2 * corner, corner, dtype=bool)


def _rounded(values: Any) -> Any:
    """Whole numbers, halves away from 0."""
    return np.trunc(values + np.copysign(0.5, values)).astype(int)
