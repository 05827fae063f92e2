"""Formats of ultrasound files, and which of them are clips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom

from ..reasons import in_words, printable
from ..refused import Refused
from ..sniff import is_dicom

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
CLIPS = (".mp4", ".avi", ".mov", ".gif", ".mpeg", ".mpg", ".m4v", ".mkv", ".webm")
DICOM = (".dcm", ".dicom", ".ima")
FORMATS = f"{', '.join(PICTURES + CLIPS + DICOM)}, DICOM of any name, zip of these"


def kind_of(path: Path) -> str:
    """Return ``picture``, ``clip``, ``dicom`` or "", by a known suffix, else by content."""
    suffix = path.suffix.lower()
    for kind, suffixes in (("picture", PICTURES), ("clip", CLIPS), ("dicom", DICOM)):
        if suffix in suffixes:
            return kind
    return "dicom" if path.is_file() and is_dicom(path) else ""


def existing(path: str | Path) -> Path:
    """Return a path as ``Path`` if it is an existing file.

    Raises:
        FileNotFoundError: when there is no such file, or it is a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise FileNotFoundError(
            f"{path}: frames are read from a file, got a folder. List its files with inference_cases."
        )
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file. Give an existing image or clip.")
    return path


def refuse_other_modality(header: Any) -> None:
    """Refuse DICOM of another modality, such as CT.

    Raises:
        Refused: when the DICOM header states a modality other than US.
    """
    modality = printable(str(header.get("Modality") or "US"))  # exports of single frames often omit it
    if modality != "US":
        raise Refused(
            f"an ultrasound bundle reads DICOM of modality US, got {modality}. Leave the file out with exclude, or, "
            "if it is ultrasound, set its Modality (0008,0060) to US."
        )


def is_clip(path: str | Path) -> bool:
    """Whether a file should hold more than one frame: the suffix of a clip, or DICOM with NumberOfFrames above 1.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for a DICOM file whose header cannot be read; the message names the file.
    """
    path = existing(path)
    kind = kind_of(path)
    if kind != "dicom":
        return kind == "clip"
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["NumberOfFrames"], force=is_dicom(path))
        return int(header.get("NumberOfFrames") or 1) > 1
    except Exception as error:  # pydicom raises dozens of types; the user needs the file and the reason
        raise ValueError(f"{path}: cannot be read: {in_words(error)}") from error
