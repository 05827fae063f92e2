"""Draw of labelled slices with lung: a given number of normal ones and of ones with lesions."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from monai.transforms import Orientation

from ...lung_network.methods import THRESHOLD, find_lung
from ...readers.ct import read
from ...readers.scan import UPRIGHT
from ...run.progress import progress
from ..guards import Failed, refuse_failed, try_each
from .slice_sets import shuffled

logger = logging.getLogger(__name__)

Case = dict[str, Any]
NAMED = 5  # files in a message


@dataclass(frozen=True)
class Looked:
    """Result of looking for lung in an image: whether there is any, or why the image cannot be used."""

    lung: bool
    failure: str = ""


def has_mask(case: Case) -> bool:
    """Whether the label is the path of a lesion mask, not 0 or 1."""
    return isinstance(case["label"], (str, Path))


def sample_slices(
    sides: Mapping[str, Sequence[Case]], numbers: Sequence[int | None], seed: int, lungs: str = THRESHOLD
) -> dict[str, list[Case]]:
    """Slices with lung of each set, with a given number to train on; doubtful ones are for the test alone.

    Patients give one slice each in turn, in an order that the seed decides, until the number is reached. The draw for a
    smaller number is therefore part of the draw for a larger one. Images are searched for lung in that order, and only
    as many as needed.

    Args:
        sides: ``training``, ``validation`` and ``test``: slices with ``infected`` and ``patient``, some with
            ``doubtful``. They are images, whose ``label`` is 0 or 1, and slices of volumes that are known to hold lung.
        numbers: maximum number of normal slices and of slices with lesions to train on; None for all.
        seed: of the draw.
        lungs: how lung is looked for in an image without lung mask, see ``common.lung_network.methods.find_lung``.

    Returns:
        The slices of each set in the order given.

    Raises:
        ValueError: if images cannot be read, or if no slice with lung is left.
    """
    looked: dict[Path, Looked] = {}
    chosen: dict[str, list[Case]] = {}
    for name, members in sides.items():
        usable = [case for case in members if name == "test" or not case.get("doubtful")]
        taken: set[int] = set()
        for kind, number in zip(shuffled(usable, seed), numbers, strict=True):
            wanted = number if name == "training" and number is not None else len(kind)
            taken |= {id(case) for case in _first_with_lung(_in_turn(kind), wanted, looked, lungs)}
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


def _first_with_lung(cases: Sequence[Case], number: int, looked: dict[Path, Looked], lungs: str) -> list[Case]:
    """The first slices with lung, at most ``number``; the results of ``_look_for_lung`` are added to ``looked``."""
    found: list[Case] = []
    total = min(number, len(cases))
    if total == 0:
        return found
    look = partial(_look_for_lung, lungs=lungs)
    results = try_each(look, cases, lambda case: case, max(1, torch.get_num_threads()))
    with (
        closing(results),  # drops the images that it has not started
        progress(desc="Looking for images with lung", total=total, unit="slice") as bar,
    ):
        for case, result in zip(cases, results, strict=True):
            seen = Looked(False, result.message) if isinstance(result, Failed) else result
            if not has_mask(case):
                looked[Path(case["image"])] = seen
            if seen.lung:
                found.append(case)
                bar.update()
            if len(found) == total:
                break
    return found


def _look_for_lung(case: Case, lungs: str) -> Looked:
    """Look for lung in an image, by its lung mask or else as ``lungs`` says; slices of volumes are known to hold it."""
    if has_mask(case):
        return Looked(True)
    if case.get("lung") is not None:
        return Looked(bool((read(case["lung"]) > 0).any()))
    scan = Orientation("LPS", labels=None)(read(case["image"], case.get("picture_axes", UPRIGHT)))
    return Looked(bool(find_lung(scan[0].numpy(), None, lungs, "8bit", str(case["case"])).any()))


def _report(looked: Mapping[Path, Looked], some: bool) -> None:
    """Log the images without lung; ValueError if images cannot be read, or if no slice is left."""
    failures = [Failed(seen.failure) for seen in looked.values() if seen.failure]
    refuse_failed(failures, len(looked), "images")
    bare = sorted(str(path) for path, seen in looked.items() if not seen.lung)
    named = ", ".join([*bare[:NAMED], "..."] if len(bare) > NAMED else bare)
    if not some:
        raise ValueError(f"Images with lung are needed, got {len(bare)} without ({named}). Give masks of the lungs.")
    if bare:
        logger.info("%d of %d images hold no lung and are left out: %s", len(bare), len(looked), named)
