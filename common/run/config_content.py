"""The content of config files, each read once: checks look at the same files again and again, and YAML is slow."""

from __future__ import annotations

from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

Key = tuple[tuple[str, int, int], ...]  # path, time of the last change in ns, size


def config_content(*files: str | Path) -> dict[str, Any]:
    """The content of config files, merged as MONAI merges them.

    Args:
        files: paths in their order; one alone is not merged with anything, so its ``+`` stay.

    Raises:
        ValueError, OSError: as ``ConfigParser`` does.

    Example:
        >>> config_content("bundles/ct_drsegunet/configs/inference.yaml")["dataset_dir"]
        'phantom'
    """
    if not all(Path(file).is_file() for file in files):
        return _load([str(file) for file in files])  # which says what is missing
    states = [(str(Path(file).absolute()), Path(file).stat()) for file in files]  # the folder may change between calls
    return deepcopy(_read(tuple((name, state.st_mtime_ns, state.st_size) for name, state in states)))


@lru_cache(maxsize=128)
def _read(key: Key) -> dict[str, Any]:
    return _load([name for name, _, _ in key])


def _load(names: list[str]) -> dict[str, Any]:
    """One file as it is, its ``+`` included; several merged."""
    return dict(ConfigParser.load_config_file(names[0]) if len(names) == 1 else ConfigParser.load_config_files(names))
