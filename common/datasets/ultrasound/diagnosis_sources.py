"""Lung ultrasound with a diagnosis per clip or image: POCUS in its layouts, and folders named by class."""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...readers.ultrasound.formats import CLIPS, DICOM, PICTURES

logger = logging.getLogger(__name__)

PREFIXES = {"cov": "COVID-19", "pneu": "pneumonia", "vir": "pneumonia", "reg": "normal"}  # of POCUS's file names
LABELS = {  # in manifests and metadata; the paper's pneumonia is bacterial or viral, but not COVID-19
    **{"covid": "COVID-19", "covid-19": "COVID-19", "regular": "normal", "normal": "normal", "healthy": "normal"},
    **{"pneumonia": "pneumonia", "pneumonia_bacterial": "pneumonia", "pneumonia_viral": "pneumonia"},
    **{"bacterial pneumonia": "pneumonia", "viral pneumonia": "pneumonia"},
}
FOLDERS = ("pocus_videos", "pocus_images", "videos", "images")
METADATA = "dataset_metadata.csv"


def _files(folder: Path) -> Iterator[Path]:
    """Yield images and clips below a folder."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith(".") and path.suffix.lower() in (*PICTURES, *CLIPS, *DICOM):
            yield path


def _case(root: Path, path: Path, diagnosis: str, patient: str | None, source: str) -> dict[str, Any]:
    name = path.relative_to(root).as_posix()
    return {"image": path, "label": diagnosis, "patient": patient, "case": name, "source": source}


def _rows(path: Path, wanted: tuple[str, ...]) -> list[dict[str, str]]:
    """Read the rows of a CSV file.

    Raises:
        ValueError: when a column is missing.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = [name for name in wanted if name not in (reader.fieldnames or [])]
        if missing:
            raise ValueError(
                f"{path}: needs the columns {', '.join(wanted)}; {', '.join(missing)} is missing, "
                f"got {', '.join(reader.fieldnames or ['none'])}. Add it."
            )
        return list(reader)


def manifest(root: Path) -> list[dict[str, Any]]:
    """List a table of files: manifest.csv with columns file, label, patient.

    ``file`` is a path below the folder. ``label`` is one of POCUS's labels (covid, regular, pneumonia_bacterial, ...)
    or of the three diagnoses. ``patient`` may be blank.

    Raises:
        FileNotFoundError: naming every file that is not there.
        ValueError: for an unknown label.
    """
    table = root / "manifest.csv"
    if not table.is_file():
        return []
    cases, missing = [], []
    for row in _rows(table, ("file", "label", "patient")):
        path = root / row["file"]
        if not path.is_file():
            missing.append(row["file"])
            continue
        if row["label"].strip().lower() not in LABELS:
            raise ValueError(
                f"{table}: unknown label {row['label']!r} of {row['file']}. Use one of {', '.join(LABELS)}."
            )
        diagnosis, patient = LABELS[row["label"].strip().lower()], row["patient"].strip() or None
        cases.append(_case(root, path, diagnosis, patient, "manifest"))
    if missing:
        raise FileNotFoundError(
            f"{table} names {len(missing)} files that are not there: {', '.join(missing[:5])}. Add them or remove rows."
        )
    return cases


def _plain(name: str) -> str:
    """Keep letters and digits only: POCUS's table and file names differ in spaces, dashes and underscores."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def pocus(root: Path) -> list[dict[str, Any]]:
    """POCUS (Born et al. 2021): pocus_videos/, pocus_images/, dataset_metadata.csv.

    The diagnosis is the prefix of a file's name: Cov, Pneu, Vir (viral, not COVID-19), Reg. Patients come from the
    table's column ``Patient ID / Name``, if given.

    Raises:
        ValueError: for a file without such a prefix.
    """
    folders = [root / name for name in FOLDERS if (root / name).is_dir()]
    files = [path for folder in folders for path in _files(folder)]
    if not files:
        return []
    patients: dict[str, str] = {}
    if (root / METADATA).is_file():
        for row in _rows(root / METADATA, ("Filename", "Patient ID / Name")):
            if row["Patient ID / Name"].strip():
                patients[_plain(Path(row["Filename"]).stem)] = row["Patient ID / Name"].strip()
    cases = []
    for path in files:
        prefix = re.match(r"[A-Za-z]*", path.name)[0].lower()  # type: ignore[index]
        if prefix not in PREFIXES:
            raise ValueError(
                f"{path}: the name of a POCUS file must begin with Cov, Pneu, Vir or Reg. Rename it, or list the files "
                "in manifest.csv with columns file, label, patient."
            )
        cases.append(_case(root, path, PREFIXES[prefix], patients.get(_plain(path.stem)), "pocus"))
    return cases


def class_folders(root: Path) -> list[dict[str, Any]]:
    """List one folder per diagnosis: normal/, pneumonia/, covid-19/ with <patient>/<file> or files.

    A folder below the diagnosis is a patient, whose clips and images belong together. Files directly in the folder of a
    diagnosis name no patient.

    Raises:
        FileNotFoundError: when one of the folders is empty.
    """
    found = {folder: LABELS[folder.name.lower()] for folder in sorted(root.iterdir()) if folder.name.lower() in LABELS}
    if not found:
        return []
    cases = []
    for folder, diagnosis in found.items():
        files = list(_files(folder))
        if not files:
            raise FileNotFoundError(f"{folder} holds no image and no clip. Add files, or remove the folder.")
        for path in files:
            inside = path.relative_to(folder).parts
            patient = f"{folder.name}/{inside[0]}" if len(inside) > 1 else None
            cases.append(_case(root, path, diagnosis, patient, "folders"))
    return cases
