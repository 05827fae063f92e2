"""Seeded synthetic lung-ultrasound frames and clips with dense labels."""

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
    """An ultrasound picture with a label for every pixel; depth grows with the row.

    Attributes:
        image: uint8, shape (rows, columns), grey levels 0..255; 0 outside the field of view.
        label: uint8, shape (rows, columns): the indices 1..7 of `INDICES`.
    """

    image: NDArray[np.uint8]
    label: NDArray[np.uint8]


def lung_ultrasound(
    seed: int, view: int = 0, diagnosis: str = "normal", probe: str = "linear", size: tuple[int, int] = (464, 624)
) -> UltrasoundFrame:
    """Makes one lung-ultrasound frame of a synthetic patient.

    Labels follow Gare et al., "Dense pixel-labeling for reverse-transfer and diagnostic learning on lung ultrasound",
    section 2.2: pleura with A-lines beneath is healthy, pleura with B-lines beneath unhealthy, each together with the
    region below it. The chest wall, shadows of ribs and what lies outside the field of view are background. An A-line
    is labelled where it stands out from haze and noise.

    Args:
        seed: names the patient; 0 or greater. The chest wall is the same for every probe and diagnosis.
        view: number of the view of this patient, 0 or greater; even views show the left lung, odd views the right.
        diagnosis: "normal", "pneumonia" or "covid-19".
        probe: "linear" or "convex".
        size: rows and columns, each at least 64.

    Returns:
        Image and label.

    Raises:
        ValueError: if an argument is out of its range.
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
    """Makes a clip: the chest wall rests, the lung slides beneath it with breathing, speckle changes.

    The first frame is that of `lung_ultrasound` with the same arguments.

    Args:
        seed: names the patient.
        view: number of the view.
        diagnosis: "normal", "pneumonia" or "covid-19".
        probe: "linear" or "convex".
        size: rows and columns, each at least 64.
        seconds: length of the clip, above 0.
        rate: frames per second, above 0.

    Returns:
        The frames, at least one.

    Raises:
        ValueError: if an argument is out of its range.
    """
    check_choice("diagnosis", diagnosis, DIAGNOSES)
    check_choice("probe", probe, tuple(PROBES))
    for name, number in (("seed", seed), ("view", view)):
        if number < 0:
            raise ValueError(f"{name} must not be negative, but is {number}. Use 0 or any positive integer.")
    if len(size) != 2 or min(size) < SMALLEST_SIZE:
        raise ValueError(f"size must be at least {SMALLEST_SIZE} along both axes, but is {size}. Ask for more pixels.")
    for name, value in (("seconds", seconds), ("rate", rate)):
        if not 0 < value < np.inf:
            raise ValueError(f"{name} must be above 0, but is {value}. A clip of 2 seconds at 20 per second is usual.")
    scene = Scene(seed, view, diagnosis, probe, size[0])
    pixels = raster(scene.probe, scene.view.depth, (int(size[0]), int(size[1])))
    frames = []
    for index in range(max(round(seconds * rate), 1)):
        grey, label = scene.frame(index / rate, index)
        frames.append(UltrasoundFrame(pixels.picture(grey), pixels.label(label, INDICES["background"])))
    return frames


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises ValueError unless the value is one of the choices."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {choices}, but is {value!r}. Choose one of them.")
