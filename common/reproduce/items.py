"""What the tables, sheets and curves of a bundle's ``reproduce.yaml`` have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..settings import check_keys, check_list, check_names


def check_entry(entry: Any, kind: str, needed: Sequence[str], optional: Sequence[str], each: str = "") -> str:
    """Check the keys of an entry of ``reproduce.yaml``.

    Args:
        entry: the entry.
        kind: ``table`` and so on.
        needed: keys that it must have.
        optional: further keys that it may have.
        each: kind in the message for an entry without a name.

    Returns:
        Kind and name of the entry, for messages.

    Raises:
        ValueError: for an entry without a name, or with other keys.
    """
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise ValueError(f"each {each or kind} must be a mapping with a name, got {entry!r}.")
    where = f"{kind} {entry['name']}"
    check_keys(entry, where, needed, optional)
    return where


def chosen_runs(
    entry: Mapping[str, Any], variants: Sequence[str], runs: Sequence[str], where: str
) -> tuple[list[str], str]:
    """The variants that a sheet or curves show, by default all, and the run of each, by default the first.

    Raises:
        ValueError: for a variant or run that does not exist.
    """
    shown, run = entry.get("variants", list(variants)), entry.get("run", runs[0])
    check_list(shown, f"{where}: variants", "one or more variants")
    check_names("variant", shown, variants, where)
    check_names("run", [run], runs, where)
    return shown, run


def found_files(
    name: str, run: str, files: Mapping[str, Path | None], file: str, remedy: str
) -> tuple[dict[str, Path], list[str]]:
    """The files that exist, by variant, and sentences on what is shown and what is missing.

    Args:
        name: of the sheet or curves.
        run: the run that wrote the files.
        files: file of each variant to show; None if the variant is not done.
        file: name of such a file.
        remedy: what to do if there is none.

    Raises:
        FileNotFoundError: if no variant has its file.
    """
    found = {variant: path for variant, path in files.items() if path is not None and path.is_file()}
    if not found:
        raise FileNotFoundError(f"{name}: none of {', '.join(files)} has written {file}. {remedy}")
    missing = [variant for variant in files if variant not in found]
    without = [f"INCOMPLETE: without {', '.join(missing)}."] if missing else []
    return found, [f"Shown: {run} of each variant.", *without]
