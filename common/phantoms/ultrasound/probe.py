"""Linear and convex probes: course of their rays, resolution, and conversion of rays to an image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from ..fields import Array


@dataclass(frozen=True)
class Probe:
    """An ultrasound probe.

    Attributes:
        name: ``linear`` or ``convex``.
        radius: radius of the curved transducer face, mm; infinite for a flat face.
        face: length of the transducer face, mm.
        rays: number of beams side by side.
        pulse: standard deviation of the pulse in depth, mm; about a wavelength, so longer at lower frequencies.
        beam: standard deviation of the beam across the rays at the focus, mm at the face.
        focus: depth of the focus, mm.
        fade: decay of the haze below the pleura, dB/mm.
        depths: depth settings, mm.
    """

    name: str
    radius: float
    face: float
    rays: int
    pulse: float
    beam: float
    focus: float
    fade: float
    depths: tuple[float, ...]

    def spread(self, depth: float) -> float:
        """Return the distance (mm) at this depth (mm) between rays that are 1 mm apart at the face."""
        return 1.0 + depth / self.radius

    @property
    def positions(self) -> Array:
        """Positions of the rays (R,) at the face, mm from its middle."""
        return (np.arange(self.rays) + 0.5) * (self.face / self.rays) - self.face / 2


# Typical values of lung examinations.
PROBES = {
    "linear": Probe("linear", np.inf, 40.0, 256, 0.10, 0.17, 20.0, 0.48, (40.0, 45.0, 50.0, 55.0, 60.0)),
    "convex": Probe("convex", 60.0, 62.0, 224, 0.30, 0.50, 50.0, 0.17, (80.0, 100.0, 120.0, 140.0, 160.0)),
}


@dataclass(frozen=True)
class Raster:
    """The positions of an image's pixels among the rays.

    Attributes:
        inside: bool (rows, columns), True for pixels within the field of view.
        places: float32 (2, N), fractional depth sample and ray of those pixels.
        nearest: int (N,), flat index of their nearest sample in an array (D, R).
    """

    inside: NDArray[np.bool_]
    places: NDArray[np.float32]
    nearest: NDArray[np.intp]

    def image(self, grey: Array) -> NDArray[np.uint8]:
        """Convert grey levels (D, R) to an image (rows, columns), 0 outside the field of view."""
        values = map_coordinates(grey, self.places, order=1, mode="nearest", output=np.float32)
        return self.fill(np.rint(values), 0)

    def label(self, label: NDArray[np.uint8], outside: int) -> NDArray[np.uint8]:
        """Convert labels (D, R) to a label image (rows, columns), by the nearest sample."""
        return self.fill(label.ravel()[self.nearest], outside)

    def fill(self, values: NDArray[Any], outside: int) -> NDArray[np.uint8]:
        """Return an image with values (N,) in the field of view and ``outside`` elsewhere."""
        image = np.full(self.inside.shape, outside, np.uint8)
        image[self.inside] = values
        return image


@lru_cache(maxsize=12)
def raster(probe: Probe, depth: float, size: tuple[int, int]) -> Raster:
    """Return the pixel positions of an image of this size that shows ``depth`` mm, with one depth sample per row."""
    down, across = flat_pixels(probe, size) if np.isinf(probe.radius) else fan_pixels(probe, depth, size)
    inside = (down > 0) & (down < 1) & (across > 0) & (across < 1)
    places = np.stack([down[inside] * size[0] - 0.5, across[inside] * probe.rays - 0.5]).astype(np.float32)
    row, ray = (
        np.clip(np.rint(place), 0, count - 1).astype(np.intp)
        for place, count in zip(places, (size[0], probe.rays), strict=True)
    )
    return Raster(inside, places, row * probe.rays + ray)


def flat_pixels(probe: Probe, size: tuple[int, int]) -> tuple[Array, Array]:
    """Return depth and ray of all pixels, each 0..1 within the field of view, a rectangle that fills the image."""
    down, across = ((np.arange(n) + 0.5) / n for n in size)
    grid = np.meshgrid(down, across, indexing="ij")
    return grid[0], grid[1]


def fan_pixels(probe: Probe, depth: float, size: tuple[int, int]) -> tuple[Array, Array]:
    """Return depth and ray of all pixels, each 0..1 within the field of view, the largest fan that fits."""
    half_angle = probe.face / probe.radius / 2
    top = probe.radius * np.cos(half_angle)
    height = probe.radius + depth - top
    width = 2 * (probe.radius + depth) * np.sin(half_angle)
    pixel = max(height / size[0], width / size[1])
    y = top + (np.arange(size[0]) + 0.5) * pixel
    x = (np.arange(size[1]) + 0.5 - size[1] / 2) * pixel
    distance = np.hypot(y[:, None], x[None, :])
    angle = np.arctan2(x[None, :], y[:, None])
    return (distance - probe.radius) / depth, angle / (2 * half_angle) + 0.5
