"""CT scans in a folder, for inference."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pydicom

from ...files import make_names_unique, matches, reason
from ...phantoms.ct.folder import phantom_dir
from ...readers.ct import DICOM, ITK, NIFTI, PICTURES, UPRIGHT, kind_of

logger = logging.getLogger(__name__)
UNSEEN_PHANTOM = 2021  # seed; training's phantoms start at seed 0
UNSEEN_STUDIES = {"patients": 12, "size": (128, 128), "slices": 24, "seed": 2140}  # CT-0 to CT-3
PARTNERS = {"lung": "lung mask", "label": "ground truth"}


def _dicom_cases(files: list[Path], folder: str, name: str) -> list[dict[str, Any]]:
    """Group the DICOM files of one folder into cases: one series, or single slices of different series.

    A series is named ``name``, a single slice ``folder`` followed by its file name.
    """
    tags = ["SeriesInstanceUID", "SeriesDescription", "Modality"]
    series: dict[str, list[Path]] = {}
    described: dict[str, str] = {}
    cases: list[dict[str, Any]] = []
    for file in files:
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=tags)
            uid = str(header.SeriesInstanceUID)
        except Exception as error:
            cases.append(
                {"case": folder + file.stem, "image": file, "error": f"{file}: cannot be read: {reason(error)}"}
            )
            continue
        if header.get("Modality", "CT") != "CT":
            logger.info("%s: left out, modality %s is not CT.", file, header.Modality)
            continue
        series.setdefault(uid, []).append(file)
        described[uid] = str(header.get("SeriesDescription", "no description"))
    if len(series) == 1:
        found = next(iter(series.values()))
        cases.append({"case": name if len(found) > 1 else folder + found[0].stem, "image": found})
    elif all(len(found) == 1 for found in series.values()):
        cases += [{"case": folder + found[0].stem, "image": found} for found in series.values()]
    else:
        listing = "; ".join(f"{len(found)} slices '{described[uid]}' ({uid})" for uid, found in series.items())
        message = (
            f"{name}: a DICOM folder must hold one series, got {len(series)}: {listing}. Give each its own folder."
        )
        cases.append({"case": name, "image": files, "error": message})
    return cases


def add_partners(cases: list[dict[str, Any]], partners: Mapping[str, str]) -> None:
    """Add the paths of masks to cases.

    Args:
        cases: with ``case``; changed in place.
        partners: by key, where its masks are. A folder with the same file names as the scans: ``<case>.nii.gz``,
            ``<case>_mask.nii.gz`` or ``<case>_<key>.nii.gz``, or another format, in the same sub-folders or, if no two
            scans have the same name, without them. Or a path with ``{case}``, or one file for a single case. Empty:
            no masks. Synthetic patients bring their own ground truth.

    Raises:
        FileNotFoundError: when no case has a mask there.
        ValueError: for one file and several cases.
    """
    for key, place in partners.items():
        if not place:
            continue
        if Path(place).is_file() and len(cases) > 1:
            raise ValueError(
                f"{place}: one {PARTNERS[key]} cannot serve {len(cases)} cases. Give a folder, or a path with {{case}}."
            )
        one = "{case}" in place or Path(place).is_file()
        names = ("{case}", "{case}_mask", f"{{case}}_{key}")
        patterns = [place] if one else [f"{place}/{name}{end}" for name in names for end in NIFTI + ITK + PICTURES]
        found = 0
        alike = Counter(Path(case["case"]).name for case in cases)
        for case in cases:
            last = Path(case["case"]).name  # MosMedData's masks are in one folder, its studies in five
            called = [case["case"], *([last] if not one and alike[last] == 1 else [])]
            paths = [Path(pattern.replace("{case}", name)) for name in called for pattern in patterns]
            path = next((path for path in paths if path.is_file()), None)
            if path is not None:
                case[key] = path
                found += 1
        if not found:
            raise FileNotFoundError(
                f"No {PARTNERS[key]} for any of {len(cases)} cases by {place}; for {cases[0]['case']} there should be "
                f"{patterns[0].replace('{case}', cases[0]['case'])}. Give a folder with the "
                "same file names as the scans, or a path with {case}."
            )
        logger.info("%d of %d cases have a %s.", found, len(cases), PARTNERS[key])


def inference_cases(
    root: str | Path,
    include: str | Sequence[str] = "*",
    exclude: str | Sequence[str] = "",
    intensity: str = "HU",
    picture_axes: str = UPRIGHT,
    partners: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Find the scans in a folder, at any depth: NIfTI, MetaImage, NRRD, DICOM series or single slices, images.

    Args:
        root: a folder or one file; ``phantom`` makes one synthetic patient that no training has seen,
            ``phantom_studies`` twelve, in folders by severity like MosMedData's.
        include: pattern that a case must match (``*`` and ``?``), against its path below ``root``; several are
            separated by commas.
        exclude: patterns of cases to leave out, for example ``*mask*,*segmentation*``.
        intensity: of volumes: ``HU``, or ``8bit`` for windowed grey levels 0..255. Images are always ``8bit``.
        picture_axes: orientation of images; see ``common.readers.ct.picture_affine``.
        partners: masks by key, ``lung`` or ``label``; see ``add_partners``.

    Returns:
        Dicts with ``case`` (unique path below ``root`` without suffix), ``image`` (list of files), ``intensity``,
        ``picture_axes``, and the keys of ``partners`` that the case has. An entry that cannot be read has
        ``error``, its message.

    Raises:
        FileNotFoundError: when there is no such folder, or it holds no scan.
    """
    if str(root) == "phantom":
        phantoms = phantom_dir("radiopaedia", patients=1, seed=UNSEEN_PHANTOM)
        root = phantoms / "rp_im"
        if partners and not partners.get("label", "given"):
            partners = {**partners, "label": str(phantoms / "rp_msk")}
    elif str(root) == "phantom_studies":
        phantoms = phantom_dir("mosmed", **UNSEEN_STUDIES)
        root = phantoms / "studies"
        if partners and not partners.get("label", "given"):
            partners = {**partners, "label": str(phantoms / "masks")}
    root = Path(root)
    if not root.exists():
        raise FileNotFoundError(f"No such folder: {root}. Give the folder of scans with --dataset_dir.")
    files = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
    top = root.parent if root.is_file() else root
    cases: list[dict[str, Any]] = []
    folders: dict[Path, list[Path]] = {}
    for file in files:
        kind = kind_of(file)
        if kind == "dicom":
            folders.setdefault(file.parent, []).append(file)
        elif kind in ("nifti", "itk", "picture"):
            stem = file.name[: -len(".nii.gz")] if file.name.lower().endswith(".nii.gz") else file.stem
            cases.append({"case": (file.relative_to(top).parent / stem).as_posix(), "image": [file], "kind": kind})
    for folder, members in folders.items():
        relative = folder.relative_to(top).as_posix()
        prefix, name = ("", folder.resolve().name) if relative == "." else (f"{relative}/", relative)
        cases += [{**case, "kind": "dicom"} for case in _dicom_cases(members, prefix, name)]
    wanted = [case for case in cases if matches(case["case"], include) and not matches(case["case"], exclude)]
    if not wanted:
        raise FileNotFoundError(
            f"No scan in {root}: {len(files)} files, {len(cases)} of them scans, none left by include={include!r} and "
            f"exclude={exclude!r}. Formats: {', '.join(NIFTI + ITK + DICOM + PICTURES)}."
        )
    make_names_unique(wanted)
    add_partners(wanted, partners or {})
    declared = {"intensity": intensity, "picture_axes": picture_axes}
    return [
        {**declared, **case, **({"intensity": "8bit"} if case["kind"] == "picture" else {})}
        for case in sorted(wanted, key=lambda case: case["case"])
    ]
