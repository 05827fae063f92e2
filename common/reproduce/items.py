"""What the tables, sheets and curves of a bundle's ``reproduce.yaml`` have in common."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


def check_entry(entry: Any, kind: str, needed: Sequence[str], maybe: Sequence[str], each: str = "") -> str:
    """What an item of reproduce.yaml is called in messages: its kind and name.

    Args:
        entry: the item.
        kind: ``table`` and so on.
        needed: keys that it has.
        maybe: further ones that it may have.
        each: kind in the message for an item without a name.

    Raises:
        ValueError: for an item without a name, or with other keys.
    """
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise ValueError(f"each {each or kind} is a mapping with a name, got {entry!r}.")
    where = f"{kind} {entry['name']}"
    if not set(needed) <= set(entry) <= {*needed, *maybe}:
        raise ValueError(f"{where} has {', '.join(needed)}, and maybe {', '.join(maybe)}; got {list(entry)}.")
    return where


def mapping(value: Any, where: str) -> dict[Any, Any]:
    """The value itself where it is a mapping.

    Raises:
        ValueError: where it is not.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{where} is a mapping (name: value), got {value!r}.")
    return value


def check_names(kind: str, names: Iterable[Any], allowed: Collection[str], where: str) -> None:
    """Hold names to those that there are.

    Raises:
        ValueError: for the first that is none of them.
    """
    unknown = [name for name in names if name not in allowed]
    if unknown:
        raise ValueError(f"{where}: no {kind} is called {unknown[0]!r}; there are {', '.join(allowed)}.")


def chosen_runs(
    entry: Mapping[str, Any], variants: Sequence[str], runs: Sequence[str], where: str
) -> tuple[list[str], str]:
    """The variants that a sheet or curves show, all unless told otherwise, and which run of each, the first.

    Raises:
        ValueError: for a variant or run that is unknown.
    """
    shown, run = entry.get("variants", list(variants)), entry.get("run", runs[0])
    if not isinstance(shown, list) or not shown:
        raise ValueError(f"{where}: variants is a list of one or more, got {shown!r}.")
    check_names("variant", shown, variants, where)
    check_names("run", [run], runs, where)
    return shown, run


def found_files(
    name: str, run: str, files: Mapping[str, Path | None], file: str, remedy: str
) -> tuple[dict[str, Path], list[str]]:
    """The files that are there, by variant, and sentences on what is shown and what is missing.

    Args:
        name: of the sheet or curves.
        run: whose files they are.
        files: of each variant that is to be shown; None where it is not done.
        file: what such a file is called.
        remedy: what to do where there is none.

    Raises:
        FileNotFoundError: where no variant has left its file.
    """
    found = {variant: path for variant, path in files.items() if path is not None and path.is_file()}
    if not found:
        raise FileNotFoundError(f"{name}: none of {', '.join(files)} has left {file}. {remedy}")
    missing = [variant for variant in files if variant not in found]
    without = [f"INCOMPLETE: without {', '.join(missing)}."] if missing else []
    return found, [f"Shown: {run} of each variant.", *without]
