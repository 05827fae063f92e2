"""A folder of synthetic lung ultrasound in the layout of a public source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..cache import cached_folder
from .layouts import LAYOUTS


def phantom_dir(layout: str = "semantic_lung", **settings: Any) -> Path:
    """Return a folder of synthetic patients, generated on the first call and kept for later calls.

    Args:
        layout: ``semantic_lung``, ``varied`` or ``pocus``.
        **settings: arguments of the function in ``common.phantoms.ultrasound.layouts`` that writes the layout, such as
            ``patients`` or ``seed``.

    Returns:
        The folder; see ``common.phantoms.cache.cached_folder`` for its place.

    Raises:
        ValueError: for an unknown layout or setting, or a value out of range.

    Example:
        >>> folder = phantom_dir("semantic_lung", patients=2, images=2, size=(96, 128))
        >>> sorted(path.name for path in (folder / "images").iterdir())
        ['A_00.png', 'A_01.png', 'B_00.png', 'B_01.png']
    """
    return cached_folder(LAYOUTS, layout, **settings)
