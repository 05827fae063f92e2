"""The ranges of the bundles' settings, by name: one table for all bundles."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..settings import chosen, is_expression, is_number


@dataclass(frozen=True)
class Range:
    """What the value of a setting may be.

    Args:
        low: least value.
        high: greatest value.
        whole: whether it is a whole number.
        above: whether ``low`` itself is too small.
        count: how many numbers a list has; None for a single number.
        rising: whether the numbers of a list increase.
    """

    low: float = 0
    high: float = math.inf
    whole: bool = False
    above: bool = False
    count: int | None = None
    rising: bool = False

    def __contains__(self, value: Any) -> bool:
        if self.count is not None:
            numbers = list(value) if isinstance(value, (list, tuple)) else []
            fits = len(numbers) == self.count and all(self._holds(number) for number in numbers)
            return fits and (not self.rising or numbers == sorted(set(numbers)))
        return self._holds(value)

    def _holds(self, number: Any) -> bool:
        if not is_number(number) or not math.isfinite(number) or (self.whole and number != int(number)):
            return False
        return self.low <= number <= self.high and not (self.above and number == self.low)

    def __str__(self) -> str:
        kind = "whole number" if self.whole else "number"
        bounds = "" if math.isinf(self.low) else f" above {self.low:g}" if self.above else f" of {self.low:g} or more"
        if not math.isinf(self.high):
            bounds = f" from {self.low:g} to {self.high:g}"
        if self.count is None:
            return f"a {kind}{bounds}"
        return f"a list of {self.count} {kind}s{bounds}{', the smaller one first' if self.rising else ''}"


COUNT = Range(1, whole=True)
INDEX = Range(0, whole=True)
RATE = Range(0, above=True)
WEIGHT = Range(0)
SHARE = Range(0, 1)
WINDOW = Range(-math.inf, count=2, rising=True)
RANGES: dict[str, Range] = {
    **dict.fromkeys(("batch_size", "epochs", "val_interval", "patience", "critic_steps"), COUNT),
    **dict.fromkeys(("filters", "map_size", "slices_at_once", "frames_at_once", "validation_slices"), COUNT),
    **dict.fromkeys(("examples", "samples"), COUNT),
    **dict.fromkeys(("fold", "folds", "frozen", "disk_radius", "plateau_patience"), INDEX),
    **dict.fromkeys(("learning_rate", "retraining_rate", "classifier_rate", "temperature"), RATE),
    **dict.fromkeys(("weight_decay", "adversarial", "fidelity", "norm", "penalty", "reconstruction"), WEIGHT),
    "teacher_weight": WEIGHT,
    **dict.fromkeys(("lesion_weight", "margin", "smallest", "line_length", "frames_per_second"), WEIGHT),
    **dict.fromkeys(("threshold", "lesion_threshold", "held_out", "starting", "plateau_factor", "min_lung"), SHARE),
    **dict.fromkeys(("reject_below", "decay", "confidence", "encoder_rate", "dropout", "label_smoothing"), SHARE),
    **dict.fromkeys(("unlabelled_step", "healthy_step", "saved_slices"), COUNT),
    "smallest_regions": Range(0, whole=True, count=2),
    "crop_margin": Range(0, whole=True, count=3),
    "elastic": Range(0, count=2),
    "visible": Range(0, 1, above=True, count=2),
    **dict.fromkeys(("window", "grey_window", "shown_window"), WINDOW),
    "seed": Range(0, 2**32 - 1, whole=True),
    "shares": Range(0, count=3),
    "size": Range(1, whole=True, count=2),
    "patch_size": Range(1, whole=True, count=2),
}


def check_ranges(config: Mapping[str, Any], where: str = "") -> None:
    """Refuse numbers out of range, at the top level of a config and in lists of settings.

    Text is left alone: an expression or a reference is known only when the config runs.

    Args:
        config: the config as run.
        where: place of the settings for the message; empty for the config itself.

    Raises:
        ValueError: for the first setting out of range, or a set of classes that the config does not list.

    Example:
        >>> check_ranges({"batch_size": 0})
        Traceback (most recent call last):
        ValueError: batch_size must be a whole number of 1 or more, got 0.
    """
    for name, value in config.items():
        wanted = RANGES.get(name)
        if wanted is not None and isinstance(value, (int, float, list, tuple)) and not _computed(value):
            if value not in wanted:
                raise ValueError(f"{where}{name} must be {wanted}, got {value}.")
        elif isinstance(value, list):
            for position, part in enumerate(value):
                if isinstance(part, dict) and "_target_" not in part:
                    check_ranges(part, f"{name}, number {position + 1}: ")
    fold, folds = config.get("fold"), config.get("folds")
    if is_number(fold) and is_number(folds) and folds > 0 and fold >= folds:
        raise ValueError(f"{where}fold must be 0 to {folds - 1}, as there are {folds} folds, got {fold}.")
    classes, sets = config.get("classes"), config.get("label_names")
    if isinstance(sets, dict) and classes is not None and not is_expression(classes):
        chosen("classes", classes, sets)


def _computed(value: Any) -> bool:
    """Whether a list holds expressions."""
    return isinstance(value, (list, tuple)) and any(isinstance(each, str) for each in value)
