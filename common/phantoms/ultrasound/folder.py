"""A folder of synthetic lung ultrasound in the layout of a public source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..cache import cached_folder
from .layouts import LAYOUTS


def phantom_dir(layout: str = "semantic_lung", **settings: Any) -> Path:
    """Returns a folder of synthetic patients, made on the first call; see ``common.phantoms.cache.cached_folder``.

    Args:
        layout: "semantic_lung" or "pocus".
        **settings: arguments of the function that writes the layout, such as `patients` or `seed`.

    Raises:
        ValueError: for an unknown layout or setting, or a value out of range.
    """
    return cached_folder(LAYOUTS, layout, **settings)
