"""Masks and volumes as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from PIL import Image

from ..files import complete_file
from ..readers.nifti import sound
from ..readers.scan import NIFTI
from .styles import ClassStyle


def mask_palette(styles: Sequence[ClassStyle]) -> np.ndarray:
    """Colours of mask values, uint8 (256, 3); black for 0 and for values of no class."""
    palette = np.zeros((256, 3), np.uint8)
    for style in styles:
        palette[style.value] = style.colour if style.value else 0
    return palette


def save_picture_mask(path: Path, mask: np.ndarray, palette: np.ndarray) -> None:
    """Save mask values, uint8 (rows, columns), as a png that viewers show in the colours of the classes."""
    image = Image.fromarray(mask).convert("P")
    image.putpalette(palette.tobytes())
    image.save(path)


def save_volume(
    path: str | Path,
    values: np.ndarray,
    affine: np.ndarray,
    source: str | Path | None = None,
    step: float | None = None,
) -> None:
    """Save a NIfTI file in mm, completely or not at all; its folder is created if needed.

    Args:
        path: the file.
        values: in the order of ``affine``.
        affine: voxel index to mm, RAS, (4, 4).
        source: the scan that the values belong to. If it is NIfTI, its qform, sform, codes and voxel sizes are
            repeated, so that every program shows both in the same place.
        step: what one step of integer values stands for, which programs multiply by when they read the file.
    """
    header = None if source is None else source_header(Path(source), affine)
    if header is None:
        volume = nibabel.Nifti1Image(values, affine)
        volume.header.set_xyzt_units("mm")
    else:
        made = nibabel.Nifti2Image if isinstance(header, nibabel.Nifti2Header) else nibabel.Nifti1Image
        header.set_data_dtype(values.dtype)
        volume = made(values, None, header)
    if step is not None:
        volume.header.set_slope_inter(step, 0)
    with complete_file(path) as part:
        nibabel.save(volume, part)


def source_header(source: Path, affine: np.ndarray) -> Any:
    """Return a header for values on the grid of a NIfTI scan; None if the scan is of another format.

    It keeps what says where voxels lie, and nothing else: neither scaling nor texts, which may name the patient.
    """
    if not source.name.lower().endswith(NIFTI):
        return None
    scan: Any = nibabel.load(source)
    header = scan.header.copy()
    header.extensions.clear()
    header.set_intent("none")
    for name in ("descrip", "aux_file", "db_name", "intent_name"):
        if name in header.keys():
            header[name] = b""
    for name in ("cal_min", "cal_max", "scl_slope", "scl_inter"):
        header[name] = np.nan if name.startswith("scl") else 0
    for name in ("sform", "qform"):
        form, code = getattr(header, f"get_{name}")(coded=True)
        if code > 0 and (form is None or not sound(form)):
            getattr(header, f"set_{name}")(None, 0)  # a broken form, which some programs would still follow
    if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        header.set_sform(affine, 1)  # the orientation was declared
    return header
