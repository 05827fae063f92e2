"""Splits by patient: hold out a fold, or split into training, validation and test."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import nibabel
from monai.data import partition_dataset, partition_dataset_classes

from .given_sets import SETS, given_sets

logger = logging.getLogger(__name__)


def axial_slices(path: Any) -> int:
    """Return the number of axial slices of a NIfTI file, from its header."""
    image: Any = nibabel.load(path)
    axis = [code in "IS" for code in nibabel.aff2axcodes(image.affine)].index(True)
    return int(image.shape[axis])


def one_case_per_slice(datalist: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Split volumes into cases of one slice each; cases that are slices or images stay unchanged."""
    cases: list[dict[str, Any]] = []
    for case in datalist:
        if "slice" in case or not str(case["image"]).endswith((".nii", ".nii.gz")):
            cases.append(case)
        else:
            count = axial_slices(case["image"])
            cases += [{**case, "slice": index, "case": f"{case['case']}/{index:03d}"} for index in range(count)]
    return cases


def _unnamed(datalist: Sequence[dict[str, Any]]) -> str:
    """Describe the cases without a patient: their number and the first names; empty if all have one."""
    names = [str(case["case"]) for case in datalist if case.get("patient") is None]
    return f"{len(names)} cases ({', '.join(names[:3])}, ...)" if names else ""


def without_held_out(datalist: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """All cases to train on, and none for validation, as ``--folds 0`` asks; those with the set ``test`` stay apart."""
    sets: dict[str, list[dict[str, Any]]] = {name: [] for name in SETS}
    for case in datalist:
        sets["test" if case.get("set") == "test" else "training"].append(case)
    logger.warning(
        "All %d cases are trained on and none is held out: the last epoch becomes model.pt, and nothing says how good "
        "it is.",
        len(sets["training"]),
    )
    return sets


def split(
    datalist: Sequence[dict[str, Any]],
    kind: str = "auto",
    fold: int = 0,
    folds: int = 5,
    seed: int = 0,
    stratify: str | None = None,
    test_set: bool | str = False,
    alike: Callable[[Sequence[dict[str, Any]]], list[str]] | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Split cases into training, validation and, if wanted, test: one or two of ``folds`` random parts are held out.

    Cases that have a ``set`` are in it, whatever the other arguments say; see ``common.datasets.given_sets``.

    Args:
        datalist: cases with ``patient`` (None where unknown).
        kind: ``patient`` keeps all cases of a patient on one side. ``slice`` draws single slices, so slices of one
            patient are on both sides and the scores are too high. ``similar`` draws slices, too, but keeps those that
            look alike on one side, as ``alike`` finds them. ``auto`` is ``patient`` if every case names one, else
            ``slice``.
        fold: which part is held out, 0 to ``folds`` - 1: for the test if there is one, else for validation.
        folds: number of parts, 2 or more; with a test 3 or more. 0: all cases are trained on.
        seed: of the draw.
        stratify: key of a class that is spread evenly over the folds.
        test_set: whether ``fold`` is a test and the part after it the validation; ``auto``: by patients only, and if
            there are at least 3 folds. Cases with the set ``test`` are the test in any case.
        alike: gives the group of each slice for ``similar``, such as ``common.datasets.ct.similar.look_alikes``.

    Returns:
        ``{"training": [...], "validation": [...]}``, disjoint and complete; and ``test``, if wanted or if cases have
        sets.

    Raises:
        ValueError: for an unknown kind, a fold out of range, missing patients, or fewer groups (of a class, if
            stratified) than folds.

    Example:
        >>> sides = split(lesions("/data/medseg"), fold=1, folds=5)
        >>> len(sides["training"]), len(sides["validation"])
    """
    if kind not in ("auto", "patient", "slice", "similar", "paper"):
        raise ValueError(f"Unknown split {kind!r}. Choose 'auto', 'patient', 'slice', 'similar' or 'paper'.")
    if test_set not in (True, False, "auto"):
        raise ValueError(f"Unknown test_set {test_set!r}. Choose True, False or 'auto'.")
    apart = [case for case in datalist if case.get("set") == "test"]
    numbered = {case.get("set") for case in datalist if isinstance(case.get("set"), int)}
    if folds == 0:
        return without_held_out(datalist)
    third = not apart and (test_set is True or (test_set == "auto" and len(numbered) >= 3))
    given = given_sets(datalist, fold, tested=third)
    if given is not None:
        return given
    datalist = [case for case in datalist if case.get("set") != "test"]
    if folds < 2 or not 0 <= fold < folds:
        raise ValueError(
            f"Folds are 2 or more, or 0 to train on everything, and fold is 0 to folds - 1; got fold {fold} of {folds}."
        )
    if third and folds < 3:
        raise ValueError(f"Training, validation and test need 3 folds or more, got {folds}. Raise --folds.")
    unnamed = _unnamed(datalist)
    if kind == "patient" and unnamed:
        raise ValueError(
            f"--split patient needs a patient for every case; the source names none for {unnamed}. "
            f"Use --split {'slice' if 'intensity' in datalist[0] else 'paper'}, "
            "and state it with the result."
        )
    by_patient = kind == "patient" or (kind == "auto" and not unnamed)
    by_slice = kind in ("auto", "slice", "similar") and not by_patient
    cases = one_case_per_slice(datalist) if by_slice else list(datalist)
    groups = [str(case["patient"]) if by_patient else str(position) for position, case in enumerate(cases)]
    if kind == "similar":
        if alike is None:
            raise ValueError("--split similar is for CT slices. Choose patient or slice.")
        groups = alike(cases)
    unit = "patient" if by_patient else "slice group" if kind == "similar" else "slice" if by_slice else "case"
    if len(set(groups)) < folds:
        raise ValueError(f"{folds} folds need as many {unit}s, got {len(set(groups))}. Lower --folds.")
    names = sorted(set(groups)) if by_patient or kind == "similar" else groups
    if stratify:
        classes = {group: str(case[stratify]) for group, case in zip(groups, cases, strict=True)}
        counts = Counter(classes.values())
        rarest = min(counts, key=lambda name: counts[name])
        if counts[rarest] < folds:
            raise ValueError(
                f"{folds} folds need as many {unit}s of every class; {rarest} has {counts[rarest]}. Lower --folds."
            )
        labels: Any = [classes[name] for name in names]  # MONAI's annotation says int, any class will do
        parts = partition_dataset_classes(names, labels, num_partitions=folds, shuffle=True, seed=seed)
    else:
        parts = partition_dataset(names, num_partitions=folds, shuffle=True, seed=seed)
    third = third or (test_set == "auto" and not apart and by_patient and folds >= 3)
    held_out = {"test": set(parts[fold])} if third else {}
    held_out["validation"] = set(parts[(fold + third) % folds])
    sizes = {name: len(members) for name, members in held_out.items()}
    sizes["training"] = len(names) - sum(sizes.values())
    sides: dict[str, list[dict[str, Any]]] = {name: [] for name in SETS if name in sizes}
    for group, case in zip(groups, cases, strict=True):
        sides[next((name for name, members in held_out.items() if group in members), "training")].append(case)
    logger.info(
        "Split by %s: fold %d of %d held out, %s.",
        *(unit, fold, folds, ", ".join(f"{sizes[name]} {name} {unit}s" for name in sides)),
    )
    return {**sides, **({"test": apart} if apart else {})}


def three_way_split(
    datalist: Sequence[dict[str, Any]], shares: Sequence[float] = (35, 5, 10), seed: int = 0
) -> dict[str, list[dict[str, Any]]]:
    """Split cases into training, validation and test, all cases of a patient in one set.

    No set with a share stays empty: each gets one patient, and each further patient goes to the set that lacks most of
    its share. With shares of 35, 5 and 10, 50 patients are split into exactly these numbers, and 4 patients into 2, 1
    and 1. Cases that have a ``set`` are in it; see ``common.datasets.given_sets``.

    Args:
        datalist: cases with ``patient``.
        shares: of training, validation and test; of any sum. 0 leaves validation or test empty: ``[1, 0, 0]`` trains
            on everything.
        seed: of the draw.

    Returns:
        ``{"training": [...], "validation": [...], "test": [...]}``, disjoint and complete.

    Raises:
        ValueError: for shares that are not three positive numbers, missing patients, or fewer than three patients.
    """
    if len(shares) != 3 or not all(0 <= share < float("inf") for share in shares) or not shares[0]:
        raise ValueError(
            f"Shares are three numbers, for training, validation and test, the first above 0; got {shares}."
        )
    if not any(shares[1:]):
        return without_held_out(datalist)
    given = given_sets(datalist, tested=True)
    if given is not None:
        return given
    unnamed = _unnamed(datalist)
    if unnamed:
        raise ValueError(
            f"A split by patient needs a patient for every case; the source names none for {unnamed}. Name them."
        )
    names = sorted({str(case["patient"]) for case in datalist})
    counts = [int(share > 0) for share in shares]
    if len(names) < sum(counts):
        raise ValueError(
            f"Training, validation and test need a patient each, got {len(names)}: {', '.join(names) or 'none'}. "
            "Add patients."
        )
    while sum(counts) < len(names):
        lacking = [share * len(names) / sum(shares) - count for share, count in zip(shares, counts, strict=True)]
        counts[lacking.index(max(lacking))] += 1
    # MONAI rounds each share by itself, which may lose patients; whole numbers stay what they are
    used = [(side, count) for side, count in zip(SETS, counts, strict=True) if count]
    parts = partition_dataset(names, ratios=[count for _, count in used], shuffle=True, seed=seed)
    side_of = {name: side for (side, _), part in zip(used, parts, strict=True) for name in part}
    sides: dict[str, list[dict[str, Any]]] = {side: [] for side in SETS}
    for case in datalist:
        sides[side_of[str(case["patient"])]].append(case)
    logger.info("Split by patient: %d training, %d validation and %d test patients.", *counts)
    return sides
