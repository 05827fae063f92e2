"""CT images with a label for the whole image, 0 normal or 1 with lesions, listed in a table of your own."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ...readers.scan import PICTURES, UPRIGHT
from ...spreadsheets import file_below, read_table

logger = logging.getLogger(__name__)

Case = dict[str, Any]
TABLE = "labels.csv"
PATHS = {"lung": "lung", "truth": "mask"}  # of a case: columns of the table that name files
NAMED = 5  # lines or files in a message


def table(root: Path) -> list[Case]:
    """List a table of 8-bit images: labels.csv with columns image, label, and optionally patient, lung, source, mask.

    ``image``, ``lung`` and ``mask`` are paths below the folder; ``label`` is 0 (normal) or 1 (with lesions); ``mask``
    is the ground truth to test on. Images are upright.

    The table may come from a spreadsheet program, see ``common.spreadsheets.read_table``.

    Raises:
        ValueError: naming lines and values that cannot be used, or an image that is listed twice.
    """
    path = root / TABLE
    if not path.is_file():
        return []
    cases: list[Case] = []
    faults: list[str] = []
    lines: dict[Path, str] = {}  # of each image, with its patient
    for line, given in read_table(path, ("image", "label"), ("patient", "lung", "source", "mask")):
        image = file_below(root, given["image"])
        fault = _fault(root, given, lines.get(image.resolve()))
        if fault:
            faults.append(f"line {line}: {fault}")
            continue
        lines[image.resolve()] = f"line {line} (patient {given['patient'] or 'not named'})"
        name = PurePosixPath(given["image"].replace("\\", "/")).with_suffix("").as_posix()
        cases.append(
            picture_case(image, int(given["label"]), name, given["patient"] or None, given["source"] or "table")
            | {key: file_below(root, given[name]) for key, name in PATHS.items() if given[name]}
        )
    if faults:
        more = "; ..." if len(faults) > NAMED else ""
        raise ValueError(
            f"{path}: {len(faults)} lines cannot be used: {'; '.join(faults[:NAMED])}{more}. Correct them."
        )
    return cases


def _fault(root: Path, given: Mapping[str, str], earlier: str | None) -> str:
    """Return what is wrong with a row; empty if nothing is."""
    for column in ("image", *PATHS.values()):
        name = given[column]
        if (name or column == "image") and not name.lower().endswith(PICTURES):
            return f"{column} must be an image file ({', '.join(PICTURES)}), got {name!r}"
        if name and not file_below(root, name).is_file():
            return f"no such {column}: {name}"
    if given["label"] not in ("0", "1"):
        return f"label must be 0 (normal) or 1 (with lesions), got {given['label']!r} for {given['image']}"
    if earlier:
        patient = given["patient"] or "not named"
        return f"an image must be listed once, got {given['image']} (patient {patient}) again after {earlier}"
    return ""


def picture_case(image: Path, label: int, name: str, patient: str | None, source: str) -> Case:
    """Return the case of an upright 8-bit image."""
    return {
        **{"image": image, "label": label, "case": name, "patient": patient, "source": source},
        **{"intensity": "8bit", "picture_axes": UPRIGHT},
    }
