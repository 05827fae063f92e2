"""Score tables: as CSV, and in the terminal."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def column_means(values: np.ndarray) -> list[float]:
    """Mean of each column without NaN, and NaN for a column that has nothing else. Shape (N, C) to C numbers."""
    return [float(np.nanmean(column)) if np.isfinite(column).any() else float("nan") for column in values.T]


def write_csv(path: Path, heading: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table with its heading."""
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(heading)
        table.writerows(rows)


def shown(value: Any, absent: str) -> str:
    """A score to four decimals, or what stands for a missing one."""
    return absent if np.isnan(value) else f"{value:.4f}"
