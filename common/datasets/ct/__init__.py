"""Chest CT datasets by what their cases are labelled with. A new public source is added here.

Each function lists the cases of a folder as dicts with ``image`` (path), ``label`` (path of the mask, or 0 or 1 for the
whole image), ``lung`` (path, may be absent), ``case``, ``patient`` (None where the source names none), ``source``,
``intensity`` (``HU`` or ``8bit``), and ``slice`` where a case is one slice of a file. ``root`` is the folder that a
public source was unpacked to, or ``phantom`` for synthetic patients. ``datalist`` is a table of your own cases in place
of the folder (see ``common.datasets.table.own_cases``), ``label_map`` says which value of its masks is which class, and
``resample_masks`` resamples masks that lie on another grid than their image. All raise FileNotFoundError when the
folder or the table is missing, the folder has another layout, or an image lacks its mask, and ValueError for a source
that does not go with the folder, or rows of a table that cannot be used.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ...phantoms.ct.folder import phantom_dir
from ..sources import Layout, find_cases
from . import cc_ccii, coronacases, labels_table, medseg, mosmed, radiopaedia
from .own import cases_of

RADIOPAEDIA = Layout(radiopaedia.volumes, "rp_im/N.nii.gz, rp_msk/N.nii.gz, rp_lung_msk/N.nii.gz")
MOSMED = Layout(mosmed.volumes, "studies/CT-1/study_N.nii.gz, masks/study_N_mask.nii.gz")

LESIONS = {
    "MedSeg NIfTI": Layout(medseg.nifti, "tr_im.nii.gz, tr_mask.nii.gz, tr_lungmasks_updated.nii.gz"),
    "MedSeg pictures": Layout(medseg.pictures, "Imgs/*.jpg, GT_multiclass/*.png"),
    "MedSeg arrays": Layout(
        medseg.arrays, "images_medseg.npy, masks_medseg.npy; images_radiopedia.npy, masks_radiopedia.npy"
    ),
    "Radiopaedia nine volumes": RADIOPAEDIA,
}
INFECTION = {
    "radiopaedia": RADIOPAEDIA,
    "coronacases": Layout(
        coronacases.volumes, "COVID-19-CT-Seg_20cases/coronacases_N.nii.gz, Infection_Mask/, Lung_Mask/"
    ),
    "mosmed": MOSMED,
}
IMAGE_LABELS = {
    "table": Layout(labels_table.table, "labels.csv with columns image, label"),
    "cc_ccii": Layout(
        cc_ccii.cc_ccii,
        "Normal/<patient>/<scan>/<slice>.png, NCP/<patient>/<scan>/<slice>.png, lesions_slices.csv; "
        "image/<patient>/<slice>.jpg, mask/<patient>/<slice>.png",
    ),
    **INFECTION,
}
TESTED = {  # what may be tested on only
    "coronacases": Layout(partial(coronacases.volumes, grey_levels=True), INFECTION["coronacases"].files),
    "medseg": Layout(
        medseg.any_layout, "; ".join(LESIONS[f"MedSeg {kind}"].files for kind in ("NIfTI", "pictures", "arrays"))
    ),
}

TWENTY = {"layout": "radiopaedia", "patients": 20, "size": (192, 192), "slices": 40}
LESION_NAMES = ("ground-glass", "consolidation", "effusion", "lung", "background")  # that --label_map may hold
INFECTION_NAMES = ("infection", *LESION_NAMES)
IMAGE_LABEL_NAMES = ("lesion", *LESION_NAMES)


def lesions(root: str | Path, classes: Sequence[str] = LESION_NAMES, **own: Any) -> list[dict[str, Any]]:
    """Ground-glass and consolidation: MedSeg's slices in their three layouts, or nine Radiopaedia volumes.

    Args:
        root: see above.
        classes: what is to be told apart. With ``infection``, which takes both kinds of lesion, sources whose masks do
            not tell them apart are read, too: COVID-19-CT-Seg's Coronacases and MosMedData.
        own: ``datalist``, ``label_map`` and ``resample_masks``, see above.

    Example:
        >>> cases = lesions("/data/medseg")
        >>> cases[0]["image"], cases[0]["label"]
    """
    phantoms = {"phantom": {"layout": "radiopaedia"}}
    together = "infection" in classes
    layouts = {**LESIONS, **({name: INFECTION[name] for name in ("coronacases", "mosmed")} if together else {})}
    names = INFECTION_NAMES if together else LESION_NAMES
    return cases_of(lambda: find_cases(root, layouts, phantoms, phantom_dir), root, names, **own)


def infection(root: str | Path, source: str = "", **own: Any) -> list[dict[str, Any]]:
    """Infection in volumes.

    Args:
        root: see above.
        source: ``radiopaedia``, ``coronacases`` or ``mosmed``, which one folder may hold together; or, with ``root``
            ``phantom``, ``phantom`` or ``phantom_second_scanner``: other patients, under a scanner with a smoother
            kernel, thicker slices and an offset in HU.
        own: ``datalist``, ``label_map`` and ``resample_masks``, see above.
    """
    phantoms = {"phantom": {**TWENTY, "seed": 4}, "phantom_second_scanner": {**TWENTY, "seed": 5, "scanner": "second"}}
    return cases_of(lambda: find_cases(root, INFECTION, phantoms, phantom_dir, source), root, INFECTION_NAMES, **own)


def mosmed_studies(root: str | Path, **own: Any) -> list[dict[str, Any]]:
    """MosMedData's studies with masks; ``severity`` is the class of the study's folder, CT-0 to CT-4, or None.

    Args:
        root: see above.
        own: ``datalist``, ``label_map`` and ``resample_masks``, see above.
    """
    phantoms = {"phantom": {"layout": "mosmed", "patients": 20, "size": (128, 128), "slices": 24, "seed": 6}}
    return cases_of(
        lambda: find_cases(root, {"MosMedData": MOSMED}, phantoms, phantom_dir), root, INFECTION_NAMES, **own
    )


def image_labels(root: str | Path, source: str = "", tested: bool = False, **own: Any) -> list[dict[str, Any]]:
    """Slices that are normal (0) or have lesions (1), and volumes whose masks say so of each slice.

    Images may have ``truth``, the path of a lesion mask to test on, and ``only_tested``: the source is for testing.

    Args:
        root: see above.
        source: ``table`` (labels.csv), ``cc_ccii``, or one of ``infection``; or ``phantom`` or
            ``phantom_second_scanner``, see ``infection``.
        tested: whether the cases are only tested on. Then ``medseg`` is a source, too, and ``coronacases`` includes
            the ten volumes of grey levels.
        own: ``datalist``, ``label_map`` and ``resample_masks``, see above. In the table, a picture has a ``label``, 0
            or 1, and a volume a ``mask``.
    """
    patients = {"layout": "radiopaedia", "patients": 20, "size": (128, 128), "slices": 24, "seed": 7}
    second = {**patients, "patients": 10, "seed": 8, "scanner": "second"}
    phantoms = {"phantom": patients, "phantom_second_scanner": second}
    layouts = {**IMAGE_LABELS, **TESTED} if tested else IMAGE_LABELS
    return cases_of(
        lambda: find_cases(root, layouts, phantoms, phantom_dir, source),
        *(root, IMAGE_LABEL_NAMES, "either"),
        **own,
    )
