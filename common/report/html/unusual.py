"""Which cases lie far from the others of their run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .page import Column

FEWEST = 8  # cases, below which quartiles say little
REACH = 1.5  # interquartile ranges (Tukey, Exploratory Data Analysis, 1977)
RULE = (
    f"lies more than {REACH} times the interquartile range outside the quartiles of all cases here (from {FEWEST} "
    "cases on)"
)


def outliers(values: Sequence[Any]) -> dict[int, str]:
    """Which numbers lie far from the others, by Tukey's fences.

    Args:
        values: numbers; None and NaN count as missing.

    Returns:
        ``high`` or ``low`` by position; empty for fewer than eight numbers, or if the middle half of them is equal.

    Example:
        >>> outliers([1, 2, 3, 4, 5, 6, 7, 30])
        {7: 'high'}
    """
    numbers = np.array([np.nan if value is None else value for value in values], float)
    known = numbers[np.isfinite(numbers)]
    if len(known) < FEWEST:
        return {}
    low, high = np.quantile(known, (0.25, 0.75))
    reach = REACH * (high - low)
    if reach == 0:
        return {}
    return {
        index: "high" if value > high else "low"
        for index, value in enumerate(numbers.tolist())
        if value < low - reach or value > high + reach
    }


def far_from_others(
    columns: Sequence[Column], cells: Sequence[Mapping[str, Any]], sides: Sequence[str] = ("low", "high")
) -> list[list[str]]:
    """For each case, which of its numbers lie far from those of the other cases, on these sides, in words."""
    found: list[list[str]] = [[] for _ in cells]
    for column in columns:
        for index, word in outliers([each.get(column.name) for each in cells]).items():
            if word in sides:
                found[index].append(f"{column.heading} is {word}")
    return found
