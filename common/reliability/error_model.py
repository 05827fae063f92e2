"""How large errors are to be expected in a case."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from ..run.model_record import damaged_entry
from .measures import Lesions, Measures

LEVEL = 0.9  # of the intervals of volumes
CERTAIN = 2 / 3  # share of lesions of a probability that are real, from which they are not called uncertain

# What tells the Dice of a case, and what its error of volume grows with; the one that tells most is taken
PREDICTORS: dict[str, Callable[[Measures], float | None]] = {
    "agreement": lambda case: case.agreement,
    "expected": lambda case: case.expected_dice,
    "mean": lambda case: 0.0,  # that of all cases, where nothing tells more
}
SCALES: dict[str, Callable[[Measures], float | None]] = {
    "agreement": lambda case: None if case.agreement is None else max(1 - case.agreement, 0.01) * case.found,
    "wrong": lambda case: case.wrong,
    "found": lambda case: case.found,
}


@dataclass(frozen=True)
class LesionModel:
    """What Dice a single lesion of a mask has with the lesions of the ground truth that it touches.

    It is ``intercept`` + ``probability`` x mean probability + ``size`` x log(share of the mask's lesions).

    Args:
        intercept, probability, size: of the line.
        error: root mean square error in held-out patients.
    """

    intercept: float
    probability: float
    size: float
    error: float

    def dice(self, lesions: Lesions) -> np.ndarray:
        """The Dice to be expected, (lesions,)."""
        return self.line(predictors(lesions))

    def line(self, values: np.ndarray) -> np.ndarray:
        """The Dice for ``predictors``."""
        return np.asarray((self.intercept + values @ [self.probability, self.size]).clip(0, 1))


def predictors(lesions: Lesions) -> np.ndarray:
    """What tells the Dice of single lesions: mean probability, log of the share of the mask's lesions, (lesions, 2)."""
    return np.stack([lesions.probability, np.log(lesions.voxels / max(lesions.voxels.sum(), 1))], 1)


@dataclass(frozen=True)
class ErrorModel:
    """What errors are to be expected.

    Args:
        predictor: of the Dice, a name in ``PREDICTORS``; the Dice is ``intercept`` + ``slope`` x predictor.
        intercept, slope: of the Dice.
        dice_error: root mean square error of this Dice in held-out patients.
        scale: of the error of a volume, a name in ``SCALES``.
        low, high: how many scales the truth lies above the volume that was found, with ``LEVEL`` between them.
        none: of a case in which nothing was found: upper bound of its volume as a multiple of the expected one.
        doubt: mean probability of a lesion below which it is uncertain, as fewer than ``CERTAIN`` of such are real.
        lesion: of single lesions; None in records that do not know.
        data: what it was learned from, for the record.
    """

    predictor: str
    intercept: float
    slope: float
    dice_error: float
    scale: str
    low: float
    high: float
    none: float
    doubt: float
    lesion: LesionModel | None = None
    data: Mapping[str, Any] = field(default_factory=dict)

    def dice(self, case: Measures) -> float | None:
        """The Dice to be expected; None if nothing was found, or there are no mirror images and it takes them."""
        value = PREDICTORS[self.predictor](case) if case.found else None
        return None if value is None else min(max(self.intercept + self.slope * value, 0.0), 1.0)

    def interval(self, case: Measures) -> tuple[float, float] | None:
        """Between which numbers of voxels the true volume lies; None if that cannot be said."""
        if not case.found:
            return 0.0, self.none * case.expected
        scale = SCALES[self.scale](case)
        if scale is None:
            return None
        return max(0.0, case.found + self.low * scale), max(0.0, case.found + self.high * scale)

    def to_record(self) -> dict[str, Any]:
        """What ``model.json`` holds of it."""
        return dict(_rounded(asdict(self)))

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> ErrorModel:
        """The model that a record holds.

        Raises:
            ValueError: if it is damaged.
        """
        try:
            lesion = LesionModel(**record["lesion"]) if record.get("lesion") else None
            found = cls(**{**record, "lesion": lesion})
            known = found.predictor in PREDICTORS and found.scale in SCALES
            numbers = [value for value in vars(found).values() if isinstance(value, (int, float))]
            numbers += [float(value) for value in vars(lesion).values()] if lesion else []
            count = len(fields(cls)) - 4 + (len(fields(LesionModel)) if lesion else 0)
            if not known or len(numbers) != count or not np.isfinite(numbers).all():
                raise ValueError("unknown names, or numbers that are none")
            return found
        except (TypeError, ValueError) as error:
            raise damaged_entry("errors", error, "errors") from error


def _rounded(content: Mapping[str, Any]) -> dict[str, Any]:
    """With numbers of six decimals."""
    return {
        name: _rounded(value) if isinstance(value, dict) else round(value, 6) if isinstance(value, float) else value
        for name, value in content.items()
    }
