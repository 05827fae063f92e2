"""A folder of synthetic chest CT in the layout of a public download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..cache import cached_folder
from .layouts import LAYOUTS
from .scanner import SCANNERS


def phantom_dir(layout: str = "radiopaedia", **settings: Any) -> Path:
    """Return a folder of synthetic patients, generated on the first call and kept for later calls.

    Args:
        layout: ``radiopaedia``, ``coronacases``, ``mosmed``, ``medseg``, ``medseg_arrays`` or ``medseg_pictures``.
        **settings: arguments of the function in ``common.phantoms.ct.layouts`` that writes the layout. ``scanner`` may
            be ``standard`` or ``second``.

    Returns:
        The folder; see ``common.phantoms.cache.cached_folder`` for its place.

    Raises:
        ValueError: for an unknown layout, setting or scanner, or a value out of range.

    Example:
        >>> folder = phantom_dir("radiopaedia", patients=2, size=(64, 64), slices=4)
        >>> sorted(path.name for path in folder.iterdir())
        ['rp_im', 'rp_lung_msk', 'rp_msk']
    """
    scanner = settings.get("scanner")
    if isinstance(scanner, str):
        if scanner not in SCANNERS:
            raise ValueError(f"scanner must be one of {sorted(SCANNERS)}, got {scanner!r}. Choose one of them.")
        settings = {**settings, "scanner": SCANNERS[scanner]}
    return cached_folder(LAYOUTS, layout, **settings)
