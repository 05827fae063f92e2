"""Ultrasound images and clips in a folder, for inference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydicom

from ...files import make_names_unique, matches, reason
from ...phantoms.ultrasound.folder import phantom_dir
from ...readers.refused import Refused
from ...readers.ultrasound.formats import FORMATS, kind_of, refuse_other_modality, without_suffix

UNSEEN_PHANTOM = 2021  # seed; training's phantoms have other seeds
DIRECTORY = "1.2.840.10008.1.3.10"  # SOP class of a DICOMDIR, the index of a disc


def _dicom_case(file: Path) -> dict[str, Any] | None:
    """Return what a DICOM file adds to its case: nothing, or ``error``; None for a file without an image."""
    try:
        header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=["Modality"])
        if header.file_meta.get("MediaStorageSOPClassUID") == DIRECTORY:
            return None
        refuse_other_modality(header)
    except Refused as error:
        return {"error": f"{file}: {error}"}
    except Exception as error:
        return {"error": f"{file}: cannot be read: {reason(error)}"}
    return {}


def inference_cases(
    root: str | Path, include: str | Sequence[str] = "*", exclude: str | Sequence[str] = ""
) -> list[dict[str, Any]]:
    """Find ultrasound images, clips and DICOM files in a folder, at any depth; hidden files are ignored.

    Args:
        root: a folder or one file; ``phantom`` makes three synthetic patients that no training has seen.
        include: pattern that a case must match (``*`` and ``?``), against its path below ``root`` without suffix;
            several are separated by commas.
        exclude: patterns of cases to leave out, for example ``*mask*,*linear/*``.

    Returns:
        Dicts, sorted by case, with ``case`` (unique path below ``root`` without suffix), ``image`` (path of the file)
        and ``kind`` (``picture``, ``clip`` or ``dicom``, which may be either). DICOM that cannot be read, or is of
        another modality, has ``error``, its message.

    Raises:
        FileNotFoundError: when there is no such folder, or it holds no image and no clip.
    """
    if str(root) == "phantom":
        root = phantom_dir("pocus", patients=3, clips=1, seed=UNSEEN_PHANTOM)
    root = Path(root)
    if not root.exists():
        raise FileNotFoundError(f"No such folder: {root}. Give the folder of images and clips with --dataset_dir.")
    top = root.parent if root.is_file() else root
    found = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
    files = [file for file in found if file == root or not _hidden(file.relative_to(top))]
    cases: list[dict[str, Any]] = []
    for file in files:
        kind = kind_of(file)
        more = _dicom_case(file) if kind == "dicom" else {}
        if kind and more is not None:
            name = file.name if without_suffix(file) else file.stem
            cases.append(
                {"case": (file.relative_to(top).parent / name).as_posix(), "image": file, "kind": kind, **more}
            )
    wanted = [case for case in cases if matches(case["case"], include) and not matches(case["case"], exclude)]
    if not wanted:
        raise FileNotFoundError(
            f"No image or clip in {root}: {len(files)} files, {len(cases)} of them images or clips, none left by "
            f"include={include!r} and exclude={exclude!r}. Formats: {FORMATS}."
        )
    make_names_unique(wanted)
    return sorted(wanted, key=lambda case: str(case["case"]))


def _hidden(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts)
