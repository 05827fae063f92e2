"""Public sources of COVID-19 CT, each read in the layout that its own download has."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from . import medseg, radiopaedia
from .scan_dataset import KeepGoing, ScanDataset
from .slices import SliceDataset
from .split import split

__all__ = ["KeepGoing", "ScanDataset", "SliceDataset", "datalist", "split"]

logger = logging.getLogger(__name__)

LAYOUTS = {
    "MedSeg NIfTI": (medseg.nifti, "tr_im.nii.gz, tr_mask.nii.gz, tr_lungmasks_updated.nii.gz"),
    "MedSeg pictures": (medseg.pictures, "Imgs/*.jpg, GT_multiclass/*.png"),
    "MedSeg arrays": (
        medseg.arrays,
        "images_medseg.npy, masks_medseg.npy; images_radiopedia.npy, masks_radiopedia.npy",
    ),
    "Radiopaedia nine volumes": (radiopaedia.volumes, "rp_im/N.nii.gz, rp_msk/N.nii.gz, rp_lung_msk/N.nii.gz"),
}


def datalist(root: str | Path) -> list[dict[str, Any]]:
    """List the cases of whichever public layout a folder has; ``phantom`` makes and lists synthetic ones.

    Args:
        root: the folder that a public source was unpacked to, or the word ``phantom``.

    Returns:
        Dicts with ``image``, ``label`` and ``lung`` (paths; ``lung`` may be absent), ``patient`` (None where the source
        names none), ``source``, ``intensity`` (``HU`` or ``8bit``), ``case``, and ``slice`` where a case is one slice
        of a file.

    Raises:
        FileNotFoundError: when the folder is missing, has none of the known layouts, or an image lacks its mask.
    """
    if str(root) == "phantom":
        from ..phantoms import phantom_dir

        root = phantom_dir("radiopaedia")
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"No such folder: {root}. Give the unpacked download with --dataset_dir, or 'phantom'.")
    for name, (listed, _) in LAYOUTS.items():
        cases = listed(root)
        if cases:
            logger.info("%s in %s: %d cases.", name, root, len(cases))
            return cases
    known = "; ".join(files for _, files in LAYOUTS.values())
    found = ", ".join(sorted(path.name for path in root.iterdir())[:8]) or "nothing"
    raise FileNotFoundError(f"{root} has none of the known layouts: {known}. It holds: {found}.")
