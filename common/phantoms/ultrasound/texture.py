"""Random textures of ultrasound pictures: smooth profiles along the skin, sheets of tissue, and speckle."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, map_coordinates

from ..fields import Array, spline_weights

# Standard deviation of unit white noise after cubic B-spline interpolation along one axis and along two.
LINE_DEVIATION = (151 / 315) ** 0.5
SHEET_DEVIATION = 151 / 315

# Lattice nodes of profiles, and of sheets in depth and along the skin; beyond them the texture repeats.
PROFILE_NODES = 192
SHEET_NODES = (96, 48)


def draws(seed: int, stream: int, view: int = 0, moment: int = 0) -> np.random.Generator:
    """Returns an independent random generator for one part of a patient, of one view, or of one moment of a view."""
    return np.random.default_rng([seed, stream, view, moment])


class Profile:
    """A smooth random function of the position along the skin, of zero mean and unit deviation.

    Args:
        rng: where the lattice values come from.
        scale: lattice spacing in mm, about the size of the structures.
    """

    def __init__(self, rng: np.random.Generator, scale: float) -> None:
        self.scale = scale
        self.values = rng.standard_normal(PROFILE_NODES, dtype=np.float32)

    def at(self, position: Array) -> Array:
        """Returns the values at positions (N,) in mm."""
        values: Array = spline_weights(position / self.scale, PROFILE_NODES) @ self.values
        return values / np.float32(LINE_DEVIATION)


class Sheet:
    """A smooth random field over depth and position, of zero mean and unit deviation, drawn out along the skin.

    Args:
        rng: where the lattice values come from.
        height: size of the structures in depth, mm.
        width: size of the structures along the skin, mm.
    """

    def __init__(self, rng: np.random.Generator, height: float, width: float) -> None:
        self.height, self.width = height, width
        self.values = rng.standard_normal(SHEET_NODES, dtype=np.float32) / np.float32(SHEET_DEVIATION)

    def at(self, depth: Array, position: Array) -> Array:
        """Returns the values at depths and positions in mm, arrays of one shape."""
        places = np.stack([depth / self.height, position / self.width])
        # Without the prefilter this is a B-spline over the lattice: smoother than interpolation, and cheaper.
        field: Array = map_coordinates(self.values, places, order=3, mode="grid-wrap", prefilter=False)
        return field


def speckle(
    rng: np.random.Generator, axial: float, narrow: float, wide: float, defocus: Array, rays: int
) -> NDArray[np.complex64]:
    """Returns the echo of many random scatterers: a complex Gaussian field (D, rays) of unit power.

    Its magnitude has a Rayleigh distribution: fully developed speckle (Goodman, Statistical Optics). The point-spread
    function is Gaussian; away from the focus it is wider along the skin.

    Args:
        rng: where the scatterers come from.
        axial: deviation of the point-spread function in depth, samples.
        narrow: its deviation across the rays in the focus, in rays.
        wide: the same far from the focus.
        defocus: (D,) 0 in the focus to 1 far from it.
        rays: number of rays.
    """
    white: NDArray[Any] = rng.standard_normal((2, len(defocus), rays), dtype=np.float32)
    white = gaussian_filter1d(white, axial, axis=1, mode="wrap", truncate=3)
    sharp, blurred = (
        unit(gaussian_filter1d(white, width, axis=2, mode="wrap", truncate=2.5)) for width in (narrow, wide)
    )
    share = defocus[None, :, None].astype(np.float32)
    mixed = unit(sharp * (1 - share) + blurred * share)
    field: NDArray[np.complex64] = (mixed[0] + 1j * mixed[1]).astype(np.complex64)
    return field


def unit(parts: NDArray[Any]) -> NDArray[Any]:
    """Scales real and imaginary parts (2, D, rays) to a mean power of one at every depth."""
    power = 2 * np.mean(parts * parts, axis=(0, 2), keepdims=True)
    scaled: NDArray[Any] = parts / np.sqrt(power)
    return scaled
