"""Which set an evaluation scores."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..run.training_record import check_held_out, chosen_on

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScoredSet:
    """The set that is scored.

    Args:
        name: ``test`` or ``validation``.
        cases: its cases.
    """

    name: str
    cases: list[dict[str, Any]]

    @property
    def patients(self) -> dict[str, str]:
        """Patients by the names of the cases; empty unless every case names one and is a whole volume or image."""
        if any(case.get("patient") is None or "slice" in case for case in self.cases):
            return {}
        return {str(case["case"]): str(case["patient"]) for case in self.cases}


def scored_set(
    sets: Mapping[str, Sequence[Mapping[str, Any]]],
    chosen: bool = True,
    weights: str | Path | Sequence[str | Path] = (),
) -> ScoredSet:
    """Choose the set to score: the test if there is one, else the validation. The log says which, and what it has seen.

    Args:
        sets: cases by set, as ``common.datasets.splits.split`` gives them.
        chosen: whether the validation has chosen the epoch of the weights.
        weights: the file, or the members of an ensemble. Their record, if there is one, says who was trained on, and
            who was in the validation.

    Raises:
        ValueError: if there is no case to score, or the weights were trained on one of them.

    Example:
        >>> scored_set({"training": [{"case": "a"}], "validation": [{"case": "b"}], "test": [{"case": "c"}]}).name
        'test'
    """
    name = "test" if sets.get("test") else "validation"
    found = ScoredSet(name, [dict(case) for case in sets[name]])
    check_held_out(found.cases, weights, warn=False)
    people = len(set(found.patients.values()))
    size = f"{len(found.cases)} cases" + (f" of {people} patients" if people else "")
    seen = chosen_on(found.cases, weights) if chosen and name == "test" else []
    if seen:
        logger.warning(
            "Scored: the test set, %s. %s chose the best epoch of these weights, so the scores are slightly too high. "
            "Evaluate with the split of the training.",
            *(size, ", ".join(seen)),
        )
    elif name == "test":
        logger.info("Scored: the test set, %s. Neither training nor the choice of the best epoch has seen it.", size)
    elif chosen:
        logger.warning(
            "Scored: the validation set, %s. It has also chosen the best epoch, so its scores are slightly too high. "
            "To avoid this, train and evaluate with test cases in a table (--datalist), or in ct_drsegunet with "
            "--test_set True or --keep last.",
            size,
        )
    else:
        logger.info("Scored: the validation set, %s. The last epoch was kept, so it has chosen nothing.", size)
    return found
