"""Where CT cases come from: public layouts by task, and the synthetic patients that stand for them."""

from __future__ import annotations

from typing import Any

from . import coronacases, image_labels, medseg, mosmed, radiopaedia
from .sources import Layouts

# Of several tasks: what lists the cases, and its files
NINE_VOLUMES = (radiopaedia.volumes, "rp_im/N.nii.gz, rp_msk/N.nii.gz, rp_lung_msk/N.nii.gz")
STUDIES = (mosmed.volumes, "studies/CT-1/study_N.nii.gz, masks/study_N_mask.nii.gz")

LAYOUTS: dict[str, Layouts] = {
    "CT lesions": {
        "MedSeg NIfTI": (medseg.nifti, "tr_im.nii.gz, tr_mask.nii.gz, tr_lungmasks_updated.nii.gz"),
        "MedSeg pictures": (medseg.pictures, "Imgs/*.jpg, GT_multiclass/*.png"),
        "MedSeg arrays": (
            medseg.arrays,
            "images_medseg.npy, masks_medseg.npy; images_radiopedia.npy, masks_radiopedia.npy",
        ),
        "Radiopaedia nine volumes": NINE_VOLUMES,
    },
    "CT infection": {  # by the word that chooses one
        "radiopaedia": NINE_VOLUMES,
        "coronacases": (
            coronacases.volumes,
            "COVID-19-CT-Seg_20cases/coronacases_N.nii.gz, Infection_Mask/, Lung_Mask/",
        ),
        "mosmed": STUDIES,
    },
    "MosMedData": {"MosMedData": STUDIES},
    "image labels": {  # by the word that chooses one
        "table": (image_labels.table, "labels.csv with columns image, label"),
        "cc_ccii": (
            image_labels.cc_ccii,
            "Normal/<patient>/<scan>/<slice>.png, NCP/<patient>/<scan>/<slice>.png, lesions_slices.csv",
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
}
