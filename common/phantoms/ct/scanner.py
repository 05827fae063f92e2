"""The effect of the scanner: reconstruction kernel, noise and calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from ..fields import Array

# The range of a 12-bit scanner after rescaling, HU.
LOWEST_HU = -1024
HIGHEST_HU = 3071


@dataclass(frozen=True)
class Scanner:
    """Settings of a scanner.

    Attributes:
        noise: standard deviation of the noise in the middle of the chest, HU.
        kernel: in-plane blur of the reconstruction kernel, sigma of a Gaussian in mm. A smaller value gives sharper
            images with finer noise.
        slice_thickness: thickness that each slice averages over, mm.
        hu_offset: calibration error that is added to all voxels, HU.

    Raises:
        ValueError: for negative noise or kernel, or a slice thickness that is not positive.
    """

    noise: float = 22.0
    kernel: float = 0.75
    slice_thickness: float = 5.0
    hu_offset: float = 0.0

    def __post_init__(self) -> None:
        for name in ("noise", "kernel"):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"Scanner.{name} must not be negative, got {getattr(self, name)}. Use 0 to switch it off."
                )
        if self.slice_thickness <= 0:
            raise ValueError(
                f"Scanner.slice_thickness must be above 0 mm, got {self.slice_thickness}. Usual values are 1 to 8."
            )


STANDARD = Scanner()
# Thicker slices, a smoother kernel and a calibration error: a shift that networks trained on STANDARD must cope with.
SECOND = Scanner(noise=25.0, kernel=1.4, slice_thickness=8.0, hu_offset=40.0)
SCANNERS = {"standard": STANDARD, "second": SECOND}


def correlated_noise(shape: tuple[int, int], grain: float, rng: np.random.Generator) -> Array:
    """Return noise of standard deviation 1 with grains ``grain`` pixels wide and reduced low frequencies."""
    white = rng.standard_normal(shape, dtype=np.float32)
    if grain < 0.1:
        return white
    noise = gaussian_filter(white, grain, mode="wrap")
    # Filtered back-projection passes less of the low frequencies than a plain blur.
    noise -= 0.7 * gaussian_filter(white, 2.5 * grain, mode="wrap")
    return noise / noise.std()


def streaks(shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """Return noise of standard deviation 1 in streaks from side to side, which the shoulders cause."""
    noise = gaussian_filter1d(rng.standard_normal(shape, dtype=np.float32), shape[0] / 10, axis=0, mode="wrap")
    return noise / noise.std()


def acquire(plane: Array, pixel: float, scanner: Scanner, shoulders: float, rng: np.random.Generator) -> Array:
    """Turn the true HU of one slice into the HU that the scanner measures, as floats.

    Args:
        plane: true HU averaged over the slice, shape (X, Y).
        pixel: pixel width, mm.
        scanner: the scanner.
        shoulders: how much of the shoulders the beam crosses: 0 for the chest only, 1 for both shoulders.
        rng: source of the noise.
    """
    sharp = gaussian_filter(plane, scanner.kernel / pixel) if scanner.kernel > 0.15 * pixel else plane.copy()
    noise = correlated_noise(plane.shape, scanner.kernel / pixel, rng)
    if shoulders > 0:
        noise = noise * (1 + 0.4 * shoulders) + 0.7 * shoulders * streaks(plane.shape, rng)
    return sharp + scanner.noise * noise + scanner.hu_offset
