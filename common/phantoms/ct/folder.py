"""A folder of synthetic chest CT in the layout of a public download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..cache import cached_folder
from .layouts import LAYOUTS
from .scanner import SCANNERS


def phantom_dir(layout: str = "radiopaedia", **settings: Any) -> Path:
    """Returns a folder of synthetic patients, made on the first call; see ``common.phantoms.cache.cached_folder``.

    Args:
        layout: "radiopaedia", "coronacases", "mosmed", "medseg", "medseg_arrays" or "medseg_pictures".
        **settings: arguments of the function that writes the layout; `scanner` may be "standard" or "second".

    Raises:
        ValueError: for an unknown layout, setting or scanner, or a value out of range.
    """
    scanner = settings.get("scanner")
    if isinstance(scanner, str):
        if scanner not in SCANNERS:
            raise ValueError(f"scanner must be one of {sorted(SCANNERS)}, but is {scanner!r}.")
        settings = {**settings, "scanner": SCANNERS[scanner]}
    return cached_folder(LAYOUTS, layout, **settings)
