"""Public sources of COVID-19 lung imaging, each read in the layout that its own download has."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import coronacases, image_labels, medseg, mosmed, radiopaedia, ultrasound_diagnoses, ultrasound_labels
from .image_label_sets import image_label_sets
from .planes import FrameDataset, SliceDataset
from .scan_dataset import KeepGoing, ScanDataset
from .slice_sets import record_sets, slice_sets, warn_of_shared_patients
from .split import split, three_way_split
from .streams import FrameStream
from .ultrasound_labels import sixfold, split_augmented

__all__ = [
    "FrameDataset",
    "FrameStream",
    "KeepGoing",
    "ScanDataset",
    "SliceDataset",
    "datalist",
    "image_label_sets",
    "record_sets",
    "sixfold",
    "slice_sets",
    "split",
    "split_augmented",
    "three_way_split",
    "warn_of_shared_patients",
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
    "CT infection": {  # by the word that chooses one
        "radiopaedia": (radiopaedia.volumes, "rp_im/N.nii.gz, rp_msk/N.nii.gz, rp_lung_msk/N.nii.gz"),
        "coronacases": (
            coronacases.volumes,
            "COVID-19-CT-Seg_20cases/coronacases_N.nii.gz, Infection_Mask/, Lung_Mask/",
        ),
        "mosmed": (mosmed.volumes, "studies/CT-1/study_N.nii.gz, masks/study_N_mask.nii.gz"),
    },
    "MosMedData": {
        "MosMedData": (mosmed.volumes, "studies/CT-1/study_N.nii.gz, masks/study_N_mask.nii.gz"),
    },
    "image labels": {  # by the word that chooses one
        "table": (image_labels.table, "labels.csv with columns image, label"),
        "cc_ccii": (
            image_labels.cc_ccii,
            "Normal/<patient>/<scan>/<slice>.png, NCP/<patient>/<scan>/<slice>.png, lesions_slices.csv",
        ),
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
LAYOUTS["image labels"] |= LAYOUTS["CT infection"]
PHANTOMS: dict[str, dict[str, dict[str, Any]]] = {  # by task and word: settings of common.phantoms.phantom_dir
    "CT lesions": {"phantom": {"layout": "radiopaedia"}},
    "CT infection": {
        "phantom": {"layout": "radiopaedia", "patients": 20, "size": (192, 192), "slices": 40, "seed": 4},
        # other patients, under a scanner with a smoother kernel, thicker slices and an offset in HU
        "phantom_second_scanner": {
            **{"layout": "radiopaedia", "patients": 20, "size": (192, 192), "slices": 40, "seed": 5},
            "scanner": "second",
        },
    },
    "MosMedData": {"phantom": {"layout": "mosmed", "patients": 20, "size": (128, 128), "slices": 24, "seed": 6}},
    "image labels": {"phantom": {"layout": "radiopaedia", "patients": 20, "size": (128, 128), "slices": 24, "seed": 7}},
    "ultrasound labels": {"phantom": {"layout": "semantic_lung"}},
    "ultrasound diagnoses": {"phantom": {"layout": "pocus"}},
}


def datalist(root: str | Path, task: str = "CT lesions", source: str = "") -> list[dict[str, Any]]:
    """List the cases of whichever public layout a folder has; ``phantom`` makes and lists synthetic ones.

    Args:
        root: the folder that a public source was unpacked to, or the word ``phantom``.
        task: ``CT lesions``, ``CT infection``, ``MosMedData``, ``image labels``, ``ultrasound labels`` or ``ultrasound
            diagnoses``: whose layouts to look for.
        source: the layout to take where a folder may hold several; of ``CT infection`` ``radiopaedia``,
            ``coronacases``, ``mosmed``, or ``phantom`` and ``phantom_second_scanner``, which need no folder; of ``image
            labels`` the first three, ``table``, ``cc_ccii`` or ``phantom``.

    Returns:
        Dicts with ``image`` (path), ``label`` (path, the diagnosis, or 0 or 1), ``case``, ``patient`` (None where the
        source names none) and ``source``. CT has ``lung`` (path, may be absent), ``intensity`` (``HU`` or ``8bit``),
        and ``slice`` where a case is one slice of a file. MosMedData has ``severity``: the class of the study's
        folder, ``CT-0`` to ``CT-4``, or None.

    Raises:
        FileNotFoundError: when the folder is missing, has none of the known layouts, or an image lacks its mask.
        ValueError: for an unknown source, one that does not go with the folder, or a study that is there twice.
    """
    layouts, phantoms = LAYOUTS[task], PHANTOMS[task]
    if source and source not in (*layouts, *phantoms):
        raise ValueError(f"Unknown source {source!r}. Choose one of {', '.join([*layouts, *phantoms])}.")
    if source in layouts:
        layouts = {source: layouts[source]}
        if str(root) == "phantom":
            raise ValueError(f"The source {source} is read from a folder, got none. Give the unpacked download.")
    elif source in phantoms and str(root) != "phantom":
        raise ValueError(f"The source {source} needs no folder, got {root}. Say what it holds: {', '.join(layouts)}.")
    if str(root) == "phantom":
        from ..phantoms import phantom_dir

        root = phantom_dir(**phantoms[source or "phantom"])
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"No such folder: {root}. Give the unpacked download with --dataset_dir, or 'phantom'.")
    for name, (listed, _) in layouts.items():
        cases = listed(root)
        if cases:
            logger.info("%s in %s: %d cases.", source or name, root, len(cases))
            return [{**case, "source": source if source in phantoms else case["source"]} for case in cases]
    known = "; ".join(files for _, files in layouts.values())
    found = ", ".join(sorted(path.name for path in root.iterdir())[:8]) or "nothing"
    raise FileNotFoundError(f"{root} has none of the known layouts: {known}. It holds: {found}.")
