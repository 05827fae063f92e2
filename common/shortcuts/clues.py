"""What tells nothing about the lung, as numbers: border of a picture, outline, grey levels, size, and folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from skimage.transform import resize

SIDE = 64  # pixels of the reduced picture
RING = SIDE // 8  # width of its border
BLACK = 8  # grey levels up to here are the outside of the fan or of the body
BINS = 32  # of the histogram


def clues(picture: np.ndarray) -> dict[str, np.ndarray]:
    """Numbers of one picture by clue.

    Args:
        picture: (rows, columns), grey levels 0..255.

    Returns:
        ``border``: grey levels of the outer eighth; ``outline``: where the picture is black; ``grey levels``: their
        histogram; ``size``: logarithms of rows and columns.
    """
    small = resize(picture.astype(np.float32), (SIDE, SIDE), order=1, anti_aliasing=True)
    ring = np.ones((SIDE, SIDE), bool)
    ring[RING:-RING, RING:-RING] = False
    counts = np.histogram(picture, BINS, (0, 256))[0]
    return {
        "border": small[ring],
        "outline": (small[::2, ::2] <= BLACK).ravel().astype(float),
        "grey levels": np.sqrt(counts / counts.sum()),
        "size": np.log(picture.shape),
    }


def folders(cases: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Which folders each file lies in, (cases, folders) of 0 and 1: often its source and its probe."""
    parts = [Path(str(case["case"])).parts[:-1] for case in cases]
    names = sorted({name for each in parts for name in each})
    return np.array([[float(name in each) for name in names] for each in parts])
