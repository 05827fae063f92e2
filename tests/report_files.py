"""What inference has written, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from PIL import Image


def masks_of(folder: Path) -> dict[str, np.ndarray]:
    """The masks of a folder by their path."""
    volumes: Any = {path: nibabel.load(path).dataobj for path in folder.rglob("*_mask.nii.gz")}
    pictures: Any = {path: Image.open(path) for path in folder.rglob("*_mask.png")}
    return {str(path.relative_to(folder)): np.asarray(mask) for path, mask in {**volumes, **pictures}.items()}


def probabilities_of(folder: Path, classes: list[str]) -> dict[str, np.ndarray]:
    """The probabilities of a folder, (classes, ...), by the path of the mask that they belong to."""
    found = {}
    for mask in masks_of(folder):
        case = str(folder / mask).partition("_mask")[0]
        if Path(f"{case}_probabilities.npz").is_file():
            content = np.load(f"{case}_probabilities.npz")
            assert list(content["classes"]) == classes
            found[mask] = content["probabilities"].astype(np.float32)
        else:
            files: Any = [nibabel.load(f"{case}_probability_{name}.nii.gz") for name in classes]
            assert all(np.allclose(each.affine, nibabel.load(folder / mask).affine) for each in files)
            found[mask] = np.stack([each.get_fdata(dtype=np.float32) for each in files])
    return found
