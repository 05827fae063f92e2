"""Folders that self-learning writes: ground truth of the labelled slices, and labels from a network's masks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from monai.transforms import Compose, Orientationd

from ..datasets.inference import ScanDataset
from ..report.mask_files import save_volume
from ..transforms.ct import LoadScand
from ..transforms.masks import LesionMaskd
from .transforms import MiddleSlicesd


def write_truth(cases: Sequence[Mapping[str, Any]], folder: Path) -> dict[str, str]:
    """Write the true infection of the two labelled slices, 0 and 1: ``<case>.nii.gz`` in LPS order.

    Args:
        cases: from ``common.datasets.ct.folder.inference_cases``; those without ``label`` are left out.
        folder: folder of the files, which no training reads.

    Returns:
        By case, why a mask could not be read.
    """
    keys = ["image", "label"]
    chain = [
        LoadScand(keys=keys),
        Orientationd(keys=keys, axcodes="LPS", labels=None),
        LesionMaskd(keys="label", values=(1, 2)),
        MiddleSlicesd(keys=keys),
    ]
    truths = ScanDataset([case for case in cases if case.get("label")], Compose(chain))
    for item in truths:
        values, affine = item["label"][0].numpy().astype(np.uint8), np.asarray(item["label"].affine)
        save_volume(folder / f"{item['case']}.nii.gz", values, affine)
    return truths.failures


def write_labels(masks: Path, images: Path, folder: Path, lesion: int, lung: int) -> None:
    """Make a folder in the Radiopaedia layout from the masks that inference writes.

    Args:
        masks: folder of ``<case>_mask.nii.gz``.
        images: folder of the slices. It is linked because the slices are the same at every level.
        folder: receives ``rp_msk`` and ``rp_lung_msk`` (0, 1), and ``rp_im``.
        lesion: value of lesions in the masks.
        lung: value of lung without lesion.
    """
    for path in sorted(masks.glob("*_mask.nii.gz")):
        mask: Any = nibabel.load(path)
        values, name = np.asarray(mask.dataobj), f"{path.name.removesuffix('_mask.nii.gz')}.nii.gz"
        for kind, found in (("rp_msk", [lesion]), ("rp_lung_msk", [lesion, lung])):
            save_volume(folder / kind / name, np.isin(values, found).astype(np.uint8), mask.affine)
    link = folder / "rp_im"
    if not link.is_symlink():
        link.symlink_to(os.path.relpath(images, folder), target_is_directory=True)
