"""A folder of phantoms, generated once and kept."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import astuple, is_dataclass
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

# Increase it whenever the same settings give other voxels, so that cached phantoms of older versions are not used.
VERSION = 1

CACHE_VARIABLE = "COVID_LUNG_CACHE"
DEFAULT_CACHE = "~/.cache/covid_lung_bundles"

Writer = Callable[..., Path]


def settings_name(value: Any) -> str:
    """Return a setting as part of a folder name."""
    if is_dataclass(value) and not isinstance(value, type):
        return "_".join(f"{setting:g}" for setting in astuple(value))
    if isinstance(value, (tuple, list)):
        return "x".join(str(item) for item in value)
    return str(value)


def cached_folder(writers: Mapping[str, Writer], layout: str, **settings: Any) -> Path:
    """Return a folder of phantoms, generated on the first call and kept for later calls.

    The folder is created in the cache, which the environment variable ``COVID_LUNG_CACHE`` names. The default is
    ``~/.cache/covid_lung_bundles``.

    Args:
        writers: function that writes each layout, by the name of the layout.
        layout: name of a layout.
        **settings: arguments of that function, such as ``patients``, ``size`` or ``seed``.

    Returns:
        The folder.

    Raises:
        ValueError: for an unknown layout or setting, or a value out of range.
    """
    if layout not in writers:
        raise ValueError(f"layout must be one of {sorted(writers)}, got {layout!r}. Choose one of them.")
    writer = writers[layout]
    known = {name: parameter.default for name, parameter in inspect.signature(writer).parameters.items()}
    del known["root"]
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise ValueError(f"settings of {layout} must be among {sorted(known)}, got {unknown}. Leave them out.")
    parts = [f"{name}{settings_name(value)}" for name, value in sorted({**known, **settings}.items())]
    cache = Path(os.environ.get(CACHE_VARIABLE) or DEFAULT_CACHE).expanduser()
    root = cache / "-".join(["phantoms", layout, f"v{VERSION}", *parts])
    logger.info("Using synthetic phantoms, not patient data, in %s", root)
    if not root.is_dir() or not any(root.iterdir()):
        write_once(writer, root, {**known, **settings})
    return root


def write_once(writer: Writer, root: Path, settings: dict[str, Any]) -> None:
    """Write the folder, unless another process finishes the same folder first."""
    try:
        writer(root, **settings)
    except OSError:
        if not root.is_dir() or not any(root.iterdir()):
            raise
