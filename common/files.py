"""What finding files, writing them and explaining their faults have in common."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A file beside ``path`` to write, with its suffix, which takes its place when all went well.

    A run that is killed at any moment leaves the old file or the new one, whole. The folder is made where missing.
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
    """SHA-256 of a file's content, as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def reason(error: BaseException) -> str:
    """The innermost message of a reader's error on one line: readers chain several."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return f"{lines[0].rstrip('.')}." if lines else f"{type(error).__name__}."


def matches(name: str, patterns: str | Sequence[str]) -> bool:
    """Whether a case's name fits one of the patterns."""
    several = patterns.split(",") if isinstance(patterns, str) else patterns  # the command line makes a list of a,b
    return any(fnmatch(name, pattern) for pattern in several)


def unique(cases: list[dict[str, Any]]) -> None:
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
