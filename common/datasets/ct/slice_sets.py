"""Training, validation and test slices (Maganaris et al., *Evaluating transferability*, section 3.1 and table 1)."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import partition_dataset

from ...run.distributed import is_main
from ...run.progress import progress
from ...tables import write_csv
from ..given_sets import given_sets
from ..guards import Failed, refuse_failed, try_each
from ..splits import without_held_out

logger = logging.getLogger(__name__)

Case = dict[str, Any]
SHARES = {"training": 440, "validation": 60, "test": 214}  # of the lung slices of CT 1-9, table 1


def all_slices(datalist: Sequence[Case], masks: Callable[[Case], Mapping[Any, Any]]) -> list[Case]:
    """List the slices of volumes as cases of one slice each.

    Args:
        datalist: volumes.
        masks: transform that reads ``label`` and ``lung``, 0 or 1, (1, X, Y, Z) in LPS order. It does not receive the
            image of a case that has a lung mask, unless masks are resampled.

    Returns:
        The cases, with ``slice``, ``in_lung`` and ``infected``: whether the slice holds lung, and infection.

    Raises:
        ValueError: naming every case that cannot be used, or when no slice holds lung.
    """
    slices: list[Case] = []
    failures: list[Failed] = []

    def look(case: Case) -> list[tuple[bool, bool]]:
        item = masks(
            {
                key: value
                for key, value in case.items()
                if key != "image" or not case.get("lung") or "resample_masks" in case
            }
        )
        lung, infection = (np.atleast_1d(np.asarray(item[key]).any(axis=(0, 1, 2))) for key in ("lung", "label"))
        return [(bool(inside), bool(ill)) for inside, ill in zip(lung, infection, strict=True)]

    results = try_each(look, datalist, lambda case: case)
    bar = progress(results, desc="Looking for slices with lung", total=len(datalist), unit="volume")
    for case, found in zip(datalist, bar, strict=True):
        if isinstance(found, Failed):
            failures.append(found)
            continue
        slices += [
            {**case, "slice": index, "in_lung": inside, "infected": ill} for index, (inside, ill) in enumerate(found)
        ]
    refuse_failed(failures, len(datalist))
    with_lung = [case for case in slices if case["in_lung"]]
    if not with_lung:
        raise ValueError(f"Slices with lung are needed, got none in {len(datalist)} volumes. Check the lung masks.")
    logger.info(
        "%d volumes, %d slices, %d of them with lung, %d of these with infection.",
        *(len(datalist), len(slices), len(with_lung), sum(case["infected"] for case in with_lung)),
    )
    return slices


def lung_slices(datalist: Sequence[Case], masks: Callable[[Case], Mapping[Any, Any]]) -> list[Case]:
    """List the slices that hold lung; see ``all_slices``."""
    return [case for case in all_slices(datalist, masks) if case["in_lung"]]


def write_numbers(path: str | Path, slices: Sequence[Case], sets: Mapping[str, Sequence[Case]]) -> None:
    """Write the numbers of table 1: volumes, patients and slices of a source, and of each set.

    Args:
        path: CSV file, with the rows ``all``, ``training``, ``validation`` and ``test``.
        slices: from ``all_slices``.
        sets: the slices of each set.
    """
    rows = []
    for name, cases in {"all": slices, **sets}.items():
        files, patients = ({str(case[key]) for case in cases} for key in ("image", "patient"))
        inside, ill = (sum(case[key] for case in cases) for key in ("in_lung", "infected"))
        rows.append([name, len(files), len(patients), len(cases), inside, ill])
    write_csv(Path(path), ["row", "volumes", "patients", "slices", "with_lung", "with_infection"], rows)


def choose_slices(slices: Sequence[Case], count: int, seed: int) -> list[Case]:
    """Choose slices at random, half of them with infection. If one kind runs short, the other fills up.

    The choice for a smaller ``count`` is part of the choice for a larger one, unless one kind runs short.
    """
    healthy, ill = shuffled(slices, seed)
    wanted = min(count, len(slices))
    infected = min(len(ill), max(wanted // 2, wanted - len(healthy)))
    return ill[:infected] + healthy[: wanted - infected]


def shuffled(slices: Sequence[Case], seed: int) -> tuple[list[Case], list[Case]]:
    """Return slices without and with infection, each shuffled by the seed."""
    generator = random.Random(seed)
    kinds = [[case for case in slices if case["infected"] is ill] for ill in (False, True)]
    for kind in kinds:
        generator.shuffle(kind)
    return kinds[0], kinds[1]


def slice_sets(
    datalist: Sequence[Case],
    masks: Callable[[Case], Mapping[Any, Any]],
    kind: str = "patient",
    fold: int = 0,
    folds: int = 5,
    seed: int = 0,
    training: int = 440,
    validation: int = 60,
    all_may_be_test: bool = False,
    numbers: str | Path = "",
) -> dict[str, list[Case]]:
    """Split slices that hold lung into training, validation and test; half of the training slices have infection.

    ``patient``: the patients of fold ``fold`` are the test, those of the next fold the validation, all others the
    training. The test is the same for any number of training slices. ``paper``: slices are drawn over all patients, as
    in the paper, so neighbouring slices of one patient are in training and test. Each fold is another draw. If a kind
    has too few slices, it is divided in the paper's proportions, 440 : 60 : 214. ``all``: every slice is test, as the
    paper tests a target without re-training. But for ``all``, cases that have a ``set`` are in it; see
    ``common.datasets.given_sets``.

    Args:
        datalist: volumes, with ``patient``.
        masks: see ``lung_slices``.
        kind: ``patient``, ``paper`` or ``all``.
        fold: which part is the test.
        folds: number of parts into which patients are divided. 0: no slice is held out.
        seed: of folds and draws.
        training: maximum number of training slices.
        validation: maximum number of validation slices.
        all_may_be_test: whether these are cases that the network was not trained on, so that the kind may be ``all``.
        numbers: CSV file for the numbers of table 1, see ``write_numbers``; '' writes none.

    Returns:
        ``training``, ``validation`` and ``test``: cases with ``slice``.

    Raises:
        ValueError: for an unknown kind, ``all`` where it is not allowed, fewer patients than folds, counts below 1, an
            empty set, or cases that cannot be used.
    """
    if kind not in ("patient", "paper", "all"):
        raise ValueError(f"Unknown split {kind!r}. Choose 'patient' or 'paper', or 'all' to evaluate a target.")
    if kind == "all" and not all_may_be_test:
        raise ValueError(
            "--split all takes every slice with lung as test, so it is for evaluating a target that the network was "
            "not trained on, not for a training or the source itself. Evaluate with another --target (or --target_dir, "
            "--target_datalist) than the source, or choose --split patient or paper."
        )
    if training < 1 or validation < 1:
        raise ValueError(f"Training and validation slices are 1 or more, got {training} and {validation}.")
    given = given_sets(datalist, fold, tested=True) if kind != "all" and folds else None
    patients = sorted({str(case["patient"]) for case in datalist})
    if given is None and kind == "patient" and folds and not (3 <= folds <= len(patients) and 0 <= fold < folds):
        raise ValueError(
            "Folds are 3 or more, for training, validation and test, and at most as many as patients; fold is below "
            f"them. Got {len(patients)} patients, {folds} folds, fold {fold}. Change --folds, --fold, or add patients."
        )
    every = all_slices(datalist, masks)
    slices = [case for case in every if case["in_lung"]]
    wanted = {"training": training, "validation": validation}
    if kind == "all":
        sets: dict[str, list[Case]] = {"training": [], "validation": [], "test": slices}
    elif not folds:
        sets = without_held_out(slices)
        sets["training"] = choose_slices(sets["training"], training, seed)
    elif given is not None:
        sides = given_sets(slices, fold, tested=True) or {}
        sets = {
            name: choose_slices(cases, wanted[name], seed) if name in wanted else cases for name, cases in sides.items()
        }
    elif kind == "patient":
        parts = partition_dataset(patients, num_partitions=folds, shuffle=True, seed=seed)
        sets = _by_patient(slices, parts[fold], parts[(fold + 1) % folds], wanted, seed)
    else:
        sets = _by_slice(slices, wanted, seed + 1000 * fold)
    for name, members in sets.items():
        if not members and folds and kind != "all":
            raise ValueError(f"No slice is left for {name}, of {len(slices)} with lung. Give more patients or slices.")
        infected, people = sum(case["infected"] for case in members), len({case["patient"] for case in members})
        logger.info(
            "%s: %d slices of %d patients, %d with infection.", name.capitalize(), len(members), people, infected
        )
    if numbers and is_main():
        write_numbers(numbers, every, sets)
    return sets


def _by_patient(
    slices: Sequence[Case], tested: Sequence[str], validated: Sequence[str], wanted: Mapping[str, int], seed: int
) -> dict[str, list[Case]]:
    """Choose slices from the patients of each set; the test has all slices of its patients."""
    sets: dict[str, list[Case]] = {name: [] for name in SHARES}
    for case in slices:
        patient = str(case["patient"])
        sets["test" if patient in tested else "validation" if patient in validated else "training"].append(case)
    return {name: choose_slices(cases, wanted[name], seed) if name in wanted else cases for name, cases in sets.items()}


def _by_slice(slices: Sequence[Case], wanted: Mapping[str, int], seed: int) -> dict[str, list[Case]]:
    """Choose from all slices, each kind separately, so that a test with both kinds remains."""
    sets: dict[str, list[Case]] = {name: [] for name in SHARES}
    for cases in shuffled(slices, seed):
        numbers = {name: count // 2 for name, count in wanted.items()}
        if sum(numbers.values()) >= len(cases):
            numbers = {name: len(cases) * SHARES[name] // sum(SHARES.values()) for name in wanted}
        ends = numbers["training"], numbers["training"] + numbers["validation"]
        sets["training"] += cases[: ends[0]]
        sets["validation"] += cases[ends[0] : ends[1]]
        sets["test"] += cases[ends[1] :]
    return sets
