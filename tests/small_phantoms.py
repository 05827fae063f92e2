"""Smaller versions of the phantoms that bundles train on by default, for tests.

They lie in the cache of the test run under the names of the full ones, so a run finds them by itself.
"""

from __future__ import annotations

import fcntl
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from common.datasets.ct import image_labels, infection, lesions, mosmed_studies
from common.datasets.ultrasound import diagnoses, pixel_labels
from common.phantoms import cache
from common.phantoms.ct.layouts import LAYOUTS as CT
from common.phantoms.ultrasound.layouts import LAYOUTS as ULTRASOUND

CT_AT_MOST = {"patients": 8, "size": (64, 64), "slices": 6}
ULTRASOUND_AT_MOST = {"images": 6, "size": (64, 80), "clips": 1, "seconds": 1.0, "rate": 2.0}


def smaller(write: Callable[..., Path], at_most: Mapping[str, Any]) -> Callable[..., Path]:
    """A writer of phantoms with the same settings as ``write`` that makes fewer and smaller ones."""

    @functools.wraps(write)  # the cache reads its settings and their defaults
    def written(root: Path, **settings: Any) -> Path:
        least = {key: min(settings[key], most) for key, most in at_most.items() if key in settings}
        return write(root, **{**settings, **least})

    return written


def fill_cache(folder: Path) -> None:
    """Make the default training phantoms of all bundles, unless another process has."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock, pytest.MonkeyPatch.context() as patch:
        fcntl.flock(lock, fcntl.LOCK_EX)
        patch.setenv(cache.CACHE_VARIABLE, str(folder))
        for layouts, at_most in ((CT, CT_AT_MOST), (ULTRASOUND, ULTRASOUND_AT_MOST)):
            for name, write in layouts.items():
                patch.setitem(layouts, name, smaller(write, at_most))
        for cases in (lesions, mosmed_studies, pixel_labels, diagnoses):
            cases("phantom")
        for source in ("phantom", "phantom_second_scanner"):
            infection("phantom", source)
            image_labels("phantom", source)
