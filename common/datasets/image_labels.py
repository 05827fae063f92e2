"""CT pictures with a label for the whole image, 0 normal or 1 with lesions: a table of your own, China Consortium."""

from __future__ import annotations

import csv
import logging
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ..scans import PICTURES, UPRIGHT

logger = logging.getLogger(__name__)

Case = dict[str, Any]
TABLE = "labels.csv"
LESIONS = "lesions_slices.csv"  # of the China Consortium: a path in each line, such as NCP/1058/2636/0045.jpg
NAMED = 5  # lines or files in a message


def table(root: Path) -> list[Case]:
    """A table of 8-bit pictures: labels.csv with columns image, label, and if you like patient, lung, source.

    ``image`` and ``lung`` are paths below the folder; ``label`` is 0 (normal) or 1 (with lesions). Pictures lie
    upright.

    Raises:
        ValueError: naming lines and values that cannot be used, or a picture that is listed twice.
    """
    path = root / TABLE
    if not path.is_file():
        return []
    cases: list[Case] = []
    faults: list[str] = []
    lines: dict[Path, str] = {}  # of each picture, with its patient
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        columns = [str(name).strip() for name in reader.fieldnames or []]
        if not {"image", "label"} <= set(columns):
            raise ValueError(
                f"{path}, line 1: the columns image and label are needed, got {', '.join(columns) or 'none'}. Add them."
            )
        reader.fieldnames = columns
        for row in reader:
            given = {name: (row.get(name) or "").strip() for name in ("image", "label", "patient", "lung", "source")}
            image = root / given["image"]
            fault = _fault(root, given, lines.get(image.resolve()))
            if fault:
                faults.append(f"line {reader.line_num}: {fault}")
                continue
            lines[image.resolve()] = f"line {reader.line_num} (patient {given['patient'] or 'not named'})"
            name = PurePosixPath(given["image"]).with_suffix("").as_posix()
            cases.append(
                _picture(image, int(given["label"]), name, given["patient"] or None, given["source"] or "table")
                | ({"lung": root / given["lung"]} if given["lung"] else {})
            )
    if faults:
        more = "; ..." if len(faults) > NAMED else ""
        raise ValueError(
            f"{path}: {len(faults)} lines cannot be used: {'; '.join(faults[:NAMED])}{more}. Correct them."
        )
    return cases


def _fault(root: Path, given: Mapping[str, str], earlier: str | None) -> str:
    """What is wrong with a row, nothing where it can be used."""
    for column in ("image", "lung"):
        name = given[column]
        if (name or column == "image") and not name.lower().endswith(PICTURES):
            return f"{column} is a picture ({', '.join(PICTURES)}), got {name!r}"
        if name and not (root / name).is_file():
            return f"no such {column}: {name}"
    if given["label"] not in ("0", "1"):
        return f"label is 0 (normal) or 1 (with lesions), got {given['label']!r} for {given['image']}"
    if earlier:
        patient = given["patient"] or "not named"
        return f"a picture is listed once, got {given['image']} (patient {patient}) again after {earlier}"
    return ""


def _picture(image: Path, label: int, name: str, patient: str | None, source: str) -> Case:
    return {
        **{"image": image, "label": label, "case": name, "patient": patient, "source": source},
        **{"intensity": "8bit", "picture_axes": UPRIGHT},
    }


def cc_ccii(root: Path) -> list[Case]:
    """China Consortium (Zhang et al. 2020, Cell): Normal/<patient>/<scan>/<slice>.png, NCP/ alike; lesions_slices.csv.

    8-bit. Slices of Normal are label 0. Scans of NCP (COVID-19) have slices without lesions too, so that label 1 are
    those alone that lesions_slices.csv lists; without this file, all. CP (common pneumonia) is left out.

    Raises:
        ValueError: where lesions_slices.csv lists no slice of NCP that is there.
    """
    normal, ill = (
        sorted(path for path in (root / name).glob("*/*/*") if path.suffix.lower() in PICTURES)
        for name in ("Normal", "NCP")
    )
    if not normal and not ill:
        return []
    if (root / "CP").is_dir():
        logger.info("CP (common pneumonia) in %s is left out: it is neither normal nor COVID-19.", root)
    if ill and (root / LESIONS).is_file():
        listed = _listed(root / LESIONS)
        found = [path for path in ill if (*path.parts[-3:-1], path.stem) in listed]
        if not found:
            raise ValueError(
                f"{root / LESIONS}: slices with lesions are listed as NCP/<patient>/<scan>/<slice>, got none of the "
                f"{len(ill)} in {root / 'NCP'}, such as {ill[0].relative_to(root)}. Take the list of this download."
            )
        logger.info("%d of %d slices of NCP are listed in %s, the others left out.", len(found), len(ill), LESIONS)
        ill = found
    elif ill:
        logger.warning(
            "%s has no %s: all %d slices of NCP count as slices with lesions, and many have none. Add the file.",
            *(root, LESIONS, len(ill)),
        )
    return [
        _picture(path, label, path.relative_to(root).with_suffix("").as_posix(), path.parts[-3], "cc_ccii")
        for label, paths in ((0, normal), (1, ill))
        for path in paths
    ]


def _listed(path: Path) -> set[tuple[str, ...]]:
    """Patient, scan and slice of every path in a table, whatever its heading and its leading folders; none of CP."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        places = [PurePosixPath(cell.strip().replace("\\", "/")) for row in csv.reader(file) for cell in row]
    return {
        (*place.parts[-3:-1], place.stem)
        for place in places
        if len(place.parts) >= 3 and place.parts[-4:-3] not in (("CP",), ("Normal",))
    }
