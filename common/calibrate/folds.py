"""The folds of a cross-validation, and what is best on them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_expit

from ..handlers.threshold_scores import FILES, LOGITS, PIXELS, THRESHOLDS
from ..metrics import calibration_errors
from ..spreadsheets import Row, read_table
from ..tables import score_value

logger = logging.getLogger(__name__)

COLUMNS = [f"dice_{threshold:.2f}" for threshold in THRESHOLDS]
TEMPERATURES = (0.2, 5.0)  # between which the best is looked for
BINS = 10  # of the calibration error


class Fold(NamedTuple):
    """The held-out slices of one fold.

    Args:
        name: of the fold.
        owners: the patient of each slice, or its case where none is named.
        word: what the owners are.
        dice: (slices, thresholds).
        logits: of the probability of lesion, (bins,).
        pixels: of each bin, all and those that are lesion, (2, bins).
        lungs: the same of lungs and lesions.
    """

    name: str
    owners: list[str]
    word: str
    dice: np.ndarray
    logits: np.ndarray
    pixels: np.ndarray
    lungs: np.ndarray


def read_folds(folder: Path) -> list[Fold]:
    """Read the folds of a variant of ``common.reproduce``. Folds that are not evaluated are named in the log.

    Raises:
        FileNotFoundError: if there are fewer than two evaluations with these tables, or one lacks a table.
        ValueError: for tables that cannot be used, or slices that are in several folds.
    """
    places = [path.parent for path in sorted(folder.glob(f"*/eval/{FILES[0]}"))]
    if len(places) < 2:
        raise FileNotFoundError(
            f"{folder}: cross-validation needs two folds or more with eval/{FILES[0]}, found {len(places)}. "
            "Give the folder of a variant of python -m common.reproduce ct_drsegunet."
        )
    unfinished = [path.name for path in sorted(folder.iterdir()) if path.is_dir() and path / "eval" not in places]
    if unfinished:
        logger.warning("Left out, as they have no eval/%s: %s.", FILES[0], ", ".join(unfinished))
    rows = {place: read_table(place / FILES[0], ("case", "patient", "slice", *COLUMNS)) for place in places}
    seen: dict[tuple[str, str], Path] = {}
    for place, lines in rows.items():
        if not lines:
            raise ValueError(f"{place / FILES[0]} holds no slice. Evaluate this fold again.")
        for _, cells in lines:
            if (earlier := seen.setdefault((cells["case"], cells["slice"]), place)) != place:
                raise ValueError(
                    f"Folds hold out different slices, but {cells['case']} is in {earlier.parent.name} and in "
                    f"{place.parent.name}. Give the folds of one cross-validation."
                )
    named = all(cells["patient"] for lines in rows.values() for _, cells in lines)
    return [_fold(place, lines, "patient" if named else "case") for place, lines in rows.items()]


def _fold(place: Path, lines: Sequence[Row], owner: str) -> Fold:
    table, bins = place / FILES[0], place / FILES[1]
    dice = np.array([
        [score_value(cells[name] or "none", f"{table}, line {line}, {name}") for name in COLUMNS]
        for line, cells in lines
    ])  # fmt: skip
    if not bins.is_file():
        raise FileNotFoundError(f"No {bins}, which each evaluation writes. Evaluate this fold again.")
    names = ("logit", *PIXELS)
    cells = [[score_value(row[name] or "none", str(bins), 0) for name in names] for _, row in read_table(bins, names)]
    if len(cells) != len(LOGITS) - 1:
        raise ValueError(f"{bins} must have {len(LOGITS) - 1} rows, got {len(cells)}. Evaluate this fold again.")
    logits, *pixels = np.array(cells).T
    owners = [each[owner] for _, each in lines]
    return Fold(place.parent.name, owners, f"{owner}s", dice, logits, np.array(pixels[:2]), np.array(pixels[2:]))


def best_threshold(folds: Sequence[Fold]) -> int:
    """Position of the threshold with the highest mean Dice over the slices of folds; the middle one of several."""
    mean = np.concatenate([fold.dice for fold in folds]).mean(0)
    best = np.flatnonzero(np.isclose(mean, mean.max()))
    return int(best[len(best) // 2])


def best_temperature(folds: Sequence[Fold]) -> float:
    """The temperature with the least cross-entropy: logits are divided by it (Guo et al., 2017, section 4.2)."""
    found = minimize_scalar(lambda t: cross_entropy(folds, t), bounds=TEMPERATURES, method="bounded")
    return float(found.x)


def cross_entropy(folds: Sequence[Fold], temperature: float = 1.0) -> float:
    """Mean over all pixels of folds, in nats."""
    logits, (pixels, lesion) = folds[0].logits / temperature, np.sum([fold.pixels for fold in folds], axis=0)
    total = -(lesion * log_expit(logits) + (pixels - lesion) * log_expit(-logits)).sum()
    return float(total / pixels.sum())


def reliability(folds: Sequence[Fold], temperatures: Sequence[float], within_lungs: bool = False) -> np.ndarray:
    """Mean probability, share of lesion and number of pixels in ten bins of probability, (3, bins).

    Args:
        folds: whose pixels are added.
        temperatures: of each fold.
        within_lungs: of lungs and lesions alone.
    """
    sums = np.zeros((3, BINS))
    for fold, temperature in zip(folds, temperatures, strict=True):
        probability = expit(fold.logits / temperature)
        pixels, lesion = fold.lungs if within_lungs else fold.pixels
        place = np.minimum((probability * BINS).astype(int), BINS - 1)
        sums += [np.bincount(place, weight, BINS) for weight in (pixels * probability, lesion, pixels)]
    number = np.maximum(sums[2], 1)
    return np.stack([sums[0] / number, sums[1] / number, sums[2]])


def calibration_error(folds: Sequence[Fold], temperatures: Sequence[float], within_lungs: bool = False) -> float:
    """Expected calibration error: mean distance of probability and share of lesion, weighted by pixels.

    Arguments are those of ``reliability``.
    """
    probability, share, pixels = reliability(folds, temperatures, within_lungs)
    return float(calibration_errors(np.stack([probability * pixels, share * pixels, pixels])[None])[0, 0])
