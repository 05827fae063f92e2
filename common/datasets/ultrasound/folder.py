"""Ultrasound images and clips in a folder, for inference."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydicom

from ...phantoms.ultrasound.folder import phantom_dir
from ...readers.library_notes import collected
from ...readers.reasons import cause
from ...readers.sniff import DIRECTORY
from ...readers.ultrasound.formats import CLIPS, DICOM, FORMATS, PICTURES, kind_of
from ..listing import MASK, Omitted, chosen_cases, masks_beside
from ..table import list_inputs
from ..walk import UNKNOWN

logger = logging.getLogger(__name__)
UNSEEN_PHANTOM = 2021  # seed; training's phantoms have other seeds
SUFFIXES = (*PICTURES, *CLIPS, *DICOM)
HEADER = ["SOPClassUID", "Modality", "Rows", "NumberOfFrames"]


def inference_cases(
    root: str | Path,
    include: str | Sequence[str] = "*",
    exclude: str | Sequence[str] = "",
    output_dir: str | Path = "",
) -> list[dict[str, Any]]:
    """Find ultrasound images, clips and DICOM files in a folder, at any depth, and in zip files.

    System files, masks beside images, outputs of earlier runs, and DICOM of other modalities are left out. Each file
    becomes a case, or is named with the reason in ``run.json``. One line in the log counts them.

    Args:
        root: a folder, one file, or a table of files (CSV or JSON); ``phantom`` makes three synthetic patients that no
            training has seen.
        include: pattern that a case must match (``*`` and ``?``), against its path below ``root`` without suffix;
            several are separated by commas.
        exclude: patterns of cases to leave out, for example ``*mask*,*linear/*``.
        output_dir: folder whose ``run.json`` receives what was not read; empty for none.

    Returns:
        Dicts, sorted by case, with ``case`` (unique path below ``root`` without suffix), ``image`` (path of the file)
        and ``kind`` (``picture``, ``clip`` or ``dicom``, which may be either). DICOM that cannot be read has
        ``error``, its message.

    Raises:
        FileNotFoundError: when there is no such folder, or it holds no image and no clip.
    """
    if str(root) == "phantom":
        root = phantom_dir("pocus", patients=3, clips=1, seed=UNSEEN_PHANTOM)
    root = Path(root)
    found, places = list_inputs(root)
    omitted: Omitted = [*found.omitted, *((path, "broken link") for path in found.broken)]
    masks = masks_beside([path for path in found.files if kind_of(path) == "picture"])
    cases: list[dict[str, Any]] = []
    for path in found.files:
        kind = kind_of(path)
        why, error = _dicom_header(path) if kind == "dicom" else ("", "")
        if not kind:
            why = UNKNOWN
        elif path in masks:
            why = MASK
        if why:
            omitted.append((path, why))
            continue
        name = path.stem if path.suffix.lower() in SUFFIXES else path.name  # 1.2.840.1 has no suffix
        case: dict[str, Any] = {"case": (places[path].parent / name).as_posix(), "image": path, "kind": kind}
        cases.append({**case, "error": f"{places[path]}: {error}"} if error else case)
    others = sum(why.startswith("modality") for _, why in omitted)
    if others:
        remedy = "If they are ultrasound, set their Modality (0008,0060) to US."
        logger.warning("%d DICOM files of other modalities are left out. %s", others, remedy)
    words = ("image or clip", "images or clips")
    return chosen_cases(root, cases, omitted, places, include, exclude, FORMATS, output_dir, words=words)


def _dicom_header(path: Path) -> tuple[str, str]:
    """Return why a DICOM file is no case, and why it cannot be read; empty where neither is true."""
    try:
        with collected():  # what the library warns of is noted when the file is read
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=HEADER, force=True)
            {element.keyword: element.value for element in header}  # decodes all that will be used
        if header.file_meta.get("MediaStorageSOPClassUID") == DIRECTORY:
            return "DICOMDIR", ""
        modality = str(header.get("Modality") or "US")
        if not re.fullmatch("[A-Z0-9_ ]{1,16}", modality):
            return "", "cannot be read: its header is damaged. Export it again."
        if modality != "US":
            return f"modality {modality} is not US", ""
        if "SOPClassUID" not in header and "Rows" not in header:
            return "", "cannot be read: it holds no DICOM image. Export it again."
    except Exception as error:  # pydicom raises dozens of types; the user needs the file and the reason
        return "", f"cannot be read: {cause(error)} Export it again."
    return "", ""
