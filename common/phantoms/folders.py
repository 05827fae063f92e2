"""Helpers of all layouts: folders that appear once they are complete, and checks of arguments."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Each seed numbers its patients within a block of this size, so that different seeds share no patient.
SEED_BLOCK = 10_000


@contextmanager
def finished_folder(root: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``root``, and rename it to ``root`` once everything in it is written.

    Raises:
        FileExistsError: if ``root`` exists and is not an empty folder.
    """
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise FileExistsError(
            f"Phantoms are written to a new folder, but {root} exists. Remove it or name another folder."
        )
    root.parent.mkdir(parents=True, exist_ok=True)
    part = root.with_name(f".{root.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        yield part
        if root.exists():
            root.rmdir()
        part.rename(root)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def check_count(name: str, value: int) -> None:
    """Raise ValueError unless the value is at least 1."""
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}. Use 1 or more.")


def check_seed(seed: int) -> None:
    """Raise ValueError for a negative seed."""
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}. Use 0 or any positive integer.")
