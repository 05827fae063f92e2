"""Slices of synthetic patients to learn lungs from: bodies, scanners and heights vary more than in ``chest_ct``."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ..phantoms.ct.anatomy import Body, lung_span, make_body
from ..phantoms.ct.body import AIR, CORTEX, FAT, MUSCLE
from ..phantoms.ct.chest_ct import ChestCT, Patient, scan
from ..phantoms.ct.lesions import make_lesions
from ..phantoms.ct.scanner import Scanner
from ..phantoms.ct.vessels import make_trees
from ..phantoms.fields import Array, coverage, generator, paint
from ..phantoms.folders import SEED_BLOCK
from ..run.progress import progress

STREAM = 900
FIRST_SEED = 900 * SEED_BLOCK  # of patients to train on; no other phantoms use this block
SIZE = 256  # pixels
BEYOND = (60.0, 40.0)  # mm, how far slices go below and above the lungs

# Wider than common.phantoms.ct.anatomy.RANGES: thin to obese, small to large
RANGES: dict[str, tuple[float, float]] = {
    "half_width": (100.0, 145.0),  # of the thoracic cavity, mm
    "half_depth": (68.0, 106.0),  # mm
    "fat": (2.0, 42.0),  # mm
    "muscle": (9.0, 25.0),  # mm
    "density": (-910.0, -780.0),  # HU
    "shift_x": (-20.0, 20.0),  # mm
    "rotation": (-14.0, 14.0),  # degrees
}


def various_patient(seed: int, consolidation: float = 0.5) -> Patient:
    """Generate a patient with an unusual body and perhaps large consolidations.

    Args:
        seed: of the patient, 0 or greater.
        consolidation: share of the patients with large consolidations.
    """
    rng = generator(seed, STREAM)
    body = replace(make_body(seed), **{name: float(rng.uniform(*bounds)) for name, bounds in RANGES.items()})
    lesions = make_lesions(body, seed)
    if rng.random() < consolidation:
        share = rng.uniform(0.5, 1.0, len(lesions.radius)) * (rng.random(len(lesions.radius)) < 0.7)
        radius = lesions.radius * np.float32(rng.uniform(1.0, 1.7))
        lesions = replace(lesions, radius=radius, core=(radius * share).astype(np.float32))
    return Patient(seed, body, make_trees(body, seed), lesions)


def various_slices(seed: int, slices: int, consolidation: float = 0.5, healthy: float = 0.0) -> ChestCT:
    """Scan such a patient at random heights, with a random scanner and field of view.

    Args:
        seed: of the patient.
        slices: number of slices.
        consolidation: see ``various_patient``.
        healthy: share of the patients without lesions.
    """
    patient, rng = various_patient(seed, consolidation), generator(seed, STREAM + 1)
    low, high = lung_span(patient.body)
    heights = np.sort(rng.uniform(low - BEYOND[0] * rng.random(), high + BEYOND[1] * rng.random(), slices))
    scanner = Scanner(
        noise=float(rng.uniform(5, 45)),
        kernel=float(rng.uniform(0.4, 1.8)),
        slice_thickness=float(rng.uniform(1, 8)),
        hu_offset=float(rng.normal(0, 15)),
    )
    ill = generator(seed, STREAM + 2).random() >= healthy
    ct = scan(patient, (SIZE, SIZE), heights, 5.0, scanner, float(rng.uniform(320, 480)), ill)
    if rng.random() < 0.3:
        paint_arms(ct, patient.body, rng)
    return ct


def paint_arms(ct: ChestCT, body: Body, rng: np.random.Generator) -> None:
    """Paint arms beside the body, where the image shows air."""
    pixel = ct.spacing[0]
    x, y = (((np.arange(SIZE) + 0.5 - SIZE / 2) * pixel).astype(np.float32) for _ in range(2))
    for side in (-1, 1):
        away = body.half_width + body.muscle + body.fat + rng.uniform(25, 60)
        centre = side * away + body.shift_x, rng.uniform(-50, 60)
        radius, bone = rng.uniform(32, 52), rng.uniform(-8, 8, 2)
        depth: Array = radius - np.hypot(x[:, None] - centre[0], y[None, :] - centre[1])
        shaft: Array = 11 - np.hypot(x[:, None] - centre[0] - bone[0], y[None, :] - centre[1] - bone[1])
        arm = np.full((SIZE, SIZE), AIR, np.float32)
        for inside, value in ((depth, FAT), (depth - rng.uniform(5, 12), MUSCLE), (shaft, CORTEX), (shaft - 4, FAT)):
            paint(arm, coverage(inside, pixel), value)
        arm += generator(ct.image.shape[2], int(radius)).normal(0, 15, arm.shape).astype(np.float32)
        for index in range(ct.image.shape[2]):
            plane = ct.image[:, :, index]
            free = (depth > -pixel) & (plane < -850) & (ct.lung[:, :, index] == 0)
            plane[free] = arm[free].astype(np.int16)


def phantom_slices(
    patients: int, slices: int, seed: int = 0, consolidation: float = 0.5, healthy: float = 0.0
) -> list[dict[str, torch.Tensor]]:
    """Generate slices to train on.

    Args:
        patients: number of patients.
        slices: slices of each.
        seed: of the patients; seeds share none if there are at most 1000 patients.
        consolidation: see ``various_patient``.
        healthy: see ``various_slices``.

    Returns:
        Items of ``image`` (1, X, Y), int16 HU, and ``mask``, uint8: 0 no lung, 1 lung, 2 lesion, 3 consolidation.
    """
    items = []
    for number in progress(range(patients), desc="Synthetic patients", total=patients, unit="patient"):
        ct = various_slices(FIRST_SEED + 1000 * seed + number, slices, consolidation, healthy)
        image, mask = (torch.from_numpy(values).movedim(-1, 0)[:, None] for values in (ct.image, ct.lung + ct.lesion))
        items += [{"image": plane.clone(), "mask": marks.clone()} for plane, marks in zip(image, mask, strict=True)]
    return items
