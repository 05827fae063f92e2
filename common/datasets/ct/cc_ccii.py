"""CT slices of the China Consortium with a label for the whole image."""

from __future__ import annotations

import logging
from pathlib import Path, PurePosixPath

from ...readers.scan import PICTURES
from ...spreadsheets import read_rows
from ..walk import walk
from .labels_table import Case, picture_case

logger = logging.getLogger(__name__)
LESIONS = "lesions_slices.csv"  # of the China Consortium: a path in each line, such as NCP/1058/2636/0045.jpg


def cc_ccii(root: Path) -> list[Case]:
    """China Consortium (Zhang et al. 2020, Cell): Normal/<patient>/<scan>/<slice>.png, NCP/..., lesions_slices.csv.

    8-bit. Slices of Normal have label 0. Scans of NCP (COVID-19) include slices without lesions, so only those that
    lesions_slices.csv lists have label 1; without this file, all have. CP (common pneumonia) is left out.

    Raises:
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
            "%s has no %s: all %d slices of NCP count as slices with lesions, although many have none. Add the file.",
            *(root, LESIONS, len(ill)),
        )
    return [
        picture_case(path, label, path.relative_to(root).with_suffix("").as_posix(), path.parts[-3], "cc_ccii")
        for label, paths in ((0, normal), (1, ill))
        for path in paths
    ]


def _listed(path: Path) -> set[tuple[str, ...]]:
    """Return patient, scan and slice of every path in a table, whatever its heading and leading folders; none of CP."""
    places = [PurePosixPath(cell.replace("\\", "/")) for _, cells in read_rows(path) for cell in cells]
    return {
        (*place.parts[-3:-1], place.stem)
        for place in places
        if len(place.parts) >= 3 and place.parts[-4:-3] not in (("CP",), ("Normal",))
    }
