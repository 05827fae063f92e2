"""Slices with lung out of labelled pictures, as many to train on as are asked for."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import torch
from monai.transforms import Orientation
from tqdm import tqdm

from ...lung_mask import lung_mask
from ...readers.ct import read
from ...readers.scan import UPRIGHT
from .slice_sets import shuffled

logger = logging.getLogger(__name__)

Case = dict[str, Any]
NAMED = 5  # files in a message


def has_mask(case: Case) -> bool:
    """Whether the label is the path of a lesion mask, not 0 or 1."""
    return isinstance(case["label"], (str, Path))


def sample_slices(
    sides: Mapping[str, Sequence[Case]], numbers: Sequence[int | None], seed: int
) -> dict[str, list[Case]]:
    """Slices with lung of each set, as many to train on as are asked for; those in doubt for the test alone.

    Patients give one slice each in turn, in an order that the seed decides, until the number is reached: what is drawn
    for a smaller one is part of what is drawn for a larger one. Lung is looked for in pictures in that order, and in no
    more of them than it takes.

    Args:
        sides: ``training``, ``validation`` and ``test``: slices with ``infected`` and ``patient``, maybe ``doubtful``;
            pictures, whose ``label`` is 0 or 1, and slices of volumes that are known to hold lung.
        numbers: the most normal slices and the most slices with lesions to train on, None for all.
        seed: of the draw.

    Returns:
        The slices of each set in the order given.

    Raises:
        ValueError: for pictures that cannot be read, or where none of them holds lung and there is nothing else.
    """
    looked: dict[Path, bool | str] = {}
    chosen: dict[str, list[Case]] = {}
    for name, members in sides.items():
        usable = [case for case in members if name == "test" or not case.get("doubtful")]
        taken: set[int] = set()
        for kind, number in zip(shuffled(usable, seed), numbers, strict=True):
            wanted = number if name == "training" and number is not None else len(kind)
            taken |= {id(case) for case in _first_with_lung(_in_turn(kind), wanted, looked)}
        chosen[name] = [case for case in usable if id(case) in taken]
        if name == "training" and any(numbers):
            ill, all_ill = (sum(case["infected"] for case in cases) for cases in (chosen[name], usable))
            logger.info(
                "Drawn to train on: %d of %d normal slices, %d of %d with lesions.",
                *(len(taken) - ill, len(usable) - all_ill, ill, all_ill),
            )
    _report(looked, any(chosen.values()))
    return chosen


def _in_turn(cases: Sequence[Case]) -> list[Case]:
    """The first case of each patient, then the second of each, and so on."""
    turns: Counter[str] = Counter()

    def turn(case: Case) -> int:
        turns[str(case["patient"])] += 1
        return turns[str(case["patient"])]

    return sorted(cases, key=turn)


def _first_with_lung(cases: Sequence[Case], number: int, looked: dict[Path, bool | str]) -> list[Case]:
    """The first slices with lung, so many at most; ``looked`` gets what was seen of pictures, see ``_lung_in``."""
    found: list[Case] = []
    total = min(number, len(cases))
    if total == 0:
        return found
    with (
        ThreadPool(max(1, torch.get_num_threads())) as pool,
        tqdm(desc="Looking for pictures with lung", total=total, unit="slice", leave=False) as progress,
    ):
        for case, lung in zip(cases, pool.imap(_lung_in, cases), strict=True):
            if not has_mask(case):
                looked[Path(case["image"])] = lung
            if lung is True:
                found.append(case)
                progress.update()
            if len(found) == total:
                break  # leaving the pool drops what it has not begun
    return found


def _lung_in(case: Case) -> bool | str:
    """Whether a picture holds lung, by its lung mask or else by threshold, or why that cannot be told."""
    try:
        if has_mask(case):
            return True
        if case.get("lung") is not None:
            return bool((read(case["lung"]) > 0).any())
        scan = Orientation("LPS", labels=None)(read(case["image"], case.get("picture_axes", UPRIGHT)))
        return bool(lung_mask(scan[0].numpy()).any())
    except (ValueError, FileNotFoundError) as error:
        return str(error)


def _report(looked: Mapping[Path, bool | str], some: bool) -> None:
    """Tell which pictures were left out; ValueError for those that cannot be read, or where not even some are left."""
    failures = [lung for lung in looked.values() if isinstance(lung, str)]
    if failures:
        more = f" ... and {len(failures) - NAMED} more." if len(failures) > NAMED else ""
        raise ValueError(
            f"{len(failures)} of {len(looked)} pictures cannot be used: {' '.join(failures[:NAMED])}{more}"
        )
    bare = sorted(str(path) for path, lung in looked.items() if not lung)
    named = ", ".join([*bare[:NAMED], "..."] if len(bare) > NAMED else bare)
    if not some:
        raise ValueError(f"Pictures with lung are needed, got {len(bare)} without ({named}). Give masks of the lungs.")
    if bare:
        logger.info("%d of %d pictures hold no lung and are left out: %s", len(bare), len(looked), named)
