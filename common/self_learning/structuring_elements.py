"""Structuring elements of mathematical morphology as MATLAB's ``strel`` defines them; papers name them."""

from __future__ import annotations

from typing import Any

import numpy as np
from skimage import morphology


def line(length: float, degrees: float) -> np.ndarray:
    """``strel('line', length, degrees)``: pixels of a straight line about its centre.

    The ends lie at ``(length - 1) / 2`` from the centre, rounded to pixels. There is one pixel per row or column along
    the longer side, rounded to the nearest. The line therefore has the given length only along rows and columns, and
    only if the length is odd: ``line(8, 0)`` has 9 pixels. ``line(8, 50)`` is 7 rows by 5 columns with 7 pixels; in GNU
    Octave's line, the pixels beside the centre are one column nearer to it.

    Source: MathWorks, Image Processing Toolbox, ``strel``: the line is symmetric about its centre, and its length is
    about the distance between the centres of the outermost pixels. Halves are rounded away from 0, as in MATLAB;
    ``skimage.draw.line`` rounds them to one side, which would not be symmetric.

    Args:
        length: in pixels, 1 or more.
        degrees: counterclockwise from the direction in which columns count.

    Returns:
        bool (rows, columns), both odd; row 0 is the uppermost. Transpose it for arrays (X, Y).

    Raises:
        ValueError: for a length below 1.

    Example:
        >>> line(3, 45).astype(int)
        array([[0, 0, 1],
               [0, 1, 0],
               [1, 0, 0]])
    """
    if not length >= 1:
        raise ValueError(f"A line must be 1 pixel long or more, got {length}. Give its length in pixels.")
    reach, angle = (length - 1) / 2, np.deg2rad(degrees)
    right, up = _rounded(reach * np.cos(angle)), _rounded(reach * np.sin(angle))
    steps = max(abs(right), abs(up))
    along = np.arange(-steps, steps + 1)
    element = np.zeros((2 * abs(up) + 1, 2 * abs(right) + 1), dtype=bool)
    rows, columns = _rounded(-along * up / max(steps, 1)), _rounded(along * right / max(steps, 1))
    element[rows + abs(up), columns + abs(right)] = True
    return element


def disk(radius: int) -> np.ndarray:
    """``strel('disk', radius)``: from radius 3 on it is an octagon, not a disk, and smaller than its radius says.

    MATLAB builds it from lines along rows, columns and both diagonals, so that it can dilate by one after the other.
    The octagon is ``2 * radius - 1`` pixels wide. That of radius 6 is 11 x 11 with 109 pixels: the pixels within a
    distance of 6, without the four at the ends of the axes. Below radius 3 it is the disk itself.

    Source: MathWorks, Image Processing Toolbox, ``strel`` with its default of 4 lines. Their lengths: Adams, *Radial
    decomposition of discs and spheres*, CVGIP 55 (1993), page 328; Jones and Soille, *Periodic lines*, Pattern
    Recognition Letters 17 (1996). None of scikit-image's decompositions of a disk gives the same pixels.

    Args:
        radius: in pixels, 0 or more.

    Returns:
        bool (rows, columns), both odd.

    Raises:
        ValueError: for a radius that is not a whole number, or negative.
    """
    if radius < 0 or radius != int(radius):
        raise ValueError(f"The radius of a disk must be a whole number of pixels, 0 or more, got {radius}.")
    if radius < 3:
        return morphology.disk(radius, dtype=bool)
    extent = 2 * radius / (1 / np.tan(np.pi / 8) + 1 / np.sin(np.pi / 8))  # Adams: half the length of each line
    corner = 2 * int(extent / np.sqrt(2))  # pixels that the two diagonal lines cut off
    return morphology.octagon(2 * radius - 1 - 2 * corner, corner, dtype=bool)


def _rounded(values: Any) -> Any:
    """Whole numbers, halves away from 0."""
    return np.trunc(values + np.copysign(0.5, values)).astype(int)
