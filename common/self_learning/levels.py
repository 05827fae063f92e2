"""Levels of self-learning: the volumes that each trains on, and checks before hours of work."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..networks.drsegunet import DRSegUNet
from ..settings import check_keys, check_list, is_number
from .freezing import first_layers

KEYS = ("learning_rate", "epochs", "frozen")


def check_levels(levels: Sequence[Mapping[str, Any]]) -> None:
    """Refuse levels that cannot be trained, before hours of work.

    Raises:
        ValueError: for no levels, keys that are missing or unknown, numbers out of range.
    """
    check_list(levels, "--levels", f"one or more mappings of {', '.join(KEYS)}")
    with torch.device("meta"):
        network = DRSegUNet()
    for number, level in enumerate(levels, start=1):
        check_keys(level, f"Level {number}", KEYS)
        rate, epochs, frozen = (level[key] for key in KEYS)
        if not is_number(rate) or rate <= 0 or type(epochs) is not int or epochs < 1:
            raise ValueError(
                f"Level {number}: the learning rate must be above 0, epochs must be 1 or more, got {level!r}."
            )
        if type(frozen) is not int:
            raise ValueError(f"Level {number}: frozen must be a number of layers, got {frozen!r}.")
        first_layers(network, frozen)


def check_shares(held_out: float, starting: float) -> None:
    """Refuse shares of the volumes that are out of range.

    Raises:
        ValueError: naming the option.
    """
    if not 0 < held_out < 1:
        raise ValueError(f"--held_out must be a share of the volumes between 0 and 1, got {held_out}.")
    if not 0 < starting <= 1:
        raise ValueError(f"--starting must be a share of the volumes above 0, at most 1 for all, got {starting}.")


def draw_sets(names: Sequence[str], held_out: float, starting: float, seed: int) -> dict[str, list[str]]:
    """Volumes in three sets: ``held out``, ``starting`` (level 1 trains on them), ``further`` (later levels add them).

    Each set has at least one volume, unless ``starting`` is 1: then ``further`` is empty.

    Args:
        names: of the volumes, each of which counts as a patient.
        held_out: share of all volumes.
        starting: share of the others.
        seed: of the random draw.

    Raises:
        ValueError: for too few volumes.
    """
    further = starting < 1
    if len(names) < 2 + further:
        rule = "one held out, one for level 1, one for later levels" if further else "one held out, one to train on"
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
        ValueError: for an unknown name, for no name, or for a name in both sets.
    """
    cases = {str(case["case"]): case for case in datalist}
    for kind, names in (("training", training), ("validation", validation)):
        unknown = [name for name in map(str, names) if name not in cases]
        if unknown or not names:
            got = f"there is no case {', '.join(unknown)}" if unknown else "got none"
            raise ValueError(f"--{kind}_cases must be one or more of {', '.join(cases)}; {got}.")
    both = sorted(set(map(str, training)) & set(map(str, validation)))
    if both:
        raise ValueError(
            f"A case cannot be both trained on and held out, got {', '.join(both)} in both. Remove them from one."
        )
    return {
        "training": [cases[str(name)] for name in training],
        "validation": [cases[str(name)] for name in validation],
    }
