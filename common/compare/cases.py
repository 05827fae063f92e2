"""The cases that two runs have both scored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..report.html.scores import CASES
from ..run.errors import NothingToDo
from ..settings import check_names
from ..spreadsheets import read_rows
from ..tables import score_of, score_value

KEYS = ("run", "case", "patient", "image", "slice", "frame")  # columns that name a row
COUNTS = ("true_positive", "false_negative", "false_positive", "true_negative")  # pixels, in some tables
KNOWN_BY_TRUTH = ("dice", "iou")  # scores that a case lacks if, and only if, its ground truth lacks the class
SHOWN = 5  # names in a message

Rows = Mapping[tuple[str, ...], Mapping[str, str]]  # of one side, by what names a row


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of the same cases by two runs.

    Args:
        table: name of the table that they are from.
        names: columns that name a case, such as ``case`` and ``slice``.
        keys: their values of each case.
        owners: the patient of each case; the volume, image or clip if patients are not named.
        word: what the owners are, such as ``patients``.
        values: by name of the score: (2, cases), NaN where a run has none.
        alone: scores that only one table has, which are not compared.
    """

    table: str
    names: Sequence[str]
    keys: Sequence[tuple[str, ...]]
    owners: Sequence[str]
    word: str
    values: Mapping[str, np.ndarray]
    alone: Sequence[str] = ()


def read_scores(first: Path, second: Path, table: str = "", chosen: Sequence[str] = ()) -> Scores:
    """Read the tables of cases that two evaluations have written.

    Args:
        first: output folder of an evaluation, or one of its tables of cases; or a variant's folder of
            ``common.reproduce``, whose folds or seeds are read together.
        second: of the other run.
        table: name of the table in folders; by default the first of ``CASES`` that both have.
        chosen: names of scores; by default all.

    Raises:
        FileNotFoundError: for a path that does not exist, or folders without such a table.
        ValueError: for tables of another kind, with other cases or other ground truth, or a score that they lack.
    """
    paths = (first, second)
    name = _table_name(paths, table)
    same = [[file.resolve() for file in _files(path, name).values()] for path in paths]
    if same[0] == same[1]:
        raise ValueError(f"Both runs are {first}: a run has no difference from itself. Give the folders of two runs.")
    lines = [_rows(path, name) for path in paths]
    kinds = [
        _key_names(each[0], path / name if path.is_dir() else path) for each, path in zip(lines, paths, strict=True)
    ]
    if kinds[0] != kinds[1]:
        raise ValueError(
            f"{first} has a row for each {' and '.join(kinds[0])}, {second} for each {' and '.join(kinds[1])}. Give "
            "tables of one kind."
        )
    sides = [{tuple(row[key] for key in kinds[0]): row for row in each} for each in lines]
    for path, each, side in zip(paths, lines, sides, strict=True):
        if len(each) > len(side):
            raise ValueError(f"{path} names {len(each) - len(side)} cases more than once. Each case must have one row.")
    _check_same_cases(paths, sides)
    keys, alone = [*sides[0]], []
    if "truth" in lines[0][0]:
        values = _decisions(paths, sides)
    else:
        held = [[column for column in each[0] if score_of(column)] for each in lines]
        scores = [column for column in held[0] if column in held[1]]
        alone = [column for column in (*held[0], *held[1]) if column not in scores]
        values = {
            score: np.array(
                [
                    [score_value(side[key][score], f"{path}, {'/'.join(key)}, {score}") for key in keys]
                    for path, side in zip(paths, sides, strict=True)
                ]
            )
            for score in scores
        }
        _check_same_truth(paths, sides, values)
    if not values:
        raise ValueError(f"{first} and {second} have no score in common. Give tables of one bundle.")
    check_names("score", chosen, list(values), name)
    values = {score: each for score, each in values.items() if not chosen or score in chosen}
    if not any(np.isfinite(each).all(0).any() for each in values.values()):
        raise NothingToDo(f"No case has {' or '.join(values)} in both {first} and {second}. Choose other scores.")
    people = [[side[key].get("patient", "") for key in keys] for side in sides]
    patients = next((each for each in people if all(each)), [""])  # of either run: old tables name none
    cases = [side[next(key for key in kinds[0] if key != "run")] for side in sides[0].values()]
    named = all(patients)
    return Scores(name, kinds[0], keys, patients if named else cases, "patients" if named else "cases", values, alone)


def _table_name(paths: Sequence[Path], table: str) -> str:
    """Name of the table to read of both runs."""
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"No such file or folder: {path}. Give the output folders of two evaluations.")
    files = [path.name for path in paths if path.is_file()]
    if table and files:
        raise ValueError(f"--table chooses a table in folders, but {files[0]} is a file. Leave one of them out.")
    wanted = table or (files[0] if files else "")
    held = [[name for name in CASES if _files(path, name)] for path in paths]
    found = wanted or next((name for name in CASES if all(name in each for each in held)), "")
    if not found:
        shown = "; ".join(f"{path}: {', '.join(each) or 'none'}" for path, each in zip(paths, held, strict=True))
        raise FileNotFoundError(
            f"Both folders must hold the same table of cases, one of {', '.join(CASES)}. Found in {shown}. Run the "
            "step evaluating for both."
        )
    for path in paths:
        if not _files(path, found):
            raise FileNotFoundError(f"No {found} in {path}. Both runs must have it; choose a table with --table.")
    return found


def _files(path: Path, name: str) -> dict[str, Path]:
    """The table of a run, or those of all runs of a variant by run."""
    if path.is_file():
        return {"": path}
    if (path / name).is_file():
        return {"": path / name}
    return {file.parts[-3]: file for file in sorted(path.glob(f"*/eval/{name}"))}


def _rows(path: Path, name: str) -> list[dict[str, str]]:
    files = _files(path, name).items()
    rows = [{**({"run": run} if run else {}), **row} for run, file in files for row in _table(file)]
    if not rows:
        raise NothingToDo(f"{path}: {name} holds no case.")
    return rows


def _table(path: Path) -> list[dict[str, str]]:
    """Rows of a table by column, also as a spreadsheet program has saved it."""
    rows = read_rows(path, KEYS)
    named = (*KEYS, "truth", "prediction")
    heading = [cell.casefold() if cell.casefold() in named else cell for cell in rows[0][1]] if rows else []
    return [dict(zip(heading, [*cells, *[""] * len(heading)], strict=False)) for _, cells in rows[1:]]


def _key_names(row: Mapping[str, str], path: Path) -> list[str]:
    """What names a row: the case, and slice or frame; or the patient where the table has one row of each."""
    names = [name for name in KEYS if name in row]
    if "case" in names or "image" in names:
        names = [name for name in names if name != "patient"]
    if names in ([], ["run"]):
        needed = " or ".join(KEYS[1:4])
        raise ValueError(f"{path} is no table of cases: it needs a column {needed}, got {', '.join(row)}.")
    return names


def _check_same_cases(paths: Sequence[Path], sides: Sequence[Rows]) -> None:
    """Refuse tables of other cases, naming them."""
    missing = [
        f"only in {path}: {_named(sorted(own.keys() - other.keys()))}"
        for path, own, other in zip(paths, sides, sides[::-1], strict=True)
        if own.keys() - other.keys()
    ]
    if missing:
        raise ValueError(
            f"Both runs must have scored the same cases; {'; '.join(missing)}. Evaluate both with the same data, split "
            "and fold."
        )


def _check_same_truth(paths: Sequence[Path], sides: Sequence[Rows], values: Mapping[str, np.ndarray]) -> None:
    """Refuse tables whose cases have the same names, but another ground truth.

    It shows in the classes that a case lacks, and in the number of lesion pixels, where tables hold that and both runs
    have scored at the same size.
    """
    keys = np.array(["/".join(key) for key in sides[0]])
    differ = np.zeros(len(keys), bool)
    if all(count in row for side in sides for row in side.values() for count in COUNTS):
        numbers = [[[score_value(side[key][name], "", 0) for name in COUNTS] for key in sides[0]] for side in sides]
        pixels = np.array(numbers)  # (2, cases, 4)
        lesion, size = pixels[..., :2].sum(-1), pixels.sum(-1)
        differ |= (lesion[0] != lesion[1]) & (size[0] == size[1])
    for score, each in values.items():
        if score_of(score) in KNOWN_BY_TRUTH:
            known = np.isfinite(each)
            differ |= known[0] != known[1]
    if differ.any():
        raise ValueError(
            f"{paths[0]} and {paths[1]} have scored against other ground truth in {differ.sum()} of {len(keys)} cases, "
            f"such as {keys[differ][0]}. Evaluate both with the same data and size."
        )


def _named(keys: Sequence[tuple[str, ...]]) -> str:
    """The first names of cases, and the number of all."""
    shown = ", ".join("/".join(key) for key in keys[:SHOWN])
    return shown if len(keys) <= SHOWN else f"{shown} and {len(keys) - SHOWN} more"


def _decisions(paths: Sequence[Path], sides: Sequence[Rows]) -> dict[str, np.ndarray]:
    """Whether each clip or frame has the right diagnosis, 1 or 0: of all, and of each diagnosis alone."""
    keys = [*sides[0]]
    for path, run in zip(paths, sides, strict=True):
        if missing := {"truth", "prediction"} - run[keys[0]].keys():
            raise ValueError(f"{path} must have the columns truth and prediction; {', '.join(missing)} is missing.")
    truths = [[run[key]["truth"] for key in keys] for run in sides]
    if truths[0] != truths[1]:
        other = next(key for key, one, two in zip(keys, *truths, strict=True) if one != two)
        raise ValueError(
            f"{'/'.join(other)} has another truth in {paths[1]} than in {paths[0]}. Evaluate with one data set."
        )
    right = np.array([[run[key]["prediction"] == run[key]["truth"] for key in keys] for run in sides], float)
    alone = {
        f"correct_{name}": np.where(np.array(truths[0]) == name, right, math.nan) for name in sorted(set(truths[0]))
    }
    return {"correct": right, **alone}
