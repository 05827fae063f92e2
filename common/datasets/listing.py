"""What listing a folder for inference has in common for CT and ultrasound."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from ..files import make_names_unique, matches
from ..run.errors import NothingToDo
from ..run.record import add_to_record
from .archives import unpacked
from .walk import Found, is_mask_beside, summary, walk

logger = logging.getLogger(__name__)
Omitted = list[tuple[Path, str]]
MASK = "mask beside a scan"
LONGEST = 230  # bytes of a case's name: file systems allow 255, and outputs add up to 22


def list_files(root: Path) -> tuple[Found, dict[Path, Path]]:
    """List the files below a folder, those in zip files too.

    Args:
        root: a folder, or one file.

    Returns:
        The files, and the path of each below ``root``; files of an archive are below its name.

    Raises:
        FileNotFoundError: when there is no such folder.
    """
    if not root.exists():
        what = "file" if root.suffix else "folder"
        raise FileNotFoundError(f"No such {what}: {root}. Give the folder of scans with --dataset_dir.")
    found = walk(root)
    top = root.parent if root.is_file() else root
    files = (*found.files, *found.broken, *(path for path, _ in found.omitted))
    places = {path: path.relative_to(top) for path in files if path.is_relative_to(top)}
    for archive in [path for path in found.files if path.suffix.lower() == ".zip"]:
        found.files.remove(archive)
        inside, problem = unpacked(archive)
        if problem:
            found.omitted.append((archive, problem))
        for path, name in inside.items():
            found.files.append(path)
            places[path] = places[archive].with_suffix("") / name
    return found, places


def stem(path: PurePath) -> str:
    """The name of a file without its suffix; ``.nii.gz`` counts as one."""
    return path.name[: -len(".nii.gz")] if path.name.lower().endswith(".nii.gz") else path.stem


def masks_beside(files: Sequence[Path]) -> set[Path]:
    """Return the files that are named as masks of others in their folder: ``a_mask.png`` beside ``a.png``."""
    stems: dict[Path, set[str]] = {}
    for path in files:
        stems.setdefault(path.parent, set()).add(stem(path))
    return {path for path in files if is_mask_beside(stem(path), stems[path.parent] - {stem(path)})}


def chosen_cases(
    root: Path,
    cases: Sequence[dict[str, Any]],
    omitted: Omitted,
    places: Mapping[Path, Path],
    include: str | Sequence[str],
    exclude: str | Sequence[str],
    formats: str,
    output_dir: str | Path = "",
    facts: Mapping[str, Any] | None = None,
    words: tuple[str, str] = ("scan", "scans"),
) -> list[dict[str, Any]]:
    """Choose cases by pattern, count the files that are not read in one line of the log, and record them.

    Args:
        root: that was listed.
        cases: dicts with ``case``, ``image`` and ``kind``; their names become unique.
        omitted: files that are not read, with the reason.
        places: path of each file below ``root``.
        include: patterns of cases to take, see ``common.files.matches``.
        exclude: patterns of cases to leave out.
        formats: that are read, for the message.
        output_dir: folder whose ``run.json`` receives the reasons and ``facts``; empty for none.
        facts: more for ``run.json``.
        words: what one case is, and several, for the message.

    Returns:
        The chosen cases, sorted by name.

    Raises:
        NothingToDo: when none is left.
    """
    wanted = [case for case in cases if matches(case["case"], include) and not matches(case["case"], exclude)]
    line = summary(omitted)
    if line:
        logger.info("%s%s", line, " run.json names each with its reason." if str(output_dir) else "")
    if str(output_dir):
        not_read = {str(places.get(path, path)): why for path, why in sorted(omitted, key=lambda pair: str(pair[0]))}
        add_to_record(output_dir, {"not_read": not_read, **(facts or {})})
    if not wanted:
        raise NothingToDo(
            f"No {words[0]} in {root}: {len(places)} files, {len(cases)} of them {words[1]}, none left by "
            f"include={include!r} and exclude={exclude!r}. {line + ' ' if line else ''}Formats: {formats}."
        )
    make_names_unique(wanted)
    for case in wanted:
        length = len(os.fsencode(Path(case["case"]).name))
        if length > LONGEST:
            case.setdefault(
                "error",
                f"{case['case']}: a name of {length} bytes leaves no room for the names of its outputs. Rename it to "
                f"{LONGEST} bytes at most.",
            )
    return sorted(wanted, key=lambda case: str(case["case"]))
