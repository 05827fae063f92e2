"""MosMedData: 1110 chest CT studies, 50 of them with masks (Morozov et al. 2020, arXiv:2005.06465)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from .pairs import named

logger = logging.getLogger(__name__)

NIFTI = (".nii.gz", ".nii")
MASK = "_mask"


def volumes(root: Path) -> list[dict[str, Any]]:
    """MosMedData: studies/CT-1/study_N.nii.gz, masks/study_N_mask.nii.gz.

    HU; each study is one patient; masks are 1 where there is ground-glass or consolidation. Lung masks there are none.
    Most studies have no mask and are left out. ``severity`` is the folder's class, CT-0 to CT-4.

    Raises:
        FileNotFoundError: naming every mask without its study.
    """
    if not (root / "studies").is_dir():
        return []
    studies = {
        name: (file, folder.name)
        for folder in sorted((root / "studies").iterdir())
        if folder.is_dir()
        for name, file in named(folder, NIFTI).items()
    }
    masks = {name.removesuffix(MASK): file for name, file in named(root / "masks", NIFTI).items()}
    lonely = [f"{masks[name]} has no {name}.nii.gz in studies/" for name in sorted(masks.keys() - studies.keys())]
    if lonely:
        raise FileNotFoundError(f"Every mask needs its study, {len(lonely)} have none: {'; '.join(lonely)}.")
    if not masks:
        raise FileNotFoundError(f"{root} needs masks, got {len(studies)} studies and no masks/study_N_mask.nii.gz.")
    logger.info("%d studies without mask are left out.", len(studies) - len(masks))
    return [
        {
            **{"image": studies[name][0], "label": masks[name], "case": name, "patient": name},
            **{"severity": studies[name][1], "source": "mosmed", "intensity": "HU"},
        }
        for name in sorted(masks)
    ]
