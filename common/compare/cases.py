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
from ..tables import read_csv, score_of

KEYS = ("case", "patient", "image", "slice", "frame")  # columns that name a row
SHOWN = 5  # names in a message


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of the same cases by two runs.

    Args:
        table: name of the table that they are from.
        keys: of each case: its name, and its slice or frame where the table has these.
        owners: the patient of each case; the volume, image or clip if patients are not named.
        word: what the owners are, such as ``patients``.
        values: by name of the score: (2, cases), NaN where a run has none.
    """

    table: str
    keys: Sequence[tuple[str, ...]]
    owners: Sequence[str]
    word: str
    values: Mapping[str, np.ndarray]


def read_scores(first: Path, second: Path, table: str = "", chosen: Sequence[str] = ()) -> Scores:
    """Read the tables of cases that two evaluations have written.

    Args:
        first: output folder of an evaluation, or one of its tables of cases.
        second: of the other run.
        table: name of the table in folders; by default the first of ``CASES`` that both have.
        chosen: names of scores; by default all.

    Raises:
        FileNotFoundError: for a path that does not exist, or folders without such a table.
        ValueError: for tables of another kind, with other cases or other ground truth, or a score that they lack.
    """
    paths = _tables(first, second, table)
    rows = [{_key(row, path): row for row in _rows(path)} for path in paths]
    _check_same_cases(paths, rows)
    keys = [*rows[0]]
    if "truth" in next(iter(rows[0].values())):
        values = _decisions(paths, rows)
    else:
        names = [name for name in _scored(rows[0]) if name in _scored(rows[1])]
        values = {name: np.array([[_number(run[key].get(name, "")) for key in keys] for run in rows]) for name in names}
    if not values:
        raise ValueError(f"{paths[0]} and {paths[1]} have no score in common. Give tables of one bundle.")
    check_names("score", chosen, list(values), paths[0].name)
    values = {name: each for name, each in values.items() if not chosen or name in chosen}
    lines = [rows[0][key] for key in keys]
    patients = [line.get("patient", "") for line in lines]
    named = all(patients)
    return Scores(
        paths[0].name, keys, patients if named else [key[0] for key in keys], "patients" if named else "cases", values
    )


def _tables(first: Path, second: Path, table: str) -> tuple[Path, Path]:
    """The table of each run."""
    for path in (first, second):
        if not path.exists():
            raise FileNotFoundError(f"No such file or folder: {path}. Give the output folders of two evaluations.")
    folders = [path if path.is_dir() else path.parent for path in (first, second)]
    wanted = table or next((path.name for path in (first, second) if path.is_file()), "")
    names = [wanted] if wanted else [name for name in CASES if all((each / name).is_file() for each in folders)]
    if not names:
        held = "; ".join(
            f"{each}: {', '.join(name for name in CASES if (each / name).is_file()) or 'none'}" for each in folders
        )
        raise FileNotFoundError(
            f"Both folders must hold the same table of cases, one of {', '.join(CASES)}. Found in {held}. Run the step "
            "evaluating for both."
        )
    found = [path if path.is_file() else path / names[0] for path in (first, second)]
    for path in found:
        if not path.is_file():
            raise FileNotFoundError(f"No such table: {path}. Both runs must have it; choose one with --table.")
    return found[0], found[1]


def _rows(path: Path) -> list[dict[str, str]]:
    rows = read_csv(path)
    if not rows:
        raise NothingToDo(f"{path} holds no case.")
    return rows


def _key(row: Mapping[str, str], path: Path) -> tuple[str, ...]:
    """What names a row: the case, and slice or frame; or the patient where the table has one row of each."""
    names = [name for name in KEYS if name in row]
    if "case" in names or "image" in names:
        names = [name for name in names if name != "patient"]
    if not names:
        raise ValueError(
            f"{path} is no table of cases: it needs a column {' or '.join(KEYS[:3])}, got {', '.join(row)}."
        )
    return tuple(row[name] for name in names)


def _check_same_cases(paths: Sequence[Path], rows: Sequence[Mapping[tuple[str, ...], Mapping[str, str]]]) -> None:
    """Refuse tables of other cases, naming them."""
    kinds = [[name for name in KEYS if name in next(iter(run.values()))] for run in rows]
    if kinds[0] != kinds[1]:
        raise ValueError(
            f"{paths[0]} has a row for each {' and '.join(kinds[0])}, {paths[1]} for each {' and '.join(kinds[1])}. "
            "Give tables of one kind."
        )
    for path, run in zip(paths, rows, strict=True):
        repeated = len(read_csv(path)) - len(run)
        if repeated:
            raise ValueError(f"{path} names {repeated} cases more than once. Each case must have one row.")
    missing = [
        f"only in {path}: {_named(sorted(own.keys() - other.keys()))}"
        for path, own, other in zip(paths, rows, rows[::-1], strict=True)
        if own.keys() - other.keys()
    ]
    if missing:
        raise ValueError(
            f"Both runs must have scored the same cases; {'; '.join(missing)}. Evaluate both with the same data, split "
            "and fold."
        )


def _named(keys: Sequence[tuple[str, ...]]) -> str:
    """The first names of cases, and the number of all."""
    shown = ", ".join(" slice ".join(key) for key in keys[:SHOWN])
    return shown if len(keys) <= SHOWN else f"{shown} and {len(keys) - SHOWN} more"


def _scored(run: Mapping[tuple[str, ...], Mapping[str, str]]) -> list[str]:
    """Names of the score columns."""
    return [name for name in next(iter(run.values())) if score_of(name)]


def _number(text: str) -> float:
    return float(text) if text else math.nan


def _decisions(
    paths: Sequence[Path], rows: Sequence[Mapping[tuple[str, ...], Mapping[str, str]]]
) -> dict[str, np.ndarray]:
    """Whether each clip or frame has the right diagnosis, 1 or 0: of all, and of each diagnosis alone."""
    keys = [*rows[0]]
    truths = [[run[key]["truth"] for key in keys] for run in rows]
    if truths[0] != truths[1]:
        other = next(key for key, one, two in zip(keys, *truths, strict=True) if one != two)
        raise ValueError(f"{other[0]} has another truth in {paths[1]} than in {paths[0]}. Evaluate with one data set.")
    right = np.array([[run[key]["prediction"] == run[key]["truth"] for key in keys] for run in rows], float)
    alone = {
        f"correct_{name}": np.where(np.array(truths[0]) == name, right, math.nan) for name in sorted(set(truths[0]))
    }
    return {"correct": right, **alone}
