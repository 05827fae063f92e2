"""Zips that are the same bytes whenever they hold the same files, and the list of hashes in them."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

from ..files import complete_file

SUMS = "sha256sums.txt"  # as `sha256sum --check` reads it
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip can hold
READABLE = 0o100644 << 16
WEIGHTS = (".pt", ".ts")


def sums(files: Mapping[str, bytes]) -> str:
    """Lines of ``sha256sums.txt``."""
    return "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))


def read_sums(text: str) -> dict[str, str]:
    """Hash by file name.

    Raises:
        ValueError: for a line that is none.
    """
    found = {}
    for line in text.splitlines():
        digest, gap, name = line.partition("  ")
        if len(digest) != 64 or not gap or not name:
            raise ValueError(f"{SUMS}: a line is a sha256, two blanks and a file, got {line[:80]!r}.")
        found[name] = digest
    return found


def write_zip(path: Path, folder: str, files: Mapping[str, bytes]) -> None:
    """Write files under one folder, with their ``sha256sums.txt``; without dates, owners or an order of the disk's."""
    listed = {**files, SUMS: sums(files).encode()}
    with complete_file(path) as part, zipfile.ZipFile(part, "w") as archive:
        for name in sorted(listed):
            entry = zipfile.ZipInfo(f"{folder}/{name}", EPOCH)
            entry.external_attr, entry.create_system = READABLE, 3
            entry.compress_type = zipfile.ZIP_STORED if name.endswith(WEIGHTS) else zipfile.ZIP_DEFLATED
            archive.writestr(entry, listed[name], compresslevel=9)


def size_without_weights(path: Path) -> int:
    """Bytes of a zip that are not weights, its directory included."""
    with zipfile.ZipFile(path) as archive:
        weights = sum(entry.compress_size for entry in archive.infolist() if entry.filename.endswith(WEIGHTS))
    return path.stat().st_size - weights
