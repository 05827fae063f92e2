"""CT phantoms written in the layouts of public COVID-19 downloads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from ...severity import severity_class
from ..folders import SEED_BLOCK, check_count, check_seed, finished_folder
from .chest_ct import ChestCT, chest_ct, make_patient, scan, slice_heights
from .scanner import STANDARD, Scanner

# The layouts of single slices start in the middle of a seed's block: no patient occurs in them and in the volumes.
SLICE_PATIENTS = 5_000

# Window of the pictures: these HU become grey 0 and 255.
PICTURE_LOW = -1000.0
PICTURE_HIGH = 100.0
# Margin around the lungs in the pictures, in pixels.
PICTURE_MARGIN = 12

# A patient gives at most this many slices, and a slice counts as lesion-bearing from this share of its lung pixels.
SLICES_PER_PATIENT = 3
LEAST_LESION = 0.01


def lps_affine(shape: tuple[int, ...], spacing: tuple[float, float, float]) -> NDArray[np.float64]:
    """Returns the NIfTI affine (4, 4) of an array in LPS order whose first slice is centred on the origin."""
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    affine[0, 3] = spacing[0] * (shape[0] - 1) / 2
    affine[1, 3] = spacing[1] * (shape[1] - 1) / 2
    return affine


def save_nifti(path: Path, array: NDArray[Any], spacing: tuple[float, float, float], order: str = "LPS") -> None:
    """Writes an array given in LPS order (X, Y, Z), stored in the order "LPS" or "RAS"."""
    affine = lps_affine(array.shape, spacing)
    if order == "RAS":
        array = array[::-1, ::-1]
        affine = np.diag([spacing[0], spacing[1], spacing[2], 1.0])
        affine[0, 3] = -spacing[0] * (array.shape[0] - 1) / 2
        affine[1, 3] = -spacing[1] * (array.shape[1] - 1) / 2
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(np.ascontiguousarray(array), affine)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)


def write_volumes(
    root: str | Path,
    patients: int,
    size: tuple[int, int],
    slices: int,
    scanner: Scanner,
    seed: int,
    save: Callable[[Path, int, ChestCT], None],
) -> Path:
    """Makes patients, numbered from 1, and lets `save` write each into the folder; see `write_radiopaedia`."""
    check_count("patients", patients)
    check_seed(seed)
    root = Path(root)
    with finished_folder(root) as part:
        for number in tqdm(range(1, patients + 1), desc="Making phantom volumes", leave=False):
            save(part, number, chest_ct(seed * SEED_BLOCK + number - 1, size, slices, scanner))
    return root


def write_radiopaedia(
    root: str | Path,
    patients: int = 10,
    size: tuple[int, int] = (256, 256),
    slices: int = 24,
    scanner: Scanner = STANDARD,
    seed: int = 0,
) -> Path:
    """Writes volumes as `rp_im/N.nii.gz` (int16 HU), `rp_msk/N.nii.gz` (0, 1, 2) and `rp_lung_msk/N.nii.gz` (0, 1).

    Odd-numbered patients are stored in LPS order, even-numbered ones in RAS order, as real files differ, too.

    Args:
        root: folder to make.
        patients: number of patients; they are numbered from 1.
        size: pixels along the first two axes.
        slices: slices per patient.
        scanner: the scanner of all patients.
        seed: names the group of patients.

    Returns:
        The folder.

    Raises:
        ValueError: if a number is out of range.
        FileExistsError: if `root` exists and is not empty.
    """

    def save(part: Path, number: int, ct: ChestCT) -> None:
        order = "LPS" if number % 2 else "RAS"
        for folder, array in (("rp_im", ct.image), ("rp_msk", ct.lesion), ("rp_lung_msk", ct.lung)):
            save_nifti(part / folder / f"{number}.nii.gz", array, ct.spacing, order)

    return write_volumes(root, patients, size, slices, scanner, seed, save)


def write_coronacases(
    root: str | Path,
    patients: int = 10,
    size: tuple[int, int] = (256, 256),
    slices: int = 24,
    scanner: Scanner = STANDARD,
    seed: int = 0,
) -> Path:
    """Writes `COVID-19-CT-Seg_20cases/coronacases_00N.nii.gz` (int16 HU), `Infection_Mask/` and `Lung_Mask/` (0, 1, 2).

    Infection is ground-glass or consolidation alike; the right lung is 1, the left 2. For the arguments see
    `write_radiopaedia`.

    Returns:
        The folder.
    """

    def save(part: Path, number: int, ct: ChestCT) -> None:
        sides = ct.lung * (1 + (np.arange(size[0])[:, None, None] >= size[0] // 2))  # in LPS, left comes second
        arrays: tuple[NDArray[Any], ...] = (ct.image, (ct.lesion > 0).astype(np.uint8), sides.astype(np.uint8))
        for folder, array in zip(("COVID-19-CT-Seg_20cases", "Infection_Mask", "Lung_Mask"), arrays, strict=True):
            save_nifti(part / folder / f"coronacases_{number:03d}.nii.gz", array, ct.spacing)

    return write_volumes(root, patients, size, slices, scanner, seed, save)


def write_mosmed(
    root: str | Path,
    patients: int = 10,
    size: tuple[int, int] = (256, 256),
    slices: int = 24,
    scanner: Scanner = STANDARD,
    seed: int = 0,
) -> Path:
    """Writes `studies/CT-1/study_N.nii.gz` (int16 HU) and `masks/study_N_mask.nii.gz` (0, 1), N from 255.

    The folders are the class of severity by the share of lung involved. The last patient has no mask, as most have
    none in the original. For the arguments see `write_radiopaedia`.

    Returns:
        The folder.
    """

    def save(part: Path, number: int, ct: ChestCT) -> None:
        infection = (ct.lesion > 0).astype(np.uint8)
        severity = severity_class(float(infection.sum() / max(1, ct.lung.sum())))
        name = f"study_{number + 254:04d}"
        save_nifti(part / "studies" / severity / f"{name}.nii.gz", ct.image, ct.spacing)
        if number < patients:
            save_nifti(part / "masks" / f"{name}_mask.nii.gz", infection, ct.spacing)

    return write_volumes(root, patients, size, slices, scanner, seed, save)


def lesion_slices(slices: int, size: tuple[int, int], scanner: Scanner, seed: int) -> Iterator[ChestCT]:
    """Yields single-slice CTs (X, Y, 1) with lesions, one to three from each of many patients.

    Raises:
        ValueError: if a number is out of range.
    """
    check_count("slices", slices)
    check_seed(seed)
    made = 0
    patient_seed = seed * SEED_BLOCK + SLICE_PATIENTS
    with tqdm(total=slices, desc="Making phantom slices", leave=False) as progress:
        while made < slices:
            for ct in slices_of_patient(patient_seed, size, scanner)[: slices - made]:
                made += 1
                progress.update()
                yield ct
            patient_seed += 1


def slices_of_patient(patient_seed: int, size: tuple[int, int], scanner: Scanner) -> list[ChestCT]:
    """Returns the lesion-bearing ones among a few slices through the patient's opacities."""
    patient = make_patient(patient_seed)
    centres = np.unique(np.round(patient.lesions.centre[:, 2], 1))
    if not len(centres):
        return []
    low, high = slice_heights(patient, 20)[0][[1, -2]]
    # Spread over the opacities from the lowest to the highest.
    index = np.unique(np.linspace(0, len(centres) - 1, SLICES_PER_PATIENT).round().astype(int))
    heights = np.clip(centres[index], low, high).astype(np.float64)
    heights = heights[np.concatenate([[True], np.diff(heights) > 8.0])]
    ct = scan(patient, size, heights, 8.0, scanner)
    cuts = [slice(k, k + 1) for k in range(len(heights))]
    singles = [ChestCT(ct.image[:, :, c], ct.lesion[:, :, c], ct.lung[:, :, c], ct.spacing) for c in cuts]
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
    """Writes one stack of slices: `tr_im.nii.gz` (int16 HU), `tr_mask.nii.gz` (0, 1, 2), `tr_lungmasks_updated.nii.gz`.

    The arrays have the shape (X, Y, slices) in LPS order, but neighbouring slices show different places or patients.

    Args:
        root: folder to make.
        slices: number of slices; one to three come from each patient, all with lesions.
        size: pixels along the first two axes.
        scanner: the scanner of all slices.
        seed: names the group of patients.

    Returns:
        The folder.

    Raises:
        ValueError: if a number is out of range.
        FileExistsError: if `root` exists and is not empty.
    """
    root = Path(root)
    with finished_folder(root) as part:
        stack = list(lesion_slices(slices, size, scanner, seed))
        spacing = (stack[0].spacing[0], stack[0].spacing[1], 1.0)
        for name, field in (("tr_im", "image"), ("tr_mask", "lesion"), ("tr_lungmasks_updated", "lung")):
            array = np.concatenate([getattr(ct, field) for ct in stack], axis=2)
            save_nifti(part / f"{name}.nii.gz", array, spacing)
    return root


def write_medseg_arrays(
    root: str | Path,
    slices: int = 100,
    size: tuple[int, int] = (512, 512),
    scanner: Scanner = STANDARD,
    seed: int = 0,
) -> Path:
    """Writes `images_medseg.npy` (N, Y, X, 1) in HU and `masks_medseg.npy` (N, Y, X, 4) one-hot, both float32.

    Pictures are upright: rows run to posterior, columns to the patient's left. The channels of the masks are
    ground-glass, consolidation, lung without lesions, and background. For the arguments see `write_medseg`.

    Returns:
        The folder.

    Raises:
        ValueError: if a number is out of range.
        FileExistsError: if `root` exists and is not empty.
    """
    check_count("slices", slices)
    root = Path(root)
    upright = (slices, size[1], size[0])
    with finished_folder(root) as part:
        # Written through to the file slice by slice: a hundred one-hot masks would fill 400 MB of memory.
        images = np.lib.format.open_memmap(part / "images_medseg.npy", "w+", np.float32, (*upright, 1))
        masks = np.lib.format.open_memmap(part / "masks_medseg.npy", "w+", np.float32, (*upright, 4))
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
    """Writes pictures `Imgs/K.jpg` with `GT_multiclass/K.png` (0, 1, 2) and `GT_infection/K.png` (0, 255), K from 1.

    Grey 0..255 stands for -1000..100 HU. Each picture is cropped to the lungs with a margin, so sizes differ. Rows run
    to the patient's left and columns to posterior. For the arguments see `write_medseg`.

    Returns:
        The folder.

    Raises:
        ValueError: if a number is out of range.
        FileExistsError: if `root` exists and is not empty.
    """
    root = Path(root)
    with finished_folder(root) as part:
        for folder in ("Imgs", "GT_multiclass", "GT_infection"):
            (part / folder).mkdir()
        for number, ct in enumerate(lesion_slices(slices, size, scanner, seed), start=1):
            crop = lung_crop(ct.lung[:, :, 0])
            share = (ct.image[:, :, 0][crop] - PICTURE_LOW) / (PICTURE_HIGH - PICTURE_LOW)
            grey = np.clip(np.rint(255 * share), 0, 255).astype(np.uint8)
            lesion = ct.lesion[:, :, 0][crop]
            Image.fromarray(grey).save(part / "Imgs" / f"{number}.jpg", quality=95)
            Image.fromarray(lesion).save(part / "GT_multiclass" / f"{number}.png")
            infection = np.where(lesion > 0, 255, 0).astype(np.uint8)
            Image.fromarray(infection).save(part / "GT_infection" / f"{number}.png")
    return root


def lung_crop(lung: NDArray[np.uint8]) -> tuple[slice, slice]:
    """Returns the part of a slice that holds the lungs and a margin."""
    edges = []
    for axis in (1, 0):
        used = np.flatnonzero(lung.any(axis=axis))
        edges.append(slice(max(int(used[0]) - PICTURE_MARGIN, 0), int(used[-1]) + 1 + PICTURE_MARGIN))
    return edges[0], edges[1]


LAYOUTS: dict[str, Callable[..., Path]] = {
    "radiopaedia": write_radiopaedia,
    "coronacases": write_coronacases,
    "mosmed": write_mosmed,
    "medseg": write_medseg,
    "medseg_arrays": write_medseg_arrays,
    "medseg_pictures": write_medseg_pictures,
}
