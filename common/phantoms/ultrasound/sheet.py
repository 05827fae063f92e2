"""A picture of ultrasound phantoms by probe and diagnosis, with their labels in colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .. import panels
from ..folders import check_seed
from .image import UltrasoundFrame, lung_ultrasound
from .labels import INDICES

SIZE = (288, 384)
PREVIEW = (96, 128)

# Views of the patient to choose from.
VIEWS = 8

COLUMNS = tuple(
    (probe, diagnosis) for probe in ("linear", "convex") for diagnosis in ("normal", "covid-19", "pneumonia")
)

# Index, colour and how strongly it covers the picture.
COLOURS = (
    ("A-line", panels.YELLOW, 0.7),
    ("B-line", panels.MAGENTA, 0.45),
    ("healthy pleural line", panels.BLUE, 0.8),
    ("unhealthy pleural line", panels.ORANGE, 0.8),
    ("healthy region", panels.BLUE, 0.2),
    ("unhealthy region", panels.VIOLET, 0.35),
)


def ultrasound_sheet(path: str | Path, seed: int = 0) -> Path:
    """Writes a PNG with one patient under three diagnoses and two probes, labels in colour below each frame.

    Columns: linear probe normal, COVID-19, pneumonia; convex probe the same.

    Args:
        path: the file to write; its folder must exist.
        seed: of the patient.

    Returns:
        The path.

    Raises:
        ValueError: if `seed` is negative.
    """
    check_seed(seed)
    columns = []
    for probe, diagnosis in COLUMNS:
        view = max(range(VIEWS), key=lambda n: typical(lung_ultrasound(seed, n, diagnosis, probe, PREVIEW), diagnosis))
        frame = lung_ultrasound(seed, view, diagnosis, probe, SIZE)
        columns.append(panels.column([panels.in_grey(frame.image), label_picture(frame)]))
    Image.fromarray(np.concatenate(columns, axis=1)).save(path)
    return Path(path)


def typical(frame: UltrasoundFrame, diagnosis: str) -> float:
    """Returns how much a frame shows what its diagnosis is known for."""
    counts = np.bincount(frame.label.ravel(), minlength=len(INDICES) + 1) / frame.label.size
    a_lines, b_lines, healthy = (counts[INDICES[name]] for name in ("A-line", "B-line", "healthy region"))
    if diagnosis == "normal":
        return float(a_lines - b_lines)
    # COVID-19 spares areas between its patches; pneumonia does not.
    return float(min(b_lines, healthy, 10 * a_lines) if diagnosis == "covid-19" else b_lines - 0.2 * healthy)


def label_picture(frame: UltrasoundFrame) -> NDArray[np.uint8]:
    """Returns the frame with its labels in colour as (rows, columns, 3) RGB."""
    layers = [(frame.label == INDICES[name], colour, opacity) for name, colour, opacity in COLOURS]
    return panels.coloured(panels.in_grey(frame.image), layers)
