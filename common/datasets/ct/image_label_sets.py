"""Slices to train, validate and test on by image-level labels; masks of lesions reach the test alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...files import sha256
from ..splits import three_way_split
from .slice_sampling import has_mask, sample_slices
from .slice_sets import lung_slices

logger = logging.getLogger(__name__)

Case = dict[str, Any]
KEPT = ("image", "lung", "intensity", "picture_axes", "case", "patient", "source", "slice")  # of a case
NAMED = 5  # files in a message


def image_label_sets(
    datalist: Sequence[Case],
    masks: Callable[[Case], Mapping[Any, Any]],
    shares: Sequence[float] = (7, 1, 2),
    seed: int = 0,
    smallest_lesion: int = 1,
    normal_gap: int = 0,
    training_slices: Sequence[int | None] | None = None,
) -> dict[str, list[Case]]:
    """Slices to train, validate and test on, each patient in one of the sets; lesion masks reach the test alone.

    Of volumes, slices that hold lung are taken, and the mask says which have lesions. All of them are tested, with
    label 1 for any lesion. To train and validate, slices whose label is in doubt can be left out. Of pictures, those of
    the same content are taken once, and those left out whose lung mask is empty or, without one, where no lung is found
    by threshold: the ends of scans. Pictures without patient count as a patient each.

    Slices to train on can be drawn, each patient giving one in turn until the number is reached. Lung is looked for in
    the order of the draw, and so in few pictures more than are drawn; in all of them to validate and to test.

    Args:
        datalist: pictures, whose ``label`` is 0 or 1, and volumes, whose ``label`` is the path of a lesion mask.
        masks: see ``common.datasets.ct.slice_sets.lung_slices``.
        shares: of the patients, see ``common.datasets.splits.three_way_split``.
        seed: of the split and the draw.
        smallest_lesion: pixels; slices with less of a lesion are not trained on.
        normal_gap: slices; normal ones this near to one with a lesion are not trained on.
        training_slices: the most normal slices and the most slices with lesions to train on, None for all.

    Returns:
        ``training``, ``validation`` and ``test``: items with ``image``, ``lung`` where given, ``intensity``,
        ``picture_axes`` of pictures, ``case``, ``patient``, ``source``, ``slice`` and ``label``, 0 or 1. In the test,
        those of volumes have ``truth``, the path of the lesion mask.

    Raises:
        ValueError: for labels other than 0 and 1, two labels of the same picture, a lesion mask that is given as image
            or lung too, a class that training lacks, a set that stays empty, too few patients, pictures none of which
            holds lung, or cases that cannot be used.
    """
    if smallest_lesion < 1 or normal_gap < 0:
        raise ValueError(
            f"smallest_lesion is 1 pixel or more and normal_gap 0 slices or more, got {smallest_lesion}, {normal_gap}."
        )
    numbers: Sequence[int | None] = (None, None) if training_slices is None else training_slices
    if len(numbers) != 2 or not all(number is None or (isinstance(number, int) and number > 0) for number in numbers):
        raise ValueError(
            "training_slices is two numbers, of normal slices and of slices with lesions, each 1 or more, or None for "
            f"all; got {training_slices}."
        )
    volumes = [case for case in datalist if has_mask(case)]
    _check_masks(datalist, volumes)
    cases = _pictures([case for case in datalist if not has_mask(case)])
    if volumes:
        cases += _slices(volumes, masks, smallest_lesion, normal_gap)
    sides = three_way_split(_with_patients(cases), shares, seed)
    sets = {
        name: [_item(case, tested=name == "test") for case in members]
        for name, members in sample_slices(sides, numbers, seed).items()
    }
    for name, items in sets.items():
        ill, people = sum(item["label"] for item in items), len({item["patient"] for item in items})
        logger.info("%s: %d slices of %d patients, %d with lesions.", name.capitalize(), len(items), people, ill)
    _check_sets(sets)
    return sets


def _item(case: Case, tested: bool) -> Case:
    """What may be known of a slice: its lesion mask only where it is tested."""
    item = {key: case[key] for key in KEPT if case.get(key) is not None} | {"label": int(case["infected"])}
    return item | ({"truth": case["label"]} if tested and has_mask(case) else {})


def _check_masks(datalist: Sequence[Case], volumes: Sequence[Case]) -> None:
    """ValueError where a lesion mask would come into training by another name."""
    masks = {Path(case["label"]).resolve() for case in volumes}
    for case in datalist:
        for key in ("image", "lung"):
            if case.get(key) is not None and Path(case[key]).resolve() in masks:
                raise ValueError(
                    f"{case['case']}: a lesion mask is for testing alone, got {case[key]} as {key} too, by which "
                    "training would see it. Give a mask of the lung, or none: then one is made."
                )


def _pictures(pictures: Sequence[Case]) -> list[Case]:
    """Pictures with ``slice`` and ``infected``, those of the same content once; ValueError where labels cannot be."""
    wrong = [f"{case['image']} has {case['label']!r}" for case in pictures if case["label"] not in (0, 1)]
    if wrong:
        raise ValueError(
            f"Labels are 0 (normal) or 1 (lesions), {len(wrong)} are not: {'; '.join(wrong[:NAMED])}. Correct them."
        )
    first: dict[str, Case] = {}
    clashes = []
    for case in pictures:
        earlier = first.setdefault(sha256(Path(case["image"])), case)
        if earlier["label"] != case["label"]:
            clashes.append(f"{earlier['image']} has {earlier['label']}, {case['image']} has {case['label']}")
    if clashes:
        raise ValueError(
            f"A picture has one label, {len(clashes)} have two: {'; '.join(clashes[:NAMED])}. Remove one of each."
        )
    if len(first) < len(pictures):
        logger.warning("%d pictures are copies of others and are left out.", len(pictures) - len(first))
    return [{**case, "slice": 0, "infected": case["label"] == 1} for case in first.values()]


def _slices(
    volumes: Sequence[Case], masks: Callable[[Case], Mapping[Any, Any]], smallest_lesion: int, normal_gap: int
) -> list[Case]:
    """Slices with lung, with ``infected``, and ``doubtful``: whether the label is not to be trained on."""
    doubtful: dict[str, np.ndarray] = {}

    def measured(case: Case) -> Mapping[Any, Any]:
        item = masks(case)
        pixels = np.asarray(item["label"]).sum(axis=(0, 1, 2), dtype=int)
        near = np.convolve(pixels > 0, np.ones(2 * normal_gap + 1), "full")[normal_gap : normal_gap + len(pixels)] > 0
        doubtful[str(case["label"])] = np.where(pixels > 0, pixels < smallest_lesion, near)
        return item

    slices = [
        {**case, "doubtful": bool(doubtful[str(case["label"])][case["slice"]])}
        for case in lung_slices(volumes, measured)
    ]
    left_out = sum(case["doubtful"] for case in slices)
    if left_out:
        logger.info("%d slices whose label is in doubt are not trained on.", left_out)
    return slices


def _with_patients(cases: Sequence[Case]) -> list[Case]:
    """Cases, each with a patient."""
    unnamed = [str(case["case"]) for case in cases if case.get("patient") is None]
    if unnamed:
        logger.warning(
            "%d cases name no patient (%s, ...) and count as one each: slices of one patient may lie in training and "
            "test, so that scores flatter. Name the patients.",
            *(len(unnamed), ", ".join(unnamed[:3])),
        )
    return [case if case.get("patient") is not None else {**case, "patient": str(case["case"])} for case in cases]


def _check_sets(sets: Mapping[str, Sequence[Case]]) -> None:
    """ValueError where a set is empty or training lacks a class; a warning where the source tells the class."""
    items = sets["training"]
    sources = [sorted({str(item["source"]) for item in items if item["label"] == label}) for label in (0, 1)]
    for name, found in zip(("normal slices", "slices with lesions"), sources, strict=True):
        if not found:
            raise ValueError(
                f"Training needs normal slices and slices with lesions, got {len(items)} slices and no {name}. Add "
                "patients who have some, or change seed, shares, smallest_lesion or normal_gap."
            )
    for name in ("validation", "test"):
        if not sets[name]:
            raise ValueError(f"No slice is left for {name}. Add patients, or change seed or shares.")
    if not set(sources[0]) & set(sources[1]):
        logger.warning(
            "All normal slices come from %s, all slices with lesions from %s. A network can tell these sources apart "
            "instead of disease.",
            *map(", ".join, sources),
        )
