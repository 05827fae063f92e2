"""MosMedData: 1110 chest CT studies, 50 of them with masks (Morozov et al. 2020, arXiv:2005.06465)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from ...severity import folder_severity
from ..pairs import named

logger = logging.getLogger(__name__)

NIFTI = (".nii.gz", ".nii")
MASK = "_mask"
NAMED = 5  # studies in a message


def volumes(root: Path) -> list[dict[str, Any]]:
    """MosMedData: studies/CT-1/study_N.nii.gz, masks/study_N_mask.nii.gz.

    HU; each study is one patient; masks are 1 in ground-glass and consolidation. There are no lung masks. Most studies
    have no mask: they are left out, and the first ones are named in the log. ``severity`` is the class of the folder,
    CT-0 to CT-4; None for studies in other folders or directly in ``studies/``, where you may put your own.

    Raises:
        FileNotFoundError: naming every mask without a study, or when there are no masks at all.
        ValueError: naming both files of every study that exists twice.
    """
    top = root / "studies"
    if not top.is_dir():
        return []
    studies = _studies(top)
    masks = {name.removesuffix(MASK): file for name, file in named(root / "masks", NIFTI).items()}
    unpaired = [f"{masks[name]} has no {name}.nii.gz in studies/" for name in sorted(masks.keys() - studies.keys())]
    if unpaired:
        raise FileNotFoundError(f"Every mask needs its study, {len(unpaired)} have none: {'; '.join(unpaired)}.")
    if not masks:
        raise FileNotFoundError(f"{root} needs masks, got {len(studies)} studies and no masks/study_N_mask.nii.gz.")
    bare = sorted(studies.keys() - masks.keys())
    if bare:
        names = ", ".join([*bare[:NAMED], "..."] if len(bare) > NAMED else bare)
        logger.info("%d studies without mask are left out: %s", len(bare), names)
    return [
        {
            **{"image": studies[name], "label": masks[name], "case": name, "patient": name},
            **{"severity": folder_severity(studies[name].relative_to(top)), "source": "mosmed", "intensity": "HU"},
        }
        for name in sorted(masks)
    ]


def _studies(top: Path) -> dict[str, Path]:
    """Return the files of a folder and its sub-folders by name; ValueError for names that occur twice."""
    files: dict[str, list[Path]] = {}
    for folder in (top, *sorted(folder for folder in top.iterdir() if folder.is_dir())):
        for ending in NIFTI:
            for name, file in named(folder, [ending]).items():
                files.setdefault(name, []).append(file)
    twice = [" and ".join(map(str, found)) for _, found in sorted(files.items()) if len(found) > 1]
    if twice:
        raise ValueError(
            f"Every study needs a unique name, {len(twice)} names occur twice: {'; '.join(twice)}. "
            "Rename or remove one."
        )
    return {name: found[0] for name, found in files.items()}
