"""Training, validation and test slices with image-level labels; lesion masks reach the test only."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...files import sha256
from ..guards import refuse_failed, try_each
from ..splits import three_way_split
from .slice_sampling import has_mask, sample_slices
from .slice_sets import lung_slices

logger = logging.getLogger(__name__)

Case = dict[str, Any]
KEPT = (  # of a case
    *("image", "lung", "intensity", "picture_axes", "case", "patient", "source", "slice"),
    *("label_map", "resample_masks"),
)
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
    """Split slices into training, validation and test by patient; lesion masks reach the test only.

    Volumes: slices that hold lung are used, and the mask shows which have lesions. All of them are tested, with label 1
    for any lesion. Training and validation can leave out slices whose label is doubtful. Images: copies of the same
    content are used once. Images at the ends of scans are left out: those with an empty lung mask or, without a mask,
    without lung by threshold. Images without a patient count as one patient each.

    A number of training slices can be sampled, one per patient in turn until the number is reached. Lung is searched in
    the order of the sampling, so in few more images than are used; for validation and test, in all of them.

    Args:
        datalist: images, whose ``label`` is 0 or 1, and volumes, whose ``label`` is the path of a lesion mask.
        masks: see ``common.datasets.ct.slice_sets.lung_slices``.
        shares: of the patients, see ``common.datasets.splits.three_way_split``.
        seed: of the split and the sampling.
        smallest_lesion: in pixels; slices with a smaller lesion are not trained on.
        normal_gap: in slices; normal slices this near to one with a lesion are not trained on.
        training_slices: maximum number of normal slices and of slices with lesions to train on, None for all.

    Returns:
        ``training``, ``validation`` and ``test``: items with ``image``, ``lung`` if given, ``intensity``,
        ``picture_axes`` of images, ``case``, ``patient``, ``source``, ``slice`` and ``label``, 0 or 1. In the test,
        those of volumes have ``truth``, the path of the lesion mask.

    Raises:
        ValueError: for labels other than 0 and 1, two labels of the same image, a lesion mask that is also given as
            image or lung, a class that training lacks, an empty set, too few patients, images of which none holds lung,
            or cases that cannot be used.
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
    _check_sets(sets, shares)
    return sets


def _item(case: Case, tested: bool) -> Case:
    """Return what a set may know of a slice: its lesion mask only in the test."""
    item = {key: case[key] for key in KEPT if case.get(key) is not None} | {"label": int(case["infected"])}
    return item | ({"truth": case["label"]} if tested and has_mask(case) else {})


def _check_masks(datalist: Sequence[Case], volumes: Sequence[Case]) -> None:
    """Raise ValueError if a lesion mask would reach training under another name."""
    masks = {Path(case["label"]).resolve() for case in volumes}
    for case in datalist:
        for key in ("image", "lung"):
            if case.get(key) is not None and Path(case[key]).resolve() in masks:
                raise ValueError(
                    f"{case['case']}: a lesion mask is for testing only, got {case[key]} as {key} as well, so "
                    "training would see it. Give a lung mask, or none: then lungs are found by threshold."
                )


def _pictures(pictures: Sequence[Case]) -> list[Case]:
    """Return images with ``slice`` and ``infected``, each content once; ValueError for impossible labels."""
    wrong = [f"{case['image']} has {case['label']!r}" for case in pictures if case["label"] not in (0, 1)]
    if wrong:
        raise ValueError(
            f"Labels are 0 (normal) or 1 (lesions), {len(wrong)} are not: {'; '.join(wrong[:NAMED])}. Correct them."
        )
    first: dict[str, Case] = {}
    clashes = []
    contents = list(try_each(lambda case: sha256(Path(case["image"])), pictures, lambda case: case))
    refuse_failed(contents, len(pictures), "images")
    for case, content in zip(pictures, contents, strict=True):
        earlier = first.setdefault(str(content), case)
        if earlier["label"] != case["label"]:
            clashes.append(f"{earlier['image']} has {earlier['label']}, {case['image']} has {case['label']}")
    if clashes:
        raise ValueError(
            f"An image must have one label, {len(clashes)} have two: {'; '.join(clashes[:NAMED])}. Remove one of each."
        )
    if len(first) < len(pictures):
        logger.warning("%d images are copies of others and are left out.", len(pictures) - len(first))
    return [{**case, "slice": 0, "infected": case["label"] == 1} for case in first.values()]


def _slices(
    volumes: Sequence[Case], masks: Callable[[Case], Mapping[Any, Any]], smallest_lesion: int, normal_gap: int
) -> list[Case]:
    """Return slices with lung, with ``infected`` and ``doubtful``: whether the label is unsuitable for training."""
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
        logger.info("%d slices with a doubtful label are not trained on.", left_out)
    return slices


def _with_patients(cases: Sequence[Case]) -> list[Case]:
    """Return cases, each with a patient."""
    unnamed = [str(case["case"]) for case in cases if case.get("patient") is None]
    if unnamed:
        logger.warning(
            "%d cases name no patient (%s, ...) and count as one patient each: slices of one patient may be in "
            "training and in test, which makes scores too high. Name the patients.",
            *(len(unnamed), ", ".join(unnamed[:3])),
        )
    return [case if case.get("patient") is not None else {**case, "patient": str(case["case"])} for case in cases]


def _check_sets(sets: Mapping[str, Sequence[Case]], shares: Sequence[float]) -> None:
    """Raise ValueError for an empty set or a class that training lacks; warn if the source reveals the class."""
    items = sets["training"]
    sources = [sorted({str(item["source"]) for item in items if item["label"] == label}) for label in (0, 1)]
    for name, found in zip(("normal slices", "slices with lesions"), sources, strict=True):
        if not found:
            raise ValueError(
                f"Training needs normal slices and slices with lesions, got {len(items)} slices and no {name}. Add "
                "patients who have some, or change seed, shares, smallest_lesion or normal_gap."
            )
    for name, share in zip(("validation", "test"), shares[1:], strict=True):
        if not sets[name] and share:
            raise ValueError(f"No slice is left for {name}. Add patients, or change seed or shares.")
    if not set(sources[0]) & set(sources[1]):
        logger.warning(
            "All normal slices come from %s, all slices with lesions from %s. A network may learn to tell the sources "
            "apart instead of the disease.",
            *map(", ".join, sources),
        )
