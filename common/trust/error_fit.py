"""Learns how large errors are from cases with ground truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from sklearn.linear_model import LinearRegression, LogisticRegression

from ..reliability.error_model import CERTAIN, LEVEL, PREDICTORS, SCALES, ErrorModel, LesionModel, predictors
from ..reliability.measures import SAME_LESION, Lesions, Measures
from ..statistics import parts_of

CHOSEN = 0.02  # of the level is lost in new cases, because the narrowest of several intervals is chosen
FEWEST = 10  # cases with lesions, from which errors are learned
REAL = 0.5  # share of a lesion that must be lesion in the ground truth too, so that it counts as real
STRENGTH = 10.0  # of the logistic regression: a weak penalty, because probabilities differ by less than one
PARTS = 5  # of the patients, held out in turn


@dataclass(frozen=True)
class Example:
    """A case with ground truth, whose patient the weights have not seen.

    Args:
        case, patient: names.
        measures: of the mask.
        truth: lesion voxels of the ground truth.
        both: lesion voxels of mask and ground truth alike.
        lesions: mean probability of each lesion of the mask.
        real: share of each lesion that is lesion in the ground truth.
        predictors: of each lesion, see ``common.reliability.error_model.predictors``.
        each_dice: of each lesion with the lesions of the ground truth that it touches.
    """

    case: str
    patient: str
    measures: Measures
    truth: int
    both: int
    lesions: np.ndarray
    real: np.ndarray
    predictors: np.ndarray
    each_dice: np.ndarray

    @classmethod
    def of(
        cls,
        case: str,
        patient: str,
        probability: np.ndarray,
        lesion: np.ndarray,
        truth: np.ndarray,
        agreement: float | None,
    ) -> Example:
        """Compare a mask with the ground truth.

        Args:
            case: its name.
            patient: whose it is.
            probability: of lesion, uint8, in steps of 1/255, (X, Y, Z).
            lesion: bool, same shape: where the mask says lesion.
            truth: bool, same shape: where the ground truth does.
            agreement: see ``Measures``.
        """
        found = Lesions.of(probability, lesion)
        inside = np.bincount(found.labels[truth[found.box]], minlength=len(found.voxels) + 1)[1:]
        measures = Measures.of(probability, lesion, agreement)
        both = int(np.count_nonzero(lesion & truth))
        share, each = inside / found.voxels, _dice_of_each(found, inside, truth)
        total = int(truth.sum())
        return cls(case, patient, measures, total, both, found.probability, share, predictors(found), each)

    @property
    def dice(self) -> float:
        """Of mask and ground truth."""
        return 2 * self.both / (self.measures.found + self.truth)


def _dice_of_each(found: Lesions, inside: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Dice of each lesion with the lesions of the ground truth that it touches.

    Args:
        found: lesions of the mask.
        inside: voxels of each that are lesion in the ground truth.
        truth: the ground truth, bool, shape of the mask.
    """
    theirs, count = ndimage.label(truth, SAME_LESION)
    sizes = np.bincount(theirs.ravel(), minlength=count + 1)
    pairs = np.unique(np.stack([found.labels.ravel(), theirs[found.box].ravel()], 1), axis=0)
    pairs = pairs[pairs.all(1)]  # (touching pairs, 2): numbers of a lesion of the mask and of one of the ground truth
    touched = np.bincount(pairs[:, 0], sizes[pairs[:, 1]], len(found.voxels) + 1)[1:]
    return np.asarray(2 * inside / (found.voxels + touched))


def fit(examples: Sequence[Example]) -> ErrorModel:
    """Learn from cases how large errors are.

    Raises:
        ValueError: for fewer than ``FEWEST`` cases in which lesions were found, or of fewer than ``PARTS`` patients.

    Example:
        >>> fit([Example.of(case, patient, probability, mask > 0, truth > 0, None) for ...]).dice_error
    """
    found = [each for each in examples if each.measures.found]
    patients = len({each.patient for each in found})
    if len(found) < FEWEST or patients < PARTS:
        raise ValueError(
            f"At least {FEWEST} cases of {PARTS} patients in which lesions were found are needed, got {len(found)} of "
            f"{patients}, out of {len(examples)} cases. Give more cases."
        )
    return _fit(examples)


def _fit(examples: Sequence[Example]) -> ErrorModel:
    found = [each for each in examples if each.measures.found]
    predictor = min(_usable(PREDICTORS, found), key=lambda name: _dice_error(name, found))
    scale = min(_usable(SCALES, found), key=lambda name: _bounds(name, found)[2])
    intercept, slope = _line(predictor, found)
    low, high, _ = _bounds(scale, found)
    upper = _quantile([each.truth / max(each.measures.expected, 1.0) for each in examples], (1 + LEVEL) / 2)
    error = _dice_error(predictor, found)
    return ErrorModel(predictor, intercept, slope, error, scale, low, high, upper, _doubt(found), _each_lesion(found))


class Judged(NamedTuple):
    """What was learned from others of a case.

    Args:
        dice: expected.
        interval: of its volume, in voxels.
        doubt: mean probability below which a lesion is uncertain.
        each_dice: expected of each lesion.
    """

    dice: float | None
    interval: tuple[float, float] | None
    doubt: float
    each_dice: np.ndarray


def cross_validated(examples: Sequence[Example]) -> list[Judged]:
    """Judge each case by what was learned from the others.

    Patients are held out in turn, all cases of a patient together.
    """
    part = parts_of([each.patient for each in examples], PARTS)
    models = [
        _fit([each for each, own in zip(examples, part, strict=True) if own != number]) for number in range(PARTS)
    ]
    found = []
    for each, own in zip(examples, part, strict=True):
        model = models[own]
        lesion = model.lesion.line(each.predictors) if model.lesion else np.empty(0)
        found.append(Judged(model.dice(each.measures), model.interval(each.measures), model.doubt, lesion))
    return found


def _usable(choices: Mapping[str, Callable[[Measures], float | None]], examples: Sequence[Example]) -> list[str]:
    """Names of what is known of all cases."""
    return [name for name, value in choices.items() if all(value(each.measures) is not None for each in examples)]


def _line(predictor: str, examples: Sequence[Example]) -> tuple[float, float]:
    values = np.array([PREDICTORS[predictor](each.measures) for each in examples], float)[:, None]
    line = LinearRegression().fit(values, [each.dice for each in examples])
    return float(line.intercept_), float(line.coef_[0])


def _dice_error(predictor: str, examples: Sequence[Example]) -> float:
    """Root mean square error of the Dice, patients held out in turn."""
    part = parts_of([each.patient for each in examples], PARTS)
    errors = []
    for number in range(PARTS):
        rest = [each for each, own in zip(examples, part, strict=True) if own != number]
        intercept, slope = _line(predictor, rest)
        for each, own in zip(examples, part, strict=True):
            if own == number:
                value = PREDICTORS[predictor](each.measures) or 0.0
                errors.append(min(max(intercept + slope * value, 0.0), 1.0) - each.dice)
    return float(np.sqrt(np.mean(np.square(errors))))


def _bounds(scale: str, examples: Sequence[Example]) -> tuple[float, float, float]:
    """How many scales the truth lies above what was found, with ``LEVEL`` of the cases between, and the median width.

    These are the quantiles of conformal prediction with a scale for each case (Lei et al., *Distribution-Free
    Predictive Inference for Regression*, 2018, section 5.2). Which part of the cases may lie below and which above is
    chosen so that the intervals are narrow: no volume lies below zero. The width is a share of the volume found.
    """
    found = np.array([each.measures.found for each in examples])
    scales = np.array([max(SCALES[scale](each.measures) or 0.0, 1e-9) for each in examples])
    shares = (np.array([each.truth for each in examples]) - found) / scales
    best, level = (0.0, 0.0, math.inf), LEVEL + CHOSEN
    for below in np.linspace(0, 1 - level, 5):
        low, high = -_quantile(-shares, 1 - below), _quantile(shares, level + below)
        width = float(np.median((high * scales - np.maximum(low * scales, -found)) / found))
        best = min(best, (low, high, width), key=lambda bounds: bounds[2])
    return best


def _quantile(values: Sequence[float] | np.ndarray, share: float) -> float:
    """The value that ``share`` of new cases stay below: one more case is counted, as conformal prediction does."""
    place = math.ceil((len(values) + 1) * share) - 1
    return float(np.sort(values)[min(place, len(values) - 1)])


def _doubt(examples: Sequence[Example]) -> float:
    """The mean probability at which ``CERTAIN`` of the lesions are real; 0 if the probability does not tell them."""
    probability = np.concatenate([each.lesions for each in examples])
    real = np.concatenate([each.real for each in examples]) > REAL
    if real.all() or not real.any():
        return 0.0 if real.all() else 1.0
    fitted = LogisticRegression(C=STRENGTH, max_iter=1000).fit(probability[:, None], real)
    if fitted.coef_[0, 0] <= 0:
        return 0.0
    found = (math.log(CERTAIN / (1 - CERTAIN)) - fitted.intercept_[0]) / fitted.coef_[0, 0]
    return float(min(max(found, 0.0), 1.0))


def _each_lesion(examples: Sequence[Example]) -> LesionModel:
    """What tells the Dice of single lesions; its error is that in patients held out in turn."""
    part = parts_of([each.patient for each in examples], PARTS)
    errors: list[np.ndarray] = []
    for number in range(PARTS):
        line = _lesion_line([each for each, own in zip(examples, part, strict=True) if own != number])
        errors += [
            line.line(each.predictors) - each.each_dice
            for each, own in zip(examples, part, strict=True)
            if own == number
        ]
    return replace(_lesion_line(examples), error=float(np.sqrt(np.mean(np.square(np.concatenate(errors))))))


def _lesion_line(examples: Sequence[Example]) -> LesionModel:
    values = np.concatenate([each.predictors for each in examples])
    line = LinearRegression().fit(values, np.concatenate([each.each_dice for each in examples]))
    probability, size = map(float, line.coef_)
    return LesionModel(float(line.intercept_), probability, size, error=0.0)
