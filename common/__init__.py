"""Networks, datasets, transforms, phantoms and reports shared by the bundles. README.md beside this file is the map."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """``from common import load``, imported when asked for: configs import parts of this package alone."""
    if name == "load":
        from .model import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
