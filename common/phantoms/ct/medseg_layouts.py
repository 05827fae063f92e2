"""Single slices of CT phantoms in the three layouts of MedSeg's downloads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...run.progress import progress
from ..folders import SEED_BLOCK, check_count, check_seed, finished_folder
from .chest_ct import ChestCT, make_patient, scan, slice_heights
from .nifti_files import save_nifti
from .scanner import STANDARD, Scanner

# Layouts of single slices use the second half of a seed's block, so they share no patient with the volumes.
SLICE_PATIENTS = 5_000


# HU of the grey levels 0 and 255 in jpg images.
IMAGE_LOW = -1000.0


IMAGE_HIGH = 100.0


# Margin around the lungs in jpg images, pixels.
IMAGE_MARGIN = 12


# Greatest number of slices from one patient.
SLICES_PER_PATIENT = 3


# Smallest share of the lung's pixels with lesions in a slice with lesions.
LEAST_LESION = 0.01


def lesion_slices(slices: int, size: tuple[int, int], scanner: Scanner, seed: int) -> Iterator[ChestCT]:
    """Yield CTs of one slice (X, Y, 1) with lesions, one to three from each patient.

    Raises:
        ValueError: if a number is out of range.
    """
    check_count("slices", slices)
    check_seed(seed)
    count = 0
    patient_seed = seed * SEED_BLOCK + SLICE_PATIENTS
    with progress(total=slices, desc="Generating phantom slices") as bar:
        while count < slices:
            for ct in slices_of_patient(patient_seed, size, scanner)[: slices - count]:
                count += 1
                bar.update()
                yield ct
            patient_seed += 1


def slices_of_patient(patient_seed: int, size: tuple[int, int], scanner: Scanner) -> list[ChestCT]:
    """Return a few slices through the patient's opacities, without those that show too little lesion."""
    patient = make_patient(patient_seed)
    centres = np.unique(np.round(patient.lesions.centre[:, 2], 1))
    if not len(centres):
        return []
    low, high = slice_heights(patient, 20)[0][[1, -2]]
    # From the lowest to the highest opacity.
    index = np.unique(np.linspace(0, len(centres) - 1, SLICES_PER_PATIENT).round().astype(int))
    heights = np.clip(centres[index], low, high).astype(np.float64)
    heights = heights[np.concatenate([[True], np.diff(heights) > 8.0])]
    ct = scan(patient, size, heights, 8.0, scanner)
    planes = [slice(k, k + 1) for k in range(len(heights))]
    singles = [ChestCT(ct.image[:, :, k], ct.lesion[:, :, k], ct.lung[:, :, k], ct.spacing) for k in planes]
    return [
        single for single in singles if np.count_nonzero(single.lesion) > LEAST_LESION * max(single.lung.sum(), 400)
    ]


def write_medseg(
    root: str | Path,
    slices: int = 100,
    size: tuple[int, int] = (512, 512),
    scanner: Scanner = STANDARD,
    seed: int = 0,
) -> Path:
    """Write one stack of slices in the layout of MedSeg's 100 slices.

    The files are ``tr_im.nii.gz`` (int16 HU), ``tr_mask.nii.gz`` (0, 1, 2) and ``tr_lungmasks_updated.nii.gz`` (0, 1),
    arrays (X, Y, slices) in LPS order. Neighbouring slices show different places or patients.

    Args:
        root: folder to create.
        slices: number of slices, all with lesions; one to three come from each patient.
        size: pixels along the first two axes.
        scanner: scanner of all slices.
        seed: seed of the patients; different seeds share no patient.

    Returns:
        The folder.

    Raises:
        ValueError: if a number is out of range.
        FileExistsError: if ``root`` exists and is not empty.
    """
    root = Path(root)
    with finished_folder(root) as folder:
        stack = list(lesion_slices(slices, size, scanner, seed))
        spacing = (stack[0].spacing[0], stack[0].spacing[1], 1.0)
        for name, field in (("tr_im", "image"), ("tr_mask", "lesion"), ("tr_lungmasks_updated", "lung")):
            array = np.concatenate([getattr(ct, field) for ct in stack], axis=2)
            save_nifti(folder / f"{name}.nii.gz", array, spacing)
    return root


def write_medseg_arrays(
    root: str | Path,
    slices: int = 100,
    size: tuple[int, int] = (512, 512),
    scanner: Scanner = STANDARD,
    seed: int = 0,
) -> Path:
    """Write slices in the layout of MedSeg's arrays.

    The files are ``images_medseg.npy`` (N, Y, X, 1) in HU and ``masks_medseg.npy`` (N, Y, X, 4), one-hot, both float32.
    Slices are upright: rows run to posterior, columns to the patient's left. The channels of the masks are
    ground-glass, consolidation, lung without lesions, and background.

    Args:
        root: folder to create.
        slices: number of slices, all with lesions; one to three come from each patient.
        size: pixels along the first two axes.
        scanner: scanner of all slices.
        seed: seed of the patients; different seeds share no patient.

    Returns:
        The folder.

    Raises:
        ValueError: if a number is out of range.
        FileExistsError: if ``root`` exists and is not empty.
    """
    check_count("slices", slices)
    root = Path(root)
    upright = (slices, size[1], size[0])
    with finished_folder(root) as folder:
        # Written to the file slice by slice, because a hundred one-hot masks take 400 MB of memory.
        images = np.lib.format.open_memmap(folder / "images_medseg.npy", "w+", np.float32, (*upright, 1))
        masks = np.lib.format.open_memmap(folder / "masks_medseg.npy", "w+", np.float32, (*upright, 4))
        for k, ct in enumerate(lesion_slices(slices, size, scanner, seed)):
            lesion, lung = ct.lesion[:, :, 0].T, ct.lung[:, :, 0].T
            images[k, :, :, 0] = ct.image[:, :, 0].T
            channels = [lesion == 1, lesion == 2, (lesion == 0) & (lung == 1), lung == 0]
            masks[k] = np.stack(channels, axis=-1)
        images.flush()
        masks.flush()
    return root


def write_medseg_pictures(
    root: str | Path,
    slices: int = 100,
    size: tuple[int, int] = (512, 512),
    scanner: Scanner = STANDARD,
    seed: int = 0,
) -> Path:
    """Write slices in the layout of MedSeg's images.

    The files are ``Imgs/K.jpg``, ``GT_multiclass/K.png`` (0, 1, 2) and ``GT_infection/K.png`` (0, 255), K from 1. The
    grey levels 0..255 stand for -1000..100 HU. Images are cropped to the lungs with a margin, so their sizes differ.
    Rows run to the patient's left, columns to posterior.

    Args:
        root: folder to create.
        slices: number of slices, all with lesions; one to three come from each patient.
        size: pixels along the first two axes.
        scanner: scanner of all slices.
        seed: seed of the patients; different seeds share no patient.

    Returns:
        The folder.

    Raises:
        ValueError: if a number is out of range.
        FileExistsError: if ``root`` exists and is not empty.
    """
    root = Path(root)
    with finished_folder(root) as folder:
        for name in ("Imgs", "GT_multiclass", "GT_infection"):
            (folder / name).mkdir()
        for number, ct in enumerate(lesion_slices(slices, size, scanner, seed), start=1):
            crop = lung_crop(ct.lung[:, :, 0])
            share = (ct.image[:, :, 0][crop] - IMAGE_LOW) / (IMAGE_HIGH - IMAGE_LOW)
            grey = np.clip(np.rint(255 * share), 0, 255).astype(np.uint8)
            lesion = ct.lesion[:, :, 0][crop]
            Image.fromarray(grey).save(folder / "Imgs" / f"{number}.jpg", quality=95)
            Image.fromarray(lesion).save(folder / "GT_multiclass" / f"{number}.png")
            infection = np.where(lesion > 0, 255, 0).astype(np.uint8)
            Image.fromarray(infection).save(folder / "GT_infection" / f"{number}.png")
    return root


def lung_crop(lung: NDArray[np.uint8]) -> tuple[slice, slice]:
    """Return the region of a slice that holds the lungs and a margin."""
    edges = []
    for axis in (1, 0):
        used = np.flatnonzero(lung.any(axis=axis))
        edges.append(slice(max(int(used[0]) - IMAGE_MARGIN, 0), int(used[-1]) + 1 + IMAGE_MARGIN))
    return edges[0], edges[1]
