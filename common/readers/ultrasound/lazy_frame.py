"""A frame whose pixels are decoded only when they are needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class LazyFrame(NamedTuple):
    """One frame of a file: its time, and a function that returns its pixels.

    Attributes:
        seconds: since the first frame; NaN where it is unknown.
        pixels: returns uint8, grey (rows, columns), colours (rows, columns, 3), or colours and opacity (..., 4).
    """

    seconds: float
    pixels: Callable[[], np.ndarray]
