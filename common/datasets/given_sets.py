"""Sets that a table gives: training, validation and test by name, or folds by number."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

logger = logging.getLogger(__name__)

Case = dict[str, Any]
SETS = ("training", "validation", "test")


def given_sets(datalist: Sequence[Case], fold: int = 0, tested: bool = False) -> dict[str, list[Case]] | None:
    """Divide cases by their ``set``, which wins over any split.

    Of numbered folds, ``fold`` is for validation. With ``tested``, if no case has the set ``test``, ``fold`` is the
    test and the next one for validation, as in ``common.datasets.ct.slice_sets.slice_sets``.

    Args:
        datalist: cases, with ``set`` (a name, or the number of a fold) or without.
        fold: which of the numbered folds is held out, counted from 0 in the order of their numbers.
        tested: whether a test set is needed.

    Returns:
        ``{"training": [...], "validation": [...], "test": [...]}``, or None if the cases have no sets, but for those
        with the set ``test``.

    Raises:
        ValueError: for an empty set, or a fold that there is not.
    """
    given = [case.get("set") for case in datalist]
    if set(given) <= {None, "test"} and None in given:
        if "test" in given and tested:
            raise ValueError(
                "The table names test cases and no others. Give every row a set: training, validation or test."
            )
        return None
    numbers = sorted({value for value in given if isinstance(value, int)})
    role: dict[Any, str] = {name: name for name in SETS} | dict.fromkeys(numbers, "training")
    if numbers:
        if not 0 <= fold < len(numbers):
            raise ValueError(
                f"The table has {len(numbers)} folds ({', '.join(map(str, numbers))}); --fold is 0 to "
                f"{len(numbers) - 1}, got {fold}."
            )
        third = tested and "test" not in given
        if third:
            role[numbers[fold]] = "test"
        role[numbers[(fold + third) % len(numbers)]] = "validation"
    sets: dict[str, list[Case]] = {name: [] for name in SETS}
    for case in datalist:
        sets[role[case["set"]]].append(case)
    logger.info("Sets of the table: %s.", ", ".join(f"{len(cases)} {name}" for name, cases in sets.items()))
    needed = SETS if tested and sets["training"] else SETS[:2]
    empty = [name for name in needed if not sets[name]]
    if empty:
        raise ValueError(
            f"The set {' and '.join(empty)} is empty: no row of the table has it. Name it in the column set, or leave "
            "the column empty in all rows: cases are then divided at random, all of a patient in one set."
        )
    return sets
