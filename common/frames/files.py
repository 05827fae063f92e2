"""Which files hold ultrasound, and which of them are clips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..files import matches, reason, unique

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
CLIPS = (".mp4", ".avi", ".mov", ".gif", ".mpeg", ".mpg", ".m4v", ".mkv", ".webm")
DICOM = (".dcm", ".dicom", ".ima")
FORMATS = f"{', '.join(PICTURES + CLIPS + DICOM)}, DICOM without suffix"
UNSEEN_PHANTOM = 2021  # seed; training's phantoms have others
DIRECTORY = "1.2.840.10008.1.3.10"  # SOP class of a DICOMDIR, the list of files on a disc


class Refused(ValueError):
    """A rule that a file breaks: rule, value, remedy; whoever knows the file's path puts it in front."""


def kind_of(path: Path) -> str:
    """``picture``, ``clip``, ``dicom`` or nothing, by name or, without suffix, by content."""
    suffix = path.suffix.lower()
    for kind, suffixes in (("picture", PICTURES), ("clip", CLIPS), ("dicom", DICOM)):
        if suffix in suffixes:
            return kind
    if path.is_file() and _without_suffix(path):
        with open(path, "rb") as file:
            return "dicom" if file.read(132)[128:] == b"DICM" else ""  # the DICOM file preamble
    return ""


def _without_suffix(path: Path) -> bool:
    return path.suffix in ("", ".") or path.suffix[1:].isdigit()  # 1.2.840.1 is a UID, the usual name of a DICOM file


def existing(path: str | Path) -> Path:
    """The path of a file that exists.

    Raises:
        FileNotFoundError: when it does not, or is a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise FileNotFoundError(f"{path}: frames are read from a file, got a folder. List its files with datalist.")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file. Give an existing picture or clip.")
    return path


def refuse_other_modality(header: Any) -> None:
    """Ultrasound bundles must not judge a CT.

    Raises:
        Refused: when the DICOM header states a modality other than US.
    """
    modality = header.get("Modality") or "US"  # exports of single frames leave it out
    if modality != "US":
        raise Refused(
            f"an ultrasound bundle reads DICOM of modality US, got {modality}. Leave the file out with exclude, or, "
            "if it is ultrasound, set its Modality (0008,0060) to US."
        )


def is_clip(path: str | Path) -> bool:
    """Whether more than one frame is expected: the suffix of a clip, or DICOM with NumberOfFrames above 1.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for a DICOM file whose header cannot be read; the message names the file.
    """
    path = existing(path)
    kind = kind_of(path)
    if kind != "dicom":
        return kind == "clip"
    import pydicom

    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["NumberOfFrames"])
        return int(header.get("NumberOfFrames") or 1) > 1
    except Exception as error:  # pydicom raises dozens of types; the user needs the file and the reason
        raise ValueError(f"{path}: cannot be read: {reason(error)}") from error


def _dicom_case(file: Path) -> dict[str, Any] | None:
    """What one DICOM file adds to its case: nothing, or ``error``; None for a file that is no picture at all."""
    import pydicom

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


def datalist(
    root: str | Path, include: str | Sequence[str] = "*", exclude: str | Sequence[str] = ""
) -> list[dict[str, Any]]:
    """Find ultrasound pictures, clips and DICOM files in a folder, at any depth; hidden files are ignored.

    Args:
        root: a folder or one file; ``phantom`` makes three synthetic patients that no training has seen.
        include: pattern that a case must match (``*`` and ``?``), against its path below ``root`` without suffix;
            several parted by commas.
        exclude: patterns of cases to leave out, for example ``*mask*,*linear/*``.

    Returns:
        Dicts, sorted by case, with ``case`` (unique path below ``root`` without suffix), ``image`` (path of the file)
        and ``kind`` (``picture``, ``clip`` or ``dicom``, which may be either); DICOM that cannot be read, or is of
        another modality, carries ``error``, its message.

    Raises:
        FileNotFoundError: when there is no such folder, or nothing in it can be read.
    """
    if str(root) == "phantom":
        from ..phantoms import phantom_dir

        root = phantom_dir("pocus", patients=3, clips=1, seed=UNSEEN_PHANTOM)
    root = Path(root)
    if not root.exists():
        raise FileNotFoundError(f"No such folder: {root}. Give the folder of pictures and clips with --dataset_dir.")
    top = root.parent if root.is_file() else root
    found = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
    files = [file for file in found if file == root or not _hidden(file.relative_to(top))]
    cases: list[dict[str, Any]] = []
    for file in files:
        kind = kind_of(file)
        more = _dicom_case(file) if kind == "dicom" else {}
        if kind and more is not None:
            name = file.name if _without_suffix(file) else file.stem
            cases.append(
                {"case": (file.relative_to(top).parent / name).as_posix(), "image": file, "kind": kind, **more}
            )
    wanted = [case for case in cases if matches(case["case"], include) and not matches(case["case"], exclude)]
    if not wanted:
        raise FileNotFoundError(
            f"No picture or clip in {root}: {len(files)} files, {len(cases)} of them pictures or clips, none left by "
            f"include={include!r} and exclude={exclude!r}. Formats: {FORMATS}."
        )
    unique(wanted)
    return sorted(wanted, key=lambda case: str(case["case"]))


def _hidden(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts)
