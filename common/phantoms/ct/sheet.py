"""A picture of several phantoms side by side, with their labels in colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_erosion

from .. import panels
from .chest_ct import ChestCT, Patient, make_patient, scan, slice_heights

# Lung window, HU.
LEVEL = -600.0
WIDTH = 1500.0

GROUND_GLASS_COLOUR = panels.YELLOW
CONSOLIDATION_COLOUR = panels.MAGENTA
LUNG_COLOUR = panels.BLUE
# How strongly the colours of lesions cover the grey image.
OPACITY = 0.65

PIXELS = 384


def upright(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turns an axial slice [x, y] as radiologists look at it: patient's left on the right, spine below."""
    return array.T


def grey_picture(ct: ChestCT) -> NDArray[np.uint8]:
    """Returns the first slice in the lung window as (Y, X, 3) RGB."""
    share = (upright(ct.image[:, :, 0].astype(np.float32)) - LEVEL) / WIDTH + 0.5
    return panels.in_grey(np.clip(255 * share, 0, 255).astype(np.uint8))


def label_picture(ct: ChestCT) -> NDArray[np.uint8]:
    """Returns the first slice with lesions and the lungs' outline in colour, as (Y, X, 3) RGB."""
    lung, lesion = ct.lung[:, :, 0].T > 0, ct.lesion[:, :, 0].T
    outline = lung & ~binary_erosion(lung)
    layers = (
        (lesion == 1, GROUND_GLASS_COLOUR, OPACITY),
        (lesion == 2, CONSOLIDATION_COLOUR, OPACITY),
        (outline, LUNG_COLOUR, 1.0),
    )
    return panels.coloured(grey_picture(ct), layers)


PICTURES = (grey_picture, label_picture)


def fullest_slice(patient: Patient) -> ChestCT:
    """Scans the patient at the height with most lesions."""
    heights, spacing = slice_heights(patient, 24)
    preview = scan(patient, (64, 64), heights, spacing)
    # The class number serves as weight: consolidation, the rarer sight, counts twice.
    amount = preview.lesion[:, :, 4:-3].astype(int).sum(axis=(0, 1))
    k = 4 + int(np.argmax(amount))
    return scan(patient, (PIXELS, PIXELS), heights[k : k + 1], spacing)


def sheet(path: str | Path, patients: int = 6, seed: int = 0) -> Path:
    """Writes a PNG with one lesion-bearing axial slice per patient, labels in colour below each.

    Args:
        path: the file to write; its folder must exist.
        patients: number of patients, at least 1.
        seed: of the first patient; patients without lesions are passed over.

    Returns:
        The path.

    Raises:
        ValueError: if `patients` is less than 1 or `seed` negative.
    """
    if patients < 1:
        raise ValueError(f"patients must be at least 1, but is {patients}. Ask for one or more.")
    columns: list[NDArray[np.uint8]] = []
    while len(columns) < patients:
        patient = make_patient(seed)
        seed += 1
        if len(patient.lesions.radius):
            columns.append(column_of(fullest_slice(patient)))
    Image.fromarray(np.concatenate(columns, axis=1)).save(path)
    return Path(path)


def column_of(ct: ChestCT) -> NDArray[np.uint8]:
    """Returns image and labels one above the other with white gaps, without the air above and below the chest."""
    rows = slice(PIXELS // 12, PIXELS - PIXELS // 12)
    return panels.column([picture(ct)[rows] for picture in PICTURES])
