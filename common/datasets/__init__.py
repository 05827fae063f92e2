"""Public sources of COVID-19 lung imaging, each read in the layout that its own download has."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import medseg, radiopaedia, ultrasound_diagnoses, ultrasound_labels
from .planes import FrameDataset, SliceDataset
from .scan_dataset import KeepGoing, ScanDataset
from .split import split
from .streams import FrameStream
from .ultrasound_labels import sixfold, split_augmented

__all__ = [
    "FrameDataset",
    "FrameStream",
    "KeepGoing",
    "ScanDataset",
    "SliceDataset",
    "datalist",
    "sixfold",
    "split",
    "split_augmented",
]

logger = logging.getLogger(__name__)

Layouts = dict[str, tuple[Callable[[Path], list[dict[str, Any]]], str]]
LAYOUTS: dict[str, Layouts] = {
    "CT lesions": {
        "MedSeg NIfTI": (medseg.nifti, "tr_im.nii.gz, tr_mask.nii.gz, tr_lungmasks_updated.nii.gz"),
        "MedSeg pictures": (medseg.pictures, "Imgs/*.jpg, GT_multiclass/*.png"),
        "MedSeg arrays": (
            medseg.arrays,
            "images_medseg.npy, masks_medseg.npy; images_radiopedia.npy, masks_radiopedia.npy",
        ),
        "Radiopaedia nine volumes": (radiopaedia.volumes, "rp_im/N.nii.gz, rp_msk/N.nii.gz, rp_lung_msk/N.nii.gz"),
    },
    "ultrasound labels": {
        "Semantic Lung": (ultrasound_labels.semantic_lung, "images/<patient>_*.png, labels/<patient>_*.png"),
        "CVAT frames": (ultrasound_labels.cvat_frames, "frames/fNNN.png, masks/fNNN.png, annotations.json"),
    },
    "ultrasound diagnoses": {
        "Manifest": (ultrasound_diagnoses.manifest, "manifest.csv with columns file, label, patient"),
        "POCUS": (
            ultrasound_diagnoses.pocus,
            "pocus_videos/{convex,linear}, pocus_images/{convex,linear}, dataset_metadata.csv",
        ),
        "Folders by class": (
            ultrasound_diagnoses.class_folders,
            "normal/, pneumonia/, covid-19/ with <patient>/<file>",
        ),
    },
}
PHANTOMS = {"CT lesions": "radiopaedia", "ultrasound labels": "semantic_lung", "ultrasound diagnoses": "pocus"}


def datalist(root: str | Path, task: str = "CT lesions") -> list[dict[str, Any]]:
    """List the cases of whichever public layout a folder has; ``phantom`` makes and lists synthetic ones.

    Args:
        root: the folder that a public source was unpacked to, or the word ``phantom``.
        task: ``CT lesions``, ``ultrasound labels`` or ``ultrasound diagnoses``: whose layouts to look for.

    Returns:
        Dicts with ``image`` (path), ``label`` (path, or the diagnosis), ``case``, ``patient`` (None where the source
        names none) and ``source``. CT has ``lung`` (path, may be absent), ``intensity`` (``HU`` or ``8bit``), and
        ``slice`` where a case is one slice of a file.

    Raises:
        FileNotFoundError: when the folder is missing, has none of the known layouts, or an image lacks its mask.
    """
    if str(root) == "phantom":
        from ..phantoms import phantom_dir

        root = phantom_dir(PHANTOMS[task])
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"No such folder: {root}. Give the unpacked download with --dataset_dir, or 'phantom'.")
    for name, (listed, _) in LAYOUTS[task].items():
        cases = listed(root)
        if cases:
            logger.info("%s in %s: %d cases.", name, root, len(cases))
            return cases
    known = "; ".join(files for _, files in LAYOUTS[task].values())
    found = ", ".join(sorted(path.name for path in root.iterdir())[:8]) or "nothing"
    raise FileNotFoundError(f"{root} has none of the known layouts: {known}. It holds: {found}.")
