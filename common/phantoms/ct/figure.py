"""Figure of several CT phantoms side by side, with their labels in colour below."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion

from .. import panels
from .chest_ct import ChestCT, Patient, make_patient, scan, slice_heights

LEVEL, WIDTH = -600.0, 1500.0  # HU, lung window
PIXELS = 384  # of a slice, along each axis
OPACITY = 0.65  # of the colours of lesions


def draw_ct_phantoms(path: str | Path, patients: int = 6, seed: int = 0) -> Path:
    """Draw one axial slice with lesions per patient, with the labels in colour below it.

    Args:
        path: PNG to write; its folder must exist.
        patients: number of patients, at least 1.
        seed: seed of the first patient; patients without lesions are skipped.

    Returns:
        The path.

    Raises:
        ValueError: if ``patients`` is less than 1 or ``seed`` is negative.

    Example:
        >>> draw_ct_phantoms("phantoms.png", patients=2)
        PosixPath('phantoms.png')
    """
    if patients < 1:
        raise ValueError(f"patients must be at least 1, but is {patients}. Ask for one or more.")
    diseased = _patients_with_lesions(seed)
    scans = [_fullest_slice(next(diseased)) for _ in range(patients)]
    rows = slice(PIXELS // 12, PIXELS - PIXELS // 12)  # without the air above and below the chest
    return panels.save_columns(path, [(_image_panel(ct)[rows], _label_panel(ct)[rows]) for ct in scans])


def _patients_with_lesions(seed: int) -> Iterator[Patient]:
    while True:
        patient = make_patient(seed)
        seed += 1
        if len(patient.lesions.radius):
            yield patient


def _fullest_slice(patient: Patient) -> ChestCT:
    """Scan the patient at the height with the largest lesions."""
    heights, spacing = slice_heights(patient, 24)
    preview = scan(patient, (64, 64), heights, spacing)
    # The class number serves as weight: consolidation, which is rarer, counts twice
    amount = preview.lesion[:, :, 4:-3].astype(int).sum(axis=(0, 1))
    k = 4 + int(np.argmax(amount))
    return scan(patient, (PIXELS, PIXELS), heights[k : k + 1], spacing)


def _image_panel(ct: ChestCT) -> NDArray[np.uint8]:
    """Return the first slice in the lung window as RGB (Y, X, 3), the patient's left on the right, spine below."""
    share = (ct.image[:, :, 0].T.astype(np.float32) - LEVEL) / WIDTH + 0.5
    return panels.grey_to_rgb(np.clip(255 * share, 0, 255).astype(np.uint8))


def _label_panel(ct: ChestCT) -> NDArray[np.uint8]:
    """Return the first slice with lesions and the outline of the lungs in colour, as RGB (Y, X, 3)."""
    lung, lesion = ct.lung[:, :, 0].T > 0, ct.lesion[:, :, 0].T
    layers = (
        (lesion == 1, panels.YELLOW, OPACITY),  # ground-glass
        (lesion == 2, panels.MAGENTA, OPACITY),  # consolidation
        (lung & ~binary_erosion(lung), panels.BLUE, 1.0),
    )
    return panels.coloured(_image_panel(ct), layers)
