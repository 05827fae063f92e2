"""What a decoder gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class LazyFrame(NamedTuple):
    """One frame before it is known whether it is wanted: its time, and how to get its pixels.

    ``pixels`` gives uint8, grey (rows, columns) or with colours (rows, columns, 3) or colours and opacity (..., 4).
    """

    seconds: float
    pixels: Callable[[], np.ndarray]
