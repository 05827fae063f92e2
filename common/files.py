"""Files written completely or not at all, hashes, reasons of errors, and names of cases."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any


@contextmanager
def complete_file(path: str | Path) -> Iterator[Path]:
    """Write a file completely or not at all.

    The block writes a temporary file beside ``path``, with the same suffix, which replaces ``path`` when the block ends
    without an error. If the run is killed, ``path`` is the complete old file or the complete new one.

    Args:
        path: the file; its folder is created if needed.

    Example:
        >>> with complete_file("out/scores.csv") as part:
        ...     _ = part.write_text("class,dice")
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".part.{path.name}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """SHA-256 of the content of a file, or of all files of a folder, in hexadecimal digits."""
    digest = hashlib.sha256()
    for each in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if each.is_dir():
            continue
        with each.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def reason(error: BaseException) -> str:
    """The innermost message of a chain of errors, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return f"{lines[0].rstrip('.')}." if lines else f"{type(error).__name__}."


def matches(name: str, patterns: str | int | Sequence[str | int]) -> bool:
    """Whether the name of a case matches one of the patterns, such as ``CT-1/*``.

    The command line turns ``a,b`` into a list, and ``14`` into a number.
    """
    several = patterns if isinstance(patterns, (list, tuple)) else str(patterns).split(",")
    return any(fnmatch(name, str(pattern)) for pattern in several)


def make_names_unique(cases: list[dict[str, Any]]) -> None:
    """Make the names of cases unique: the first keeps its name, others get their suffix, then a number.

    Args:
        cases: dicts with ``case``, ``image`` (a path or several) and ``kind``; changed in place.
    """
    taken: set[str] = set()
    for case in sorted(cases, key=lambda case: (case["case"], str(case["image"]))):
        name, number = case["case"], 1
        if name in taken:  # clip.mp4 beside clip.png
            first = case["image"][0] if isinstance(case["image"], list) else case["image"]
            name = case["case"] = f"{name}_{first.suffix.lstrip('.') or case['kind']}"
        while case["case"] in taken:
            number += 1
            case["case"] = f"{name}_{number}"
        taken.add(case["case"])


def image_files(case: Mapping[str, Any]) -> list[Path]:
    """The files of a case's ``image``, which is one path or a list of them."""
    image = case["image"]
    return [Path(str(path)) for path in (image if isinstance(image, (list, tuple)) else [image])]
