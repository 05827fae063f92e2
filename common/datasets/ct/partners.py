"""Masks that belong to scans, found by file name."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...files import image_files
from ...readers.scan import ITK, NIFTI, PICTURES

logger = logging.getLogger(__name__)

KINDS = {"lung": "lung mask", "label": "ground truth"}


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

    A scan is never taken as its own mask, so masks may lie beside the scans.
    """
    for key, place in partners.items():
        if not place:
            continue
        if Path(place).is_file() and len(cases) > 1:
            raise ValueError(
                f"{place}: one {KINDS[key]} cannot serve {len(cases)} cases. Give a folder, or a path with {{case}}."
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
            own = {file.resolve() for file in image_files(case)}
            path = next((path for path in paths if path.is_file() and path.resolve() not in own), None)
            if path is not None:
                case[key] = path
                found += 1
        if not found:
            raise FileNotFoundError(
                f"No {KINDS[key]} for any of {len(cases)} cases by {place}; for {cases[0]['case']} there should be "
                f"{patterns[0].replace('{case}', cases[0]['case'])}. Give a folder with the "
                "same file names as the scans, or a path with {case}."
            )
        logger.info("%d of %d cases have a %s.", found, len(cases), KINDS[key])
