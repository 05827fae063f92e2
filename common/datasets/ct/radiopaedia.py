"""Nine Radiopaedia volumes with masks, as MedSeg published them (medicalsegmentation.com/covid19)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..pairs import number_or_name, partners

NIFTI = (".nii.gz", ".nii")


def volumes(root: Path) -> list[dict[str, Any]]:
    """Radiopaedia: rp_im/N.nii.gz, rp_msk/N.nii.gz, rp_lung_msk/N.nii.gz.

    HU. Each volume is one patient.
    """
    if not (root / "rp_im").is_dir():
        return []
    labels = partners(root / "rp_im", root / "rp_msk", NIFTI, NIFTI)
    lungs = {}
    if (root / "rp_lung_msk").is_dir():
        lungs = {
            name: {"lung": lung}
            for name, (_, lung) in partners(root / "rp_im", root / "rp_lung_msk", NIFTI, NIFTI).items()
        }
    return [
        {
            **{"image": image, "label": label, **lungs.get(name, {}), "case": name, "patient": name},
            **{"source": "radiopaedia", "intensity": "HU"},
        }
        for name, (image, label) in sorted(labels.items(), key=lambda pair: number_or_name(pair[0]))
    ]
