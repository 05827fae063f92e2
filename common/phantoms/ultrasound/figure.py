"""Figure of ultrasound phantoms by probe and diagnosis, with their labels in colour below."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import panels
from ..folders import check_seed
from .image import UltrasoundFrame, lung_ultrasound
from .labels import INDICES

SIZE, PREVIEW = (288, 384), (96, 128)  # rows and columns of a panel, and of the frames to choose from
VIEWS = 8  # views of the patient to choose from

COLUMNS = tuple(
    (probe, diagnosis) for probe in ("linear", "convex") for diagnosis in ("normal", "covid-19", "pneumonia")
)

# Class, colour, opacity
COLOURS = (
    ("A-line", panels.YELLOW, 0.7),
    ("B-line", panels.MAGENTA, 0.45),
    ("healthy pleural line", panels.BLUE, 0.8),
    ("unhealthy pleural line", panels.ORANGE, 0.8),
    ("healthy region", panels.BLUE, 0.2),
    ("unhealthy region", panels.VIOLET, 0.35),
)


def draw_ultrasound_phantoms(path: str | Path, seed: int = 0) -> Path:
    """Draw one patient with three diagnoses and two probes, with the labels in colour below each frame.

    Columns: linear probe normal, COVID-19, pneumonia; convex probe the same.

    Args:
        path: PNG to write; its folder must exist.
        seed: seed of the patient.

    Returns:
        The path.

    Raises:
        ValueError: if ``seed`` is negative.
    """
    check_seed(seed)
    frames = [_most_typical_frame(seed, probe, diagnosis) for probe, diagnosis in COLUMNS]
    return panels.save_columns(path, [(panels.grey_to_rgb(frame.image), _label_panel(frame)) for frame in frames])


def _most_typical_frame(seed: int, probe: str, diagnosis: str) -> UltrasoundFrame:
    """Return the view of the patient that shows most of what the diagnosis is known for."""
    previews = [lung_ultrasound(seed, view, diagnosis, probe, PREVIEW) for view in range(VIEWS)]
    view = max(range(VIEWS), key=lambda number: _typical(previews[number], diagnosis))
    return lung_ultrasound(seed, view, diagnosis, probe, SIZE)


def _typical(frame: UltrasoundFrame, diagnosis: str) -> float:
    """Return how much a frame shows of what its diagnosis is known for."""
    counts = np.bincount(frame.label.ravel(), minlength=len(INDICES) + 1) / frame.label.size
    a_lines, b_lines, healthy = (counts[INDICES[name]] for name in ("A-line", "B-line", "healthy region"))
    if diagnosis == "normal":
        return float(a_lines - b_lines)
    # COVID-19 spares areas between its patches; pneumonia does not
    return float(min(b_lines, healthy, 10 * a_lines) if diagnosis == "covid-19" else b_lines - 0.2 * healthy)


def _label_panel(frame: UltrasoundFrame) -> NDArray[np.uint8]:
    """Return the frame with its labels in colour, as RGB (rows, columns, 3)."""
    layers = [(frame.label == INDICES[name], colour, opacity) for name, colour, opacity in COLOURS]
    return panels.coloured(panels.grey_to_rgb(frame.image), layers)
