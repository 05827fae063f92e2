"""Lung ultrasound with a diagnosis per clip or image: POCUS in its layouts, and folders named by class."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from ...readers.ultrasound.formats import kind_of
from ...spreadsheets import file_below, read_table
from ..walk import UNKNOWN, summary, walk

logger = logging.getLogger(__name__)

PREFIXES = {"cov": "COVID-19", "pneu": "pneumonia", "vir": "pneumonia", "reg": "normal"}  # of POCUS's file names
LABELS = {  # in manifests and metadata; the paper's pneumonia is bacterial or viral, but not COVID-19
    **{"covid": "COVID-19", "covid-19": "COVID-19", "regular": "normal", "normal": "normal", "healthy": "normal"},
    **{"pneumonia": "pneumonia", "pneumonia_bacterial": "pneumonia", "pneumonia_viral": "pneumonia"},
    **{"bacterial pneumonia": "pneumonia", "viral pneumonia": "pneumonia"},
}
NAMED = 5  # files in a message
FOLDERS = ("pocus_videos", "pocus_images", "videos", "images")
METADATA = "dataset_metadata.csv"
MANIFEST = "manifest.csv"


def _files(folder: Path) -> list[Path]:
    """List the images and clips below a folder; all other files are counted in one line of the log."""
    found = walk(folder)
    kinds = {path: kind_of(path) for path in found.files if path.name.upper() != "DICOMDIR"}
    other = [(path, UNKNOWN) for path, kind in kinds.items() if not kind]
    line = summary([*found.omitted, *((path, "broken link") for path in found.broken), *other])
    if line:
        logger.info("%s: %s", folder, line)
    return [path for path, kind in kinds.items() if kind]


def _case(root: Path, path: Path, diagnosis: str, patient: str | None, source: str) -> dict[str, Any]:
    name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
    return {"image": path, "label": diagnosis, "patient": patient, "case": name, "source": source}


def manifest(root: Path) -> list[dict[str, Any]]:
    """List a table of files: manifest.csv with columns file, label, patient; or the tables of several sub-folders.

    ``file`` is a path below the table's folder. ``label`` is one of POCUS's labels (covid, regular,
    pneumonia_bacterial, ...) or of the three diagnoses. ``patient`` may be blank. Tables of sub-folders are parts of
    one collection: a patient of the same name is one patient.

    Raises:
        FileNotFoundError: naming every file that is not there, and a sub-folder of images or clips without a table
            beside others that have one.
        ValueError: for an unknown label.
    """
    below = sorted(root.glob(f"*/{MANIFEST}"))
    if (root / MANIFEST).is_file():
        if below:
            names = ", ".join(table.parent.name for table in below)
            logger.warning("%s is read; the tables in its sub-folders are not: %s.", root / MANIFEST, names)
        return _listed(root, root / MANIFEST)
    with_table = {table.parent for table in below}
    for folder in sorted(path for path in root.iterdir() if below and path.is_dir() and path not in with_table):
        if files := _files(folder):
            raise FileNotFoundError(
                f"{folder} holds {len(files)} images or clips but no {MANIFEST}, which {below[0].parent.name} beside "
                "it has. Add the table, or move the folder elsewhere."
            )
    return [case for table in below for case in _listed(root, table)]


def _listed(root: Path, table: Path) -> list[dict[str, Any]]:
    """Cases of one table."""
    cases, missing, unknown = [], [], []
    for line, row in read_table(table, ("file", "label", "patient")):
        path = file_below(table.parent, row["file"])
        if not path.is_file():
            missing.append(row["file"] or f"line {line} names none")
        elif row["label"].lower() not in LABELS:
            unknown.append(f"{row['label']!r} of {row['file']}")
        else:
            diagnosis, patient = LABELS[row["label"].lower()], row["patient"] or None
            cases.append(_case(root, path, diagnosis, patient, "manifest"))
    if unknown:
        more = f" and {len(unknown) - NAMED} more" if len(unknown) > NAMED else ""
        raise ValueError(f"{table}: unknown label {', '.join(unknown[:NAMED])}{more}. Use one of {', '.join(LABELS)}.")
    if missing:
        raise FileNotFoundError(
            f"{table} names {len(missing)} files that are not there: {', '.join(missing[:NAMED])}. Add them or remove "
            "rows."
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
        for _, row in read_table(root / METADATA, ("Filename", "Patient ID / Name")):
            if row["Patient ID / Name"]:
                patients[_plain(Path(row["Filename"].replace("\\", "/")).stem)] = row["Patient ID / Name"]
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
