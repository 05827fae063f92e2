"""A folder of phantoms in any layout, made once and kept."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .scanner import SCANNERS, Scanner

logger = logging.getLogger(__name__)

# Raised whenever the same settings give other voxels, so that cached phantoms of older versions are not used.
VERSION = 1

CACHE_VARIABLE = "COVID_LUNG_CACHE"
DEFAULT_CACHE = "~/.cache/covid_lung_bundles"

CT = ("radiopaedia", "coronacases", "mosmed", "medseg", "medseg_arrays", "medseg_pictures")
ULTRASOUND = ("semantic_lung", "pocus")
LAYOUTS = (*CT, *ULTRASOUND)


def writer_of(layout: str) -> Callable[..., Path]:
    """What writes a layout; the other modality's is not imported, a packaged bundle lacks it."""
    if layout in ULTRASOUND:
        from .ultrasound.layouts import LAYOUTS as ultrasound

        return ultrasound[layout]
    from .layouts import LAYOUTS as ct

    return ct[layout]


def settings_name(value: Any) -> str:
    """Returns a setting as a part of a folder name."""
    if isinstance(value, Scanner):
        return "_".join(f"{setting:g}" for setting in asdict(value).values())
    if isinstance(value, (tuple, list)):
        return "x".join(str(item) for item in value)
    return str(value)


def phantom_dir(layout: str = "radiopaedia", **settings: Any) -> Path:
    """Returns a folder of phantoms, made on the first call and kept for later ones.

    The folder lies under the one named by the environment variable COVID_LUNG_CACHE, by default
    `~/.cache/covid_lung_bundles`.

    Args:
        layout: "radiopaedia", "coronacases", "mosmed", "medseg", "medseg_arrays" or "medseg_pictures" for CT,
            "semantic_lung" or "pocus" for ultrasound.
        **settings: arguments of the function that writes the layout, such as `patients`, `size` or `seed`; `scanner`
            may be a word, "standard" or "second".

    Raises:
        ValueError: for an unknown layout, setting or scanner, or a value out of range.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout must be one of {sorted(LAYOUTS)}, but is {layout!r}. Choose one of them.")
    writer = writer_of(layout)
    known = {name: parameter.default for name, parameter in inspect.signature(writer).parameters.items()}
    del known["root"]
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise ValueError(f"settings of {layout} must be among {sorted(known)}, but got {unknown}. Leave them out.")
    if isinstance(settings.get("scanner"), str):
        if settings["scanner"] not in SCANNERS:
            raise ValueError(f"scanner must be one of {sorted(SCANNERS)}, but is {settings['scanner']!r}.")
        settings = {**settings, "scanner": SCANNERS[settings["scanner"]]}
    parts = [f"{name}{settings_name(value)}" for name, value in sorted({**known, **settings}.items())]
    cache = Path(os.environ.get(CACHE_VARIABLE) or DEFAULT_CACHE).expanduser()
    root = cache / "-".join(["phantoms", layout, f"v{VERSION}", *parts])
    logger.info("Using synthetic phantoms, not patient data, in %s", root)
    if not root.is_dir() or not any(root.iterdir()):
        make_once(writer, root, {**known, **settings})
    return root


def make_once(writer: Callable[..., Path], root: Path, settings: dict[str, Any]) -> None:
    """Writes the folder, unless another process finishes the same one first."""
    try:
        writer(root, **settings)
    except OSError:
        if not root.is_dir() or not any(root.iterdir()):
            raise
