"""Levels of self-learning: which volumes each trains on, and what is refused before hours of work."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..networks.drsegunet import DRSegUNet
from .freezing import first_layers

KEYS = ("learning_rate", "epochs", "frozen")


def check_levels(levels: Sequence[Mapping[str, Any]]) -> None:
    """Refuse levels that cannot be trained, before hours of work.

    Raises:
        ValueError: for no levels, keys that are missing or unknown, numbers out of range.
    """
    if not isinstance(levels, Sequence) or isinstance(levels, str) or not levels:
        raise ValueError(f"Levels are one or more, each a mapping of {', '.join(KEYS)}; got {levels!r}. Give --levels.")
    with torch.device("meta"):
        network = DRSegUNet()
    for number, level in enumerate(levels, start=1):
        if not isinstance(level, Mapping) or set(level) != set(KEYS):
            raise ValueError(f"Level {number} has {', '.join(KEYS)}, got {level!r}. Give these three.")
        rate, epochs, frozen = (level[key] for key in KEYS)
        if not isinstance(rate, (int, float)) or rate <= 0 or type(epochs) is not int or epochs < 1:
            raise ValueError(f"Level {number}: the learning rate is above 0, epochs are 1 or more, got {level!r}.")
        if type(frozen) is not int:
            raise ValueError(f"Level {number}: frozen is a number of layers, got {frozen!r}.")
        first_layers(network, frozen)


def check_shares(held_out: float, starting: float) -> None:
    """Refuse shares that are none.

    Raises:
        ValueError: naming the one.
    """
    if not 0 < held_out < 1:
        raise ValueError(f"--held_out is a share of the volumes between 0 and 1, got {held_out}.")
    if not 0 < starting <= 1:
        raise ValueError(f"--starting is a share of the volumes above 0, at most 1 for all of them, got {starting}.")


def check_same(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Refuse to mix settings in one folder; further levels may follow those that there were.

    Raises:
        ValueError: naming what differs.
    """
    now = {**now, "levels": now["levels"][: len(before["levels"])]}
    differing = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    if differing:
        changes = "; ".join(f"{key} was {before.get(key)}, now {now.get(key)}" for key in differing)
        raise ValueError(
            f"{folder} holds self-learning with other settings: {changes}. Give the same ones, or another "
            "--output_dir, or start anew without --resume."
        )


def draw_sets(names: Sequence[str], held_out: float, starting: float, seed: int) -> dict[str, list[str]]:
    """Volumes in three sets: ``held out``, ``starting`` (level 1 trains on them), ``further`` (later ones too).

    Each has one at least, unless ``starting`` is 1: then none is further.

    Args:
        names: of the volumes, each of which counts as a patient.
        held_out: share of all.
        starting: share of the others.
        seed: of the draw.

    Raises:
        ValueError: for too few volumes.
    """
    further = starting < 1
    if len(names) < 2 + further:
        rule = "one held out, one for level 1, one for the later" if further else "one held out, one to train on"
        raise ValueError(f"Self-learning needs {2 + further} volumes or more, {rule}; got {len(names)}. Add volumes.")
    drawn = random.Random(seed).sample(sorted(names), len(names))
    out = min(max(1, round(held_out * len(drawn))), len(drawn) - 1 - further)
    start = min(max(1, round(starting * (len(drawn) - out))), len(drawn) - out - further)
    parts = {"held out": drawn[:out], "starting": drawn[out : out + start], "further": drawn[out + start :]}
    return {name: sorted(part) for name, part in parts.items()}


def chosen_cases(
    datalist: Sequence[Mapping[str, Any]], training: Sequence[str], validation: Sequence[str]
) -> dict[str, list[Mapping[str, Any]]]:
    """Cases by name: ``{"training": [...], "validation": [...]}``.

    Raises:
        ValueError: for a name that there is not, none at all, or one in both sets.
    """
    cases = {str(case["case"]): case for case in datalist}
    for kind, names in (("training", training), ("validation", validation)):
        unknown = [name for name in map(str, names) if name not in cases]
        if unknown or not names:
            got = f"no case is called {', '.join(unknown)}" if unknown else "got none"
            raise ValueError(f"--{kind}_cases are one or more of {', '.join(cases)}; {got}.")
    both = sorted(set(map(str, training)) & set(map(str, validation)))
    if both:
        raise ValueError(f"No case is trained on and held out, got {', '.join(both)} in both. Take them out of one.")
    return {
        "training": [cases[str(name)] for name in training],
        "validation": [cases[str(name)] for name in validation],
    }
