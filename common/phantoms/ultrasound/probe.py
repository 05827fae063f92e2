"""The two kinds of probe: how their rays run, how sharp they see, and how rays become a picture."""

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
    """An ultrasound probe with typical values of lung examinations.

    Attributes:
        name: "linear" or "convex".
        radius: of the curved transducer face, mm; infinite for a flat face.
        face: length of the transducer face, mm.
        rays: number of beams side by side.
        pulse: deviation of the pulse in depth, mm; about a wavelength, thus longer at the lower frequency.
        beam: deviation of the beam across the rays at the focus, mm on the face.
        focus: depth of the focus, mm.
        fade: how fast the haze below the pleura decays, dB/mm.
        depths: the depth settings, mm.
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
        """Returns how many mm apart at this depth (mm) rays run that leave the face 1 mm apart."""
        return 1.0 + depth / self.radius

    @property
    def positions(self) -> Array:
        """Where the rays (R,) leave the face, mm from its middle."""
        return (np.arange(self.rays) + 0.5) * (self.face / self.rays) - self.face / 2


PROBES = {
    "linear": Probe("linear", np.inf, 40.0, 256, 0.10, 0.17, 20.0, 0.48, (40.0, 45.0, 50.0, 55.0, 60.0)),
    "convex": Probe("convex", 60.0, 62.0, 224, 0.30, 0.50, 50.0, 0.17, (80.0, 100.0, 120.0, 140.0, 160.0)),
}


@dataclass(frozen=True)
class Raster:
    """Where each pixel of a picture lies among the rays.

    Attributes:
        inside: bool (rows, columns): pixels within the field of view.
        places: float32 (2, N): fractional depth sample and ray of those pixels.
        nearest: int (N,): flat index of the nearest sample of an array (D, R).
    """

    inside: NDArray[np.bool_]
    places: NDArray[np.float32]
    nearest: NDArray[np.intp]

    def picture(self, grey: Array) -> NDArray[np.uint8]:
        """Returns grey levels (D, R) as a picture (rows, columns), 0 outside the field of view."""
        values = map_coordinates(grey, self.places, order=1, mode="nearest", output=np.float32)
        return self.fill(np.rint(values), 0)

    def label(self, label: NDArray[np.uint8], outside: int) -> NDArray[np.uint8]:
        """Returns labels (D, R) as a picture (rows, columns) without mixing them."""
        return self.fill(label.ravel()[self.nearest], outside)

    def fill(self, values: NDArray[Any], outside: int) -> NDArray[np.uint8]:
        """Places the values (N,) in a picture."""
        picture = np.full(self.inside.shape, outside, np.uint8)
        picture[self.inside] = values
        return picture


@lru_cache(maxsize=12)
def raster(probe: Probe, depth: float, size: tuple[int, int]) -> Raster:
    """Returns the pixels of a picture of this size that shows `depth` mm with as many depth samples as rows."""
    down, across = flat_pixels(probe, size) if np.isinf(probe.radius) else fan_pixels(probe, depth, size)
    inside = (down > 0) & (down < 1) & (across > 0) & (across < 1)
    places = np.stack([down[inside] * size[0] - 0.5, across[inside] * probe.rays - 0.5]).astype(np.float32)
    row, ray = (
        np.clip(np.rint(place), 0, count - 1).astype(np.intp)
        for place, count in zip(places, (size[0], probe.rays), strict=True)
    )
    return Raster(inside, places, row * probe.rays + ray)


def flat_pixels(probe: Probe, size: tuple[int, int]) -> tuple[Array, Array]:
    """Returns depth and ray of all pixels, each 0..1 within the field of view: a rectangle that fills the picture."""
    down, across = ((np.arange(n) + 0.5) / n for n in size)
    grid = np.meshgrid(down, across, indexing="ij")
    return grid[0], grid[1]


def fan_pixels(probe: Probe, depth: float, size: tuple[int, int]) -> tuple[Array, Array]:
    """Returns depth and ray of all pixels, each 0..1 within the field of view: a fan as large as fits."""
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
