"""Synthetic frames and clips of lung ultrasound with dense labels, generated from a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .findings import DIAGNOSES
from .labels import INDICES
from .probe import PROBES, raster
from .scene import Scene

SMALLEST_SIZE = 64


@dataclass(frozen=True)
class UltrasoundFrame:
    """An ultrasound image with a label for each pixel; depth increases with the row.

    Attributes:
        image: uint8, shape (rows, columns), grey levels 0..255; 0 outside the field of view.
        label: uint8, shape (rows, columns), the indices 1..7 of ``common.phantoms.ultrasound.labels.INDICES``.
    """

    image: NDArray[np.uint8]
    label: NDArray[np.uint8]


def lung_ultrasound(
    seed: int, view: int = 0, diagnosis: str = "normal", probe: str = "linear", size: tuple[int, int] = (464, 624)
) -> UltrasoundFrame:
    """Generate one frame of lung ultrasound of a synthetic patient.

    The labels follow Gare et al., *Dense pixel-labeling for reverse-transfer and diagnostic learning on lung
    ultrasound*, section 2.2. Pleura above A-lines is healthy, pleura above B-lines is unhealthy, each with the region
    below it. The chest wall, the shadows of ribs and the area outside the field of view are background. An A-line is
    labelled where it stands out from haze and noise.

    Args:
        seed: seed of the patient, 0 or greater. The chest wall is the same for every probe and diagnosis.
        view: number of the patient's view, 0 or greater. Even views show the left lung, odd views the right lung.
        diagnosis: ``normal``, ``pneumonia`` or ``covid-19``.
        probe: ``linear`` or ``convex``.
        size: rows and columns, each at least 64.

    Returns:
        Image and label.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> frame = lung_ultrasound(seed=1, diagnosis="covid-19", size=(232, 312))
        >>> frame.image.shape, frame.label.dtype
        ((232, 312), dtype('uint8'))
    """
    return lung_ultrasound_clip(seed, view, diagnosis, probe, size, seconds=1.0, rate=1.0)[0]


def lung_ultrasound_clip(
    seed: int,
    view: int = 0,
    diagnosis: str = "normal",
    probe: str = "convex",
    size: tuple[int, int] = (464, 624),
    seconds: float = 2.0,
    rate: float = 20.0,
) -> list[UltrasoundFrame]:
    """Generate a clip of a synthetic patient: the lung slides below a resting chest wall, and the speckle changes.

    The first frame is the frame of ``lung_ultrasound`` with the same arguments.

    Args:
        seed: as for ``lung_ultrasound``.
        view: as for ``lung_ultrasound``.
        diagnosis: as for ``lung_ultrasound``.
        probe: as for ``lung_ultrasound``.
        size: as for ``lung_ultrasound``.
        seconds: length of the clip, above 0.
        rate: frames per second, above 0.

    Returns:
        The frames, at least one.

    Raises:
        ValueError: if an argument is out of range.
    """
    check_choice("diagnosis", diagnosis, DIAGNOSES)
    check_choice("probe", probe, tuple(PROBES))
    for name, number in (("seed", seed), ("view", view)):
        if number < 0:
            raise ValueError(f"{name} must not be negative, got {number}. Use 0 or any positive integer.")
    if len(size) != 2 or min(size) < SMALLEST_SIZE:
        raise ValueError(f"size must be at least {SMALLEST_SIZE} along both axes, got {size}. Use more pixels.")
    for name, value in (("seconds", seconds), ("rate", rate)):
        if not 0 < value < np.inf:
            raise ValueError(f"{name} must be above 0, got {value}. Usual are 2 seconds at 20 frames per second.")
    scene = Scene(seed, view, diagnosis, probe, size[0])
    pixels = raster(scene.probe, scene.view.depth, (int(size[0]), int(size[1])))
    frames = []
    for index in range(max(round(seconds * rate), 1)):
        grey, label = scene.frame(index / rate, index)
        frames.append(UltrasoundFrame(pixels.image(grey), pixels.label(label, INDICES["background"])))
    return frames


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise ValueError unless the value is one of the choices."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {choices}, got {value!r}. Choose one of them.")
