"""Random textures of ultrasound images: smooth profiles along the skin, tissue textures, and speckle."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, map_coordinates

from ..fields import Array, spline_weights

# Standard deviation of unit white noise after cubic B-spline interpolation along one axis and along two.
PROFILE_DEVIATION = (151 / 315) ** 0.5
TEXTURE_DEVIATION = 151 / 315

# Lattice nodes of profiles, and of tissue textures in depth and along the skin. Beyond them, the values repeat.
PROFILE_NODES = 192
TEXTURE_NODES = (96, 48)


def generator(seed: int, stream: int, view: int = 0, moment: int = 0) -> np.random.Generator:
    """Return an independent random generator for one part of a patient, of a view, or of a moment of a view."""
    return np.random.default_rng([seed, stream, view, moment])


class Profile:
    """Smooth random function of the position along the skin, with mean 0 and standard deviation 1.

    Args:
        rng: source of the lattice values.
        scale: lattice spacing in mm, about the size of the structures.
    """

    def __init__(self, rng: np.random.Generator, scale: float) -> None:
        self.scale = scale
        self.values = rng.standard_normal(PROFILE_NODES, dtype=np.float32)

    def at(self, position: Array) -> Array:
        """Return the values at positions (N,) in mm."""
        values: Array = spline_weights(position / self.scale, PROFILE_NODES) @ self.values
        return values / np.float32(PROFILE_DEVIATION)


class TissueTexture:
    """Smooth random field over depth and position, with mean 0 and standard deviation 1, stretched along the skin.

    Args:
        rng: source of the lattice values.
        height: size of the structures in depth, mm.
        width: size of the structures along the skin, mm.
    """

    def __init__(self, rng: np.random.Generator, height: float, width: float) -> None:
        self.height, self.width = height, width
        self.values = rng.standard_normal(TEXTURE_NODES, dtype=np.float32) / np.float32(TEXTURE_DEVIATION)

    def at(self, depth: Array, position: Array) -> Array:
        """Return the values at depths and positions in mm, arrays of the same shape."""
        places = np.stack([depth / self.height, position / self.width])
        # Without prefilter, this is a B-spline over the lattice: smoother than interpolation, and faster.
        field: Array = map_coordinates(self.values, places, order=3, mode="grid-wrap", prefilter=False)
        return field


def speckle(
    rng: np.random.Generator, axial: float, narrow: float, wide: float, defocus: Array, rays: int
) -> NDArray[np.complex64]:
    """Return the echo of many random scatterers: a complex Gaussian field (D, rays) of mean power 1.

    Its magnitude has a Rayleigh distribution: fully developed speckle (Goodman, Statistical Optics). The point-spread
    function is Gaussian. Away from the focus it is wider along the skin.

    Args:
        rng: source of the scatterers.
        axial: standard deviation of the point-spread function in depth, in samples.
        narrow: its standard deviation across the rays at the focus, in rays.
        wide: its standard deviation across the rays far from the focus, in rays.
        defocus: (D,) from 0 at the focus to 1 far from it.
        rays: number of rays.
    """
    white: NDArray[Any] = rng.standard_normal((2, len(defocus), rays), dtype=np.float32)
    white = gaussian_filter1d(white, axial, axis=1, mode="wrap", truncate=3)
    sharp, blurred = (
        unit_power(gaussian_filter1d(white, width, axis=2, mode="wrap", truncate=2.5)) for width in (narrow, wide)
    )
    share = defocus[None, :, None].astype(np.float32)
    mixed = unit_power(sharp * (1 - share) + blurred * share)
    field: NDArray[np.complex64] = (mixed[0] + 1j * mixed[1]).astype(np.complex64)
    return field


def unit_power(parts: NDArray[Any]) -> NDArray[Any]:
    """Scale real and imaginary parts (2, D, rays) to a mean power of 1 at each depth."""
    power = 2 * np.mean(parts * parts, axis=(0, 2), keepdims=True)
    scaled: NDArray[Any] = parts / np.sqrt(power)
    return scaled
