"""COVID-19-CT-Seg, 20 volumes with lung and infection masks (Ma et al. 2020, doi:10.5281/zenodo.3757476)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from ..pairs import named, number_or_name, partners

logger = logging.getLogger(__name__)

NIFTI = (".nii.gz", ".nii")
IMAGES = "COVID-19-CT-Seg_20cases"
GREY_WINDOW = (-1250.0, 250.0)  # HU of grey levels 0 and 255 in radiopaedia_*, as the download's page says


def volumes(root: Path, grey_levels: bool = False) -> list[dict[str, Any]]:
    """COVID-19-CT-Seg: COVID-19-CT-Seg_20cases/coronacases_N.nii.gz, Infection_Mask/, Lung_Mask/ of the same names.

    The ten Coronacases volumes hold HU. The ten others, ``radiopaedia_*``, hold grey levels 0..255 and are left out by
    name, as in Maganaris et al. (section 3.1), unless ``grey_levels`` is set: the source says that they show -1250 to
    250 HU, but what lies beyond is lost.

    Raises:
        FileNotFoundError: when an image lacks its mask, or all volumes hold 0..255.
    """
    if not (root / IMAGES).is_dir():
        return []
    grey = sorted(name for name in named(root / IMAGES, NIFTI) if name.startswith("radiopaedia"))
    left_out = () if grey_levels else tuple(grey)
    if left_out:
        logger.warning("Left out, because they hold grey levels 0..255 instead of HU: %s.", ", ".join(left_out))
    labels = partners(root / IMAGES, root / "Infection_Mask", NIFTI, NIFTI, left_out)
    lungs = partners(root / IMAGES, root / "Lung_Mask", NIFTI, NIFTI, left_out)
    if not labels:
        raise FileNotFoundError(
            f"{root / IMAGES} needs volumes in HU, got {len(grey)} of 0..255 and no other. Add coronacases_*.nii.gz."
        )
    return [
        {
            **{"image": image, "label": label, "lung": lungs[name][1], "case": name, "patient": name},
            **{"source": "coronacases", "intensity": "HU"},
            **({"intensity": "8bit", "grey_window": GREY_WINDOW} if name in grey else {}),
        }
        for name, (image, label) in sorted(labels.items(), key=lambda pair: number_or_name(pair[0]))
    ]
