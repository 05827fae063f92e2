"""Writers of CT phantoms in the layouts of public COVID-19 data sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...run.progress import progress
from ...severity import severity_class
from ..folders import SEED_BLOCK, check_count, check_seed, finished_folder
from .chest_ct import ChestCT, chest_ct
from .medseg_layouts import write_medseg, write_medseg_arrays, write_medseg_pictures
from .nifti_files import save_nifti
from .scanner import STANDARD, Scanner


def write_volumes(
    root: str | Path,
    patients: int,
    size: tuple[int, int],
    slices: int,
    scanner: Scanner,
    seed: int,
    save: Callable[[Path, int, ChestCT], None],
) -> Path:
    """Generate patients, numbered from 1, and write each into the folder.

    Args:
        root: as for ``write_radiopaedia``, like the other arguments.
        patients: number of patients.
        size: pixels along the first two axes.
        slices: slices per patient.
        scanner: scanner of all patients.
        seed: seed of the patients; different seeds share no patient.
        save: function that writes one patient, given folder, number and CT.
    """
    check_count("patients", patients)
    check_seed(seed)
    root = Path(root)
    with finished_folder(root) as folder:
        for number in progress(range(1, patients + 1), desc="Generating phantom volumes"):
            save(folder, number, chest_ct(seed * SEED_BLOCK + number - 1, size, slices, scanner))
    return root


def write_radiopaedia(
    root: str | Path,
    patients: int = 10,
    size: tuple[int, int] = (256, 256),
    slices: int = 24,
    scanner: Scanner = STANDARD,
    seed: int = 0,
) -> Path:
    """Write volumes in the layout of the nine Radiopaedia volumes.

    Patient N has ``rp_im/N.nii.gz`` (int16 HU), ``rp_msk/N.nii.gz`` (0, 1, 2) and ``rp_lung_msk/N.nii.gz`` (0, 1).
    Patients with odd numbers are stored in LPS order, the others in RAS order, because real files differ too.

    Args:
        root: folder to create.
        patients: number of patients, numbered from 1.
        size: pixels along the first two axes.
        slices: slices per patient.
        scanner: scanner of all patients.
        seed: seed of the patients; different seeds share no patient.

    Returns:
        The folder.

    Raises:
        ValueError: if a number is out of range.
        FileExistsError: if ``root`` exists and is not empty.
    """

    def save(folder: Path, number: int, ct: ChestCT) -> None:
        order = "LPS" if number % 2 else "RAS"
        for name, array in (("rp_im", ct.image), ("rp_msk", ct.lesion), ("rp_lung_msk", ct.lung)):
            save_nifti(folder / name / f"{number}.nii.gz", array, ct.spacing, order)

    return write_volumes(root, patients, size, slices, scanner, seed, save)


def write_coronacases(
    root: str | Path,
    patients: int = 10,
    size: tuple[int, int] = (256, 256),
    slices: int = 24,
    scanner: Scanner = STANDARD,
    seed: int = 0,
) -> Path:
    """Write volumes in the layout of the Coronacases volumes of COVID-19-CT-Seg.

    Patient N has ``COVID-19-CT-Seg_20cases/coronacases_00N.nii.gz`` (int16 HU), and masks of the same name in
    ``Infection_Mask/`` (1 for ground-glass and consolidation) and ``Lung_Mask/`` (1 for the right lung, 2 for the
    left).

    Args:
        root: folder to create.
        patients: number of patients, numbered from 1.
        size: pixels along the first two axes.
        slices: slices per patient.
        scanner: scanner of all patients.
        seed: seed of the patients; different seeds share no patient.

    Returns:
        The folder.

    Raises:
        ValueError: if a number is out of range.
        FileExistsError: if ``root`` exists and is not empty.
    """

    def save(folder: Path, number: int, ct: ChestCT) -> None:
        sides = ct.lung * (1 + (np.arange(size[0])[:, None, None] >= size[0] // 2))  # the left lung is second in LPS
        arrays: tuple[NDArray[Any], ...] = (ct.image, (ct.lesion > 0).astype(np.uint8), sides.astype(np.uint8))
        for name, array in zip(("COVID-19-CT-Seg_20cases", "Infection_Mask", "Lung_Mask"), arrays, strict=True):
            save_nifti(folder / name / f"coronacases_{number:03d}.nii.gz", array, ct.spacing)

    return write_volumes(root, patients, size, slices, scanner, seed, save)


def write_mosmed(
    root: str | Path,
    patients: int = 10,
    size: tuple[int, int] = (256, 256),
    slices: int = 24,
    scanner: Scanner = STANDARD,
    seed: int = 0,
) -> Path:
    """Write volumes in the layout of MosMedData.

    Patients have ``studies/CT-1/study_N.nii.gz`` (int16 HU) and ``masks/study_N_mask.nii.gz`` (0, 1), N from 255. The
    folder of a study is its severity class, by the share of lung involved. The last patient has no mask, because most
    studies of MosMedData have none.

    Args:
        root: folder to create.
        patients: number of patients, numbered from 1.
        size: pixels along the first two axes.
        slices: slices per patient.
        scanner: scanner of all patients.
        seed: seed of the patients; different seeds share no patient.

    Returns:
        The folder.

    Raises:
        ValueError: if a number is out of range.
        FileExistsError: if ``root`` exists and is not empty.
    """

    def save(folder: Path, number: int, ct: ChestCT) -> None:
        infection = (ct.lesion > 0).astype(np.uint8)
        severity = severity_class(float(infection.sum() / max(1, ct.lung.sum())))
        name = f"study_{number + 254:04d}"
        save_nifti(folder / "studies" / severity / f"{name}.nii.gz", ct.image, ct.spacing)
        if number < patients:
            save_nifti(folder / "masks" / f"{name}_mask.nii.gz", infection, ct.spacing)

    return write_volumes(root, patients, size, slices, scanner, seed, save)


LAYOUTS: dict[str, Callable[..., Path]] = {
    "radiopaedia": write_radiopaedia,
    "coronacases": write_coronacases,
    "mosmed": write_mosmed,
    "medseg": write_medseg,
    "medseg_arrays": write_medseg_arrays,
    "medseg_pictures": write_medseg_pictures,
}
