"""CT scans in a folder, for inference."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...files import image_files
from ...phantoms.ct.folder import phantom_dir
from ...readers.dicom_headers import read_headers
from ...readers.dicom_series import Series, series_of
from ...readers.itk import data_files
from ...readers.library_notes import collected
from ...readers.scan import DICOM, ITK, NIFTI, PICTURES, UPRIGHT, kind_of
from ...statistics import counted
from ..listing import MASK, Omitted, chosen_cases, masks_beside, stem
from ..table import list_inputs, own_inputs
from ..walk import UNKNOWN, Found, names
from .partners import add_partners
from .series_choice import choose

logger = logging.getLogger(__name__)
UNSEEN_PHANTOM = 2021  # seed; training's phantoms start at seed 0
UNSEEN_STUDIES = {"patients": 12, "size": (128, 128), "slices": 24, "seed": 2140}  # CT-0 to CT-3
FORMATS = f"{', '.join(dict.fromkeys(NIFTI + ITK + DICOM + PICTURES))}, DICOM without suffix, zip of these"


def inference_cases(
    root: str | Path,
    include: str | Sequence[str] = "*",
    exclude: str | Sequence[str] = "",
    intensity: str = "HU",
    picture_axes: str = UPRIGHT,
    partners: Mapping[str, str] | None = None,
    series: str = "auto",
    kernel: str = "soft",
    gaps: str = "refuse",
    orientation: str = "",
    output_dir: str | Path = "",
) -> list[dict[str, Any]]:
    """Find the scans in a folder, at any depth: NIfTI, MetaImage, NRRD, DICOM series or single slices, images, zip.

    DICOM files are grouped by study and series over the whole folder. System files, masks beside scans, and outputs of
    earlier runs are left out. Each file becomes a case, or is named with the reason in ``run.json``. One line in the
    log counts them.

    Args:
        root: a folder, one file, or a table of files (CSV or JSON); ``phantom`` makes one synthetic patient that no
            training has seen, ``phantom_studies`` twelve, in folders by severity like MosMedData's.
        include: pattern that a case must match (``*`` and ``?``), against its path below ``root``; several are
            separated by commas.
        exclude: patterns of cases to leave out, for example ``*mask*,*segmentation*``.
        intensity: of volumes: ``HU``, or ``8bit`` for windowed grey levels 0..255. Images are always ``8bit``.
        picture_axes: orientation of images; see ``common.readers.scan.picture_affine``.
        partners: masks by key, ``lung`` or ``label``; see ``common.datasets.ct.partners.add_partners``.
        series: which series of a DICOM study; see ``common.datasets.ct.series_choice.choose``.
        kernel: ``soft`` or ``lung``, for ``series`` ``auto``.
        gaps: ``refuse`` or ``resample`` missing slices.
        orientation: axes of NIfTI files whose header states none, such as ``LAS``.
        output_dir: folder whose ``run.json`` receives what was not read; empty for none.

    Returns:
        Dicts with ``case`` (unique path below ``root`` without suffix), ``image`` (list of files), ``kind``,
        ``intensity``, ``picture_axes``, ``gaps``, ``orientation``, and the keys of ``partners`` that the case has. In a
        table, the columns ``lung``, ``intensity`` and ``picture_axes`` count in place of the arguments. A case that
        cannot be read has ``error``, its message.

    Raises:
        FileNotFoundError: when there is no such folder, or it holds no scan.
    """
    root, partners = _phantoms(root, partners)
    found, places = list_inputs(root)
    with collected():  # what libraries warn of is noted when the files are read
        cases, omitted, choices = _cases(found, places, series, kernel, gaps)
    facts = {"series": choices}
    wanted = chosen_cases(root, cases, omitted, places, include, exclude, FORMATS, output_dir, facts)
    add_partners(wanted, partners or {})
    declared = {"intensity": intensity, "picture_axes": picture_axes, "gaps": gaps, "orientation": orientation}
    rows = own_inputs(root)
    taken: dict[Path, str] = {}  # rows whose lung mask a case has
    for case in wanted:
        file = image_files(case)[0].resolve()
        place = next((place for place in (file, *file.parents) if place in rows), None)
        row = {} if place is None else rows[place]
        if place is not None and "lung" in row and place in taken:
            raise ValueError(
                f"{root}: {place} holds several scans, {taken[place]} and {case['case']}, but has one lung mask. "
                "Give each scan a row of its own."
            )
        if place is not None:
            taken[place] = str(case["case"])
        grey = {"intensity": "8bit"} if case["kind"] == "picture" else {}
        if grey and row.get("intensity", "8bit") != "8bit":
            raise ValueError(f"{root}: {place} is a picture, whose grey levels are 8bit, but its row says HU.")
        case |= {key: value for key, value in (declared | row | grey).items() if key not in case}
    return wanted


def _phantoms(root: str | Path, partners: Mapping[str, str] | None) -> tuple[Path, Mapping[str, str] | None]:
    """Make the synthetic patients that a name stands for; they bring their own ground truth."""
    if str(root) == "phantom":
        made = phantom_dir("radiopaedia", patients=1, seed=UNSEEN_PHANTOM)
        images, masks = made / "rp_im", made / "rp_msk"
    elif str(root) == "phantom_studies":
        made = phantom_dir("mosmed", **UNSEEN_STUDIES)
        images, masks = made / "studies", made / "masks"
    else:
        return Path(root), partners
    if partners and not partners.get("label", "given"):
        partners = {**partners, "label": str(masks)}
    return images, partners


def _cases(
    found: Found, places: Mapping[Path, Path], wanted: str, kernel: str, gaps: str
) -> tuple[list[dict[str, Any]], Omitted, list[str]]:
    """Cases, files that are none with the reason, and the choices between series."""
    omitted = list(found.omitted)
    cases: list[dict[str, Any]] = []
    dicom: list[Path] = []
    masks = masks_beside(found.files)
    for path in found.files:
        kind = kind_of(path)
        if kind == "dicom":
            dicom.append(path)
        elif kind not in ("nifti", "itk", "picture"):
            if not _is_part(path):
                omitted.append((path, UNKNOWN))
        elif path in masks:
            omitted.append((path, MASK))
        else:
            case = places[path].parent / stem(path)
            cases.append({"case": case.as_posix(), "image": [path], "kind": kind})
    more, rest, choices = _dicom_cases(dicom, found.broken, places, wanted, kernel, gaps)
    return cases + more, omitted + rest, choices


def _is_part(path: Path) -> bool:
    """Whether a file holds the data of a header beside it."""
    if path.suffix.lower() == ".hdr":
        return path.with_suffix(".img").is_file()
    for header in (*path.parent.glob("*.mhd"), *path.parent.glob("*.nhdr")):
        try:
            if path in data_files(header):
                return True
        except (OSError, ValueError):
            continue
    return False


def _dicom_cases(
    files: Sequence[Path], broken: Sequence[Path], places: Mapping[Path, Path], wanted: str, kernel: str, gaps: str
) -> tuple[list[dict[str, Any]], Omitted, list[str]]:
    """Cases out of the DICOM files of a whole tree."""
    slices, failed = read_headers(files)
    indices = [each for each in slices if each.is_directory]
    found, omitted = series_of([each for each in slices if not each.is_directory])
    omitted += [(each.path, "DICOMDIR") for each in indices]
    cases: list[dict[str, Any]] = []
    _mark_incomplete(found, failed, broken)
    _note_strays(found)
    homes = {path.parent for series in found if len(series.slices) > 1 for path in series.files}
    omitted += [(path, "broken link") for path in broken]
    for path, why in failed:
        if path.parent not in homes:
            error = f"{places[path]}: cannot be read: {why} Export it again."
            cases.append(
                {"case": places[path].with_suffix("").as_posix(), "image": [path], "kind": "dicom", "error": error}
            )
        else:
            omitted.append((path, f"cannot be read: {why}"))
    studies: dict[str, list[Series]] = {}
    for series in found:
        studies.setdefault(series.study, []).append(series)
    choices: list[str] = []
    for members in studies.values():
        chosen, rejected = choose(members, wanted, kernel)
        if rejected and not all(len(each.slices) == 1 for each in members):
            told = "; ".join(f"'{one.description}' ({_size(one)}): {why}" for one, why in rejected)
            used = ", ".join(f"'{one.description}' ({_size(one)}, {one.spacing:.2f} mm)" for one in chosen)
            choices.append(f"{_home(members[0], places)}: series used: {used or 'none'}; left out: {told}.")
            logger.info(choices[-1])
        omitted += [(path, f"series: {why}") for each, why in rejected for path in each.files]
        several = Counter(_home(each, places) for each in chosen if len(each.slices) > 1)
        for each in chosen:
            cases.append(_case(each, several[_home(each, places)] > 1, places, gaps))
            notes = [*each.notes, *(["missing slices are interpolated"] if each.missing and gaps == "resample" else [])]
            if notes and not (each.problem and not each.missing):
                choices.append(f"{cases[-1]['case']}: {'; '.join(notes)}.")
                logger.info(choices[-1])
    return cases, omitted, choices


def _home(series: Series, places: Mapping[Path, Path]) -> str:
    """The folder that holds all files of a series, below the root."""
    folders = {places[path].parent.as_posix() for path in series.files}
    return os.path.commonpath(list(folders)) if len(folders) > 1 else folders.pop()


def _case(series: Series, numbered: bool, places: Mapping[Path, Path], gaps: str) -> dict[str, Any]:
    """The case of a series: named by its folder, and its number if there are several; a single slice by its file."""
    home, first = _home(series, places), series.first.path
    if len(series.slices) == 1:
        name = (places[first].parent / (first.stem if first.suffix.lower() in DICOM else first.name)).as_posix()
    else:
        name = first.resolve().parent.name if home in ("", ".") else home
        name += f"_{re.sub('[^0-9A-Za-z.-]', '_', series.number or series.uid)}" if numbered else ""
    case: dict[str, Any] = {"case": name, "image": series.files, "kind": "dicom"}
    case["series"] = series.uid
    if series.problem and not (gaps == "resample" and series.missing):
        case["error"] = f"{name}: {series.problem}"
    return case


def _may_hold(path: Path, found: Sequence[Series]) -> list[Series]:
    """The series beside a file that cannot be read of which it may be a slice: those whose UID it holds, else all."""
    beside = [each for each in found if any(file.parent == path.parent for file in each.files)]
    try:
        content = path.read_bytes()
    except OSError:
        return beside
    held = [
        each
        for each in beside
        if each.uid and re.search(rb"(?<![\d.])" + re.escape(each.uid.encode()) + rb"(?![\d.])", content)
    ]
    return held or beside


def _mark_incomplete(found: Sequence[Series], failed: Omitted, broken: Sequence[Path]) -> None:
    """Say of a series that files beside its slices cannot be read or are broken links: it lacks slices, perhaps."""
    homes = {path: _may_hold(path, found) for path, _ in failed}
    for series in found:
        folders = {path.parent for path in series.files}
        lost = [path for path, members in homes.items() if any(series is each for each in members)]
        links = [path for path in broken if path.parent in folders]
        told = [f"{names(lost)} cannot be read"] if lost else []
        told += [f"{names(links)} {'are broken links' if len(links) > 1 else 'is a broken link'}"] if links else []
        if told and len(series.slices) > 1:
            series.problem = (
                f"the series is incomplete: {' and '.join(told)}. Copy the files again. {series.problem}".strip()
            )
            series.missing = {}


def _note_strays(found: Sequence[Series]) -> None:
    """Note of a series that a single slice lies where its next one would, under another UID: it lacks it, perhaps."""
    singles = [each for each in found if len(each.slices) == 1 and not each.multiframe]
    for series in found:
        places = [each.position for each in series.slices]
        known = [place for place in places if place is not None]
        if len(known) < 3 or len(known) < len(places):
            continue
        following = 2 * known[0] - known[1], 2 * known[-1] - known[-2]
        for single in singles:
            place = single.first.position
            if place is None or single.study != series.study or single.first.path.parent != series.first.path.parent:
                continue
            if min(np.linalg.norm(place - each) for each in following) < series.spacing / 4:
                series.notes.append(
                    f"{names(single.files)} lies where the next slice would, but has another SeriesInstanceUID: it is "
                    "not part of the series"
                )


def _size(series: Series) -> str:
    return counted(len(series.slices), "slices")
