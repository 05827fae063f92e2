"""Training, validation and test slices with image-level labels; lesion masks reach the test only."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...files import sha256
from ...lung_network.methods import THRESHOLD
from ..guards import refuse_failed, try_each
from ..splits import three_way_split
from .slice_sampling import has_mask, sample_slices
from .slice_sets import lung_slices

logger = logging.getLogger(__name__)

Case = dict[str, Any]
KEPT = (  # of a case
    *("image", "lung", "intensity", "grey_window", "picture_axes", "case", "patient", "source", "slice"),
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
    scored: bool = False,
    all_tested: bool = False,
    lungs: str = THRESHOLD,
) -> dict[str, list[Case]]:
    """Split slices into training, validation and test by patient; lesion masks reach the test only.

    Volumes: slices that hold lung are used, and the mask shows which have lesions. All of them are tested, with label 1
    for any lesion. Training and validation can leave out slices whose label is doubtful. Images: copies of the same
    content are used once. Images at the ends of scans are left out: those with an empty lung mask or, without a mask,
    those in which no lung is found. Images without a patient count as one patient each. Images for testing only are
    test slices beside those of the test patients; their patients, and those with a copy of them, are not trained on.

    A number of training slices can be sampled, one per patient in turn until the number is reached. Lung is searched in
    the order of the sampling, so in few more images than are used; for validation and test, in all of them.

    Args:
        datalist: images, whose ``label`` is 0 or 1, with ``truth``, the path of a lesion mask, if there is one; and
            volumes, whose ``label`` is the path of a lesion mask.
        masks: see ``common.datasets.ct.slice_sets.lung_slices``.
        shares: of the patients, see ``common.datasets.splits.three_way_split``.
        seed: of the split and the sampling.
        smallest_lesion: in pixels; slices with a smaller lesion are not trained on.
        normal_gap: in slices; normal slices this near to one with a lesion are not trained on.
        training_slices: maximum number of normal slices and of slices with lesions to train on, None for all.
        scored: refuse data whose test slices have no ground truth: see ``scored_slices``.
        all_tested: all slices are test slices, as in an evaluation on another source.
        lungs: how lung is looked for in images without a mask, see ``common.lung_network.methods.find_lung``.

    Returns:
        ``training``, ``validation`` and ``test``: items with ``image``, ``lung`` if given, ``intensity``,
        ``picture_axes`` of images, ``case``, ``patient``, ``source``, ``slice`` and ``label``, 0 or 1. In the test,
        those that have a lesion mask have its path, ``truth``.

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
    _check_masks(datalist)
    cases = _pictures([case for case in datalist if not has_mask(case)])
    if volumes:
        cases += _slices(volumes, masks, smallest_lesion, normal_gap)
    sides = _all_tested(cases) if all_tested else _sides(_with_patients(cases), shares, seed)
    sets = {
        name: [_item(case, tested=name == "test") for case in members]
        for name, members in sample_slices(sides, (None, None) if all_tested else numbers, seed, lungs).items()
    }
    for name, items in [("test", sets["test"])] if all_tested else sets.items():
        ill, people = sum(item["label"] for item in items), len({item["patient"] for item in items})
        logger.info("%s: %d slices of %d patients, %d with lesions.", name.capitalize(), len(items), people, ill)
    if not all_tested:
        _check_sets(sets, shares)
    if scored:
        scored_slices(sets["test"])
    elif sets["test"] and not any("truth" in item for item in sets["test"]):
        logger.info("No test slice has a mask of lesions. Training needs none; evaluating does.")
    return sets


def scored_slices(test: Sequence[Case]) -> list[Case]:
    """The test slices whose lesions are known: those with a mask, and normal ones, which have none.

    Args:
        test: slices with ``label``, and ``truth`` if they have a mask.

    Raises:
        ValueError: if no slice has a mask.

    Example:
        >>> scored_slices([{"label": 1, "truth": "a_mask.png"}, {"label": 0}, {"label": 1}])
        [{'label': 1, 'truth': 'a_mask.png'}, {'label': 0}]
    """
    found = [item for item in test if "truth" in item or item["label"] == 0]
    if test and not any("truth" in item for item in found):
        raise ValueError(
            f"Heatmaps are scored against masks of lesions, but none of the {len(test)} test slices has one. CC-CCII "
            "has them in image/ and mask/, a labels.csv in the column mask. Or score the weights on another source, "
            "with --target and --target_dir."
        )
    if len(found) < len(test):
        logger.warning("%d test slices with lesions have no mask and are not scored.", len(test) - len(found))
    return found


def _all_tested(cases: Sequence[Case]) -> dict[str, list[Case]]:
    test = [{**case, "patient": case["patient"] or str(case["case"])} for case in cases]
    return {"training": [], "validation": [], "test": test}


def _sides(cases: Sequence[Case], shares: Sequence[float], seed: int) -> dict[str, list[Case]]:
    """Split cases by patient; what is for testing only, and all else of its patients, is test."""
    held = [case for case in cases if case.get("only_tested")]
    people = {case["patient"] for case in held}.union(*(case["copied_from"] for case in held))
    held += [case for case in cases if not case.get("only_tested") and case["patient"] in people]
    if not held:
        return three_way_split(cases, shares, seed)
    logger.info("%d slices of %d patients are for testing only.", len(held), len(people))
    taken = {id(case) for case in held}
    sides = three_way_split([case for case in cases if id(case) not in taken], shares, seed)
    return {**sides, "test": [*sides["test"], *held]}


def _item(case: Case, tested: bool) -> Case:
    """Return what a set may know of a slice: its lesion mask only in the test."""
    item = {key: case[key] for key in KEPT if case.get(key) is not None} | {"label": int(case["infected"])}
    truth = case["label"] if has_mask(case) else case.get("truth")
    return item | ({"truth": truth} if tested and truth is not None else {})


def _check_masks(datalist: Sequence[Case]) -> None:
    """Raise ValueError if a lesion mask would reach training under another name."""
    given = [case["label"] if has_mask(case) else case.get("truth") for case in datalist]
    masks = {Path(mask).resolve() for mask in given if mask is not None}
    for case in datalist:
        for key in ("image", "lung"):
            if case.get(key) is not None and Path(case[key]).resolve() in masks:
                raise ValueError(
                    f"{case['case']}: a lesion mask is for testing only, got {case[key]} as {key} as well, so "
                    "training would see it. Give a lung mask, or none: then the lung is found in the image."
                )


def _pictures(pictures: Sequence[Case]) -> list[Case]:
    """Return images with ``slice`` and ``infected``, each content once; ValueError for impossible labels.

    Of copies, one with a mask is kept; ``copied_from`` holds the patients of the others.
    """
    pictures = sorted(pictures, key=lambda case: "truth" not in case)
    wrong = [f"{case['image']} has {case['label']!r}" for case in pictures if case["label"] not in (0, 1)]
    if wrong:
        raise ValueError(
            f"Labels are 0 (normal) or 1 (lesions), {len(wrong)} are not: {'; '.join(wrong[:NAMED])}. Correct them."
        )
    first: dict[str, Case] = {}
    copied: dict[str, set[Any]] = {}
    clashes = []
    contents = list(try_each(lambda case: sha256(Path(case["image"])), pictures, lambda case: case))
    refuse_failed(contents, len(pictures), "images")
    for case, content in zip(pictures, contents, strict=True):
        earlier = first.setdefault(str(content), case)
        copied.setdefault(str(content), set()).add(case["patient"])
        if earlier["label"] != case["label"]:
            clashes.append(f"{earlier['image']} has {earlier['label']}, {case['image']} has {case['label']}")
    if clashes:
        raise ValueError(
            f"An image must have one label, {len(clashes)} have two: {'; '.join(clashes[:NAMED])}. Remove one of each."
        )
    if len(first) < len(pictures):
        logger.warning("%d images are copies of others and are left out.", len(pictures) - len(first))
    return [
        {**case, "slice": 0, "infected": case["label"] == 1, "copied_from": copied[content] - {case["patient"], None}}
        for content, case in first.items()
    ]


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
