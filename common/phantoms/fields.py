"""Smooth random fields in millimetres, and helpers for shapes that all phantoms use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

# float32 wherever whole slices are computed; the type checker cannot always prove it.
Array = NDArray[np.floating[Any]]

# Size in mm of the box around the carina that the fields cover. Outside it they repeat. Every chest fits in it.
FIELD_WIDTH = 520.0
FIELD_HEIGHT = 420.0

# Standard deviation of unit white noise after cubic B-spline interpolation along three axes: (151 / 315) ** 1.5.
SPLINE_DEVIATION = 0.3319


def generator(seed: int, stream: int) -> np.random.Generator:
    """Return an independent random generator for one part of one patient.

    Because each part has its own stream, a patient's body stays the same if, for example, the lesions are left out.
    """
    return np.random.default_rng([seed, stream])


def spline_weights(position: Array, nodes: int) -> csr_array:
    """Return cubic B-spline weights (len(position), nodes) at fractional node positions; the nodes repeat."""
    base = np.floor(position).astype(int)
    t = position - base
    pieces = [(1 - t) ** 3 / 6, 2 / 3 - t**2 + t**3 / 2, 1 / 6 + t / 2 + t**2 / 2 - t**3 / 2, t**3 / 6]
    columns = (base[:, None] + np.arange(-1, 3)) % nodes
    rows = np.repeat(np.arange(len(position)), 4)
    weights = np.stack(pieces, axis=1).astype(np.float32)
    return csr_array((weights.ravel(), (rows, columns.ravel())), shape=(len(position), nodes))


class SmoothField:
    """Gaussian random field over positions in mm, with mean 0 and a standard deviation of about 1.

    The field is white noise on a lattice that is fixed in space, interpolated by splines. The same patient therefore
    has the same field at any sampling.

    Args:
        rng: source of the lattice values.
        scale: lattice spacing in mm, about the size of the structures in the field.
    """

    def __init__(self, rng: np.random.Generator, scale: float) -> None:
        across = int(np.ceil(FIELD_WIDTH / scale))
        along = int(np.ceil(FIELD_HEIGHT / scale))
        self.scale = scale
        self.values = rng.standard_normal((along, across, across), dtype=np.float32)

    def on(self, x: Array, y: Array) -> Callable[[float], Array]:
        """Return a function from height z in mm to the field (len(x), len(y)) on the axes x and y in mm."""
        planes, across, _ = self.values.shape
        along_x = spline_weights(x / self.scale + across / 2, across)
        along_y = spline_weights(y / self.scale + across / 2, across)

        def at(z: float) -> Array:
            along_z = spline_weights(np.array([z / self.scale + planes / 2]), planes)
            plane = sum(w * self.values[k] for w, k in zip(along_z.data, along_z.indices, strict=True))
            lines = along_y @ np.ascontiguousarray(plane.T)
            field: Array = along_x @ np.ascontiguousarray(lines.T) / np.float32(SPLINE_DEVIATION)
            return field

        return at


def smoothstep(value: Array | float) -> Array:
    """Map values below 0 to 0 and values above 1 to 1, with a smooth rise between."""
    t: Array = np.clip(np.asarray(value, np.float32), 0, 1)
    return t * t * (3 - 2 * t)


def coverage(depth: Array, width: float) -> Array:
    """Return the share (0..1) of a voxel inside a surface, given its depth inside the surface and its width, in mm."""
    return np.clip(depth / width + 0.5, 0, 1)


def smooth_minimum(first: Array, second: Array, radius: float) -> Array:
    """Return the smaller of two depths in mm; the edge where they meet is rounded by about ``radius`` mm."""
    overlap = np.maximum(radius - np.abs(first - second), 0)
    return np.minimum(first, second) - overlap * overlap / (4 * radius)


def paint(image: Array, share: Array, value: Array | float) -> None:
    """Blend ``value`` into ``image`` in place, by the share (0..1) that it fills of each voxel."""
    image += share * (value - image)
