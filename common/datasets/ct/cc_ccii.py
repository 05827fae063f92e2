"""CT slices of the China Consortium with a label for the whole image."""

from __future__ import annotations

import logging
from pathlib import Path, PurePosixPath

from ...readers.scan import PICTURES
from ...spreadsheets import read_rows
from ..walk import walk
from .labels_table import Case, picture_case

logger = logging.getLogger(__name__)
NAMED = 5  # files in a message
MASK_VALUES = {1: "background", 2: "ground-glass", 3: "consolidation"}  # 1 is the lung
LESIONS = "lesions_slices.csv"  # of the China Consortium: a path in each line, such as NCP/1058/2636/0045.jpg


def cc_ccii(root: Path) -> list[Case]:
    """China Consortium (Zhang et al. 2020, Cell): Normal/<patient>/<scan>/<slice>.png, NCP/..., lesions_slices.csv.

    8-bit. Slices of Normal have label 0. Scans of NCP (COVID-19) include slices without lesions, so only those that
    lesions_slices.csv lists have label 1; without this file, all have. CP (common pneumonia) is left out. The slices
    with masks (see ``masked``), if there are any, come last.

    Raises:
        FileNotFoundError: naming slices of the subset without their mask, and masks without their slice.
        ValueError: when lesions_slices.csv lists none of the slices of NCP.
    """
    normal, ill = (
        [
            path
            for path in (walk(root / name).files if (root / name).is_dir() else [])
            if path.suffix.lower() in PICTURES and len(path.relative_to(root / name).parts) == 3
        ]
        for name in ("Normal", "NCP")
    )
    with_masks = masked(root)
    if not normal and not ill:
        return with_masks
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
            "%s has no %s: all %d slices of NCP count as slices with lesions, although many have none. Add the file.",
            *(root, LESIONS, len(ill)),
        )
    return [
        picture_case(path, label, path.relative_to(root).with_suffix("").as_posix(), path.parts[-3], "cc_ccii")
        for label, paths in ((0, normal), (1, ill))
        for path in paths
    ] + with_masks


def masked(root: Path) -> list[Case]:
    """The slices of patients with COVID-19 whose lesions were outlined: image/<patient>/<slice>, mask/....

    They may lie in a folder ``ct_lesion_seg``, as the download unpacks. They are for testing only. Masks hold 1 lung,
    2 ground-glass, 3 consolidation; the lung is not taken from them, because other slices have no such mask.

    Raises:
        FileNotFoundError: naming slices without their mask, and masks without their slice.
    """
    for top in (root, root / "ct_lesion_seg"):
        images, masks = (_by_patient(top / name) for name in ("image", "mask"))
        if not images or not masks:
            continue
        unpaired = [*(images[key] for key in images.keys() - masks.keys())]
        unpaired += [*(masks[key] for key in masks.keys() - images.keys())]
        if unpaired:
            named = ", ".join(path.relative_to(root).as_posix() for path in sorted(unpaired)[:NAMED])
            raise FileNotFoundError(
                f"{top}: every slice in image/ needs its mask in mask/ and the reverse, {len(unpaired)} files have no "
                f"partner: {named}. Unpack the download again, or remove them."
            )
        more: Case = {"label_map": dict(MASK_VALUES), "only_tested": True}
        return [
            picture_case(path, 1, path.relative_to(top).with_suffix("").as_posix(), patient, "cc_ccii")
            | {"truth": masks[patient, name], **more}
            for (patient, name), path in sorted(images.items())
        ]
    return []


def _by_patient(folder: Path) -> dict[tuple[str, str], Path]:
    """The pictures <patient>/<slice> of a folder, by patient and slice."""
    files = walk(folder).files if folder.is_dir() else []
    return {
        (path.parts[-2], path.stem): path
        for path in files
        if path.suffix.lower() in PICTURES and len(path.relative_to(folder).parts) == 2
    }


def _listed(path: Path) -> set[tuple[str, ...]]:
    """Return patient, scan and slice of every path in a table, whatever its heading and leading folders; none of CP."""
    places = [PurePosixPath(cell.replace("\\", "/")) for _, cells in read_rows(path) for cell in cells]
    return {
        (*place.parts[-3:-1], place.stem)
        for place in places
        if len(place.parts) >= 3 and place.parts[-4:-3] not in (("CP",), ("Normal",))
    }
