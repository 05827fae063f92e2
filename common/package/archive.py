"""Zips of the same files are the same bytes; the list of hashes in a zip."""

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
    """Return the content of ``sha256sums.txt``."""
    return "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))


def read_sums(text: str) -> dict[str, str]:
    """Return the hash of each file by name.

    Raises:
        ValueError: if a line has another form.
    """
    found = {}
    for line in text.splitlines():
        digest, gap, name = line.partition("  ")
        if len(digest) != 64 or not gap or not name:
            raise ValueError(f"{SUMS}: a line must be a sha256, two spaces and a file name, got {line[:80]!r}.")
        found[name] = digest
    return found


def write_zip(path: Path, folder: str, files: Mapping[str, bytes]) -> None:
    """Write files and their ``sha256sums.txt`` into one folder of a zip, sorted, without dates and owners."""
    listed = {**files, SUMS: sums(files).encode()}
    with complete_file(path) as part, zipfile.ZipFile(part, "w") as archive:
        for name in sorted(listed):
            entry = zipfile.ZipInfo(f"{folder}/{name}", EPOCH)
            entry.external_attr, entry.create_system = READABLE, 3
            entry.compress_type = zipfile.ZIP_STORED if name.endswith(WEIGHTS) else zipfile.ZIP_DEFLATED
            archive.writestr(entry, listed[name], compresslevel=9)


def size_without_weights(path: Path) -> int:
    """Return the bytes of a zip that are not weights, including its directory."""
    with zipfile.ZipFile(path) as archive:
        weights = sum(entry.compress_size for entry in archive.infolist() if entry.filename.endswith(WEIGHTS))
    return path.stat().st_size - weights
