"""What all layouts share: folders that appear once they are complete, and checks of the numbers asked for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Patients of one seed are numbered within a block of this size, so that different seeds share no patient.
SEED_BLOCK = 10_000


@contextmanager
def finished_folder(root: Path) -> Iterator[Path]:
    """Gives a temporary folder beside `root` that takes its name once everything in it is written.

    Raises:
        FileExistsError: if `root` exists and is not an empty folder.
    """
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise FileExistsError(
            f"Phantoms are written to a new folder, but {root} exists. Remove it or name another one."
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
    """Raises ValueError unless the value is at least 1."""
    if value < 1:
        raise ValueError(f"{name} must be at least 1, but is {value}. Ask for one or more.")


def check_seed(seed: int) -> None:
    """Raises ValueError for a negative seed."""
    if seed < 0:
        raise ValueError(f"seed must not be negative, but is {seed}. Use 0 or any positive integer.")
