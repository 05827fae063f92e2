"""MedSeg's 100 axial CT slices (Jenssen and Sakinis 2021, doi:10.6084/m9.figshare.13521488) in its three layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..pairs import number_or_name, partners
from ..splits import axial_slices

# In the images as Inf-Net packaged them, rows run to the patient's left and columns to posterior. The anatomy shows
# this: the liver dome (images 14, 56) is at low rows, the aortic arch (46) and descending aorta (19, 40) at high rows,
# and the spine at high columns.
PICTURE_AXES = "LP"


def any_layout(root: Path) -> list[dict[str, Any]]:
    """MedSeg's slices in whichever of its layouts the folder has."""
    return nifti(root) or pictures(root) or arrays(root)


def nifti(root: Path) -> list[dict[str, Any]]:
    """MedSeg: tr_im.nii.gz, tr_mask.nii.gz, tr_lungmasks_updated.nii.gz.

    Each slice is a case. They come from more than 40 patients, whom the source does not name. HU, restored from JPEG.
    """
    image = root / "tr_im.nii.gz"
    if not image.exists():
        return []
    label, lung = root / "tr_mask.nii.gz", root / "tr_lungmasks_updated.nii.gz"
    if not label.exists():
        raise FileNotFoundError(f"{image} needs its mask {label.name} beside it. Put the download's files together.")
    count = axial_slices(image)
    paths = {"image": image, "label": label, **({"lung": lung} if lung.exists() else {})}
    return [
        {**paths, "slice": index, "case": f"{index:03d}", "patient": None, "source": "medseg", "intensity": "HU"}
        for index in range(count)
    ]


def arrays(root: Path) -> list[dict[str, Any]]:
    """MedSeg as arrays: images_medseg.npy, masks_medseg.npy; images_radiopedia.npy, masks_radiopedia.npy.

    HU; masks are one-hot: ground-glass, consolidation, lung, background. Arrays are upright. No patients are named.
    """
    cases: list[dict[str, Any]] = []
    for source in ("medseg", "radiopedia"):
        image, mask = root / f"images_{source}.npy", root / f"masks_{source}.npy"
        if not image.exists():
            continue
        if not mask.exists():
            raise FileNotFoundError(f"{image} needs its mask {mask.name} beside it. Put the download's files together.")
        count = np.load(image, mmap_mode="r", allow_pickle=False).shape[0]
        cases += [
            {
                **{"image": image, "label": mask, "lung": mask, "slice": index, "case": f"{source}/{index:03d}"},
                **{"patient": None, "source": source, "intensity": "HU"},
            }
            for index in range(count)
        ]
    return cases


def pictures(root: Path) -> list[dict[str, Any]]:
    """MedSeg as images: Imgs/*.jpg, GT_multiclass/*.png.

    8-bit, windowed and cropped to the lungs; without lung masks and patients.
    """
    if not (root / "Imgs").is_dir():
        return []
    pairs = partners(root / "Imgs", root / "GT_multiclass", (".jpg", ".jpeg", ".png"), (".png",))
    return [
        {
            **{"image": image, "label": label, "case": name, "patient": None, "source": "medseg"},
            **{"intensity": "8bit", "picture_axes": PICTURE_AXES},
        }
        for name, (image, label) in sorted(pairs.items(), key=lambda pair: number_or_name(pair[0]))
    ]
