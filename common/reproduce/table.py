"""A paper's table as ``reproduce.yaml`` declares it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..settings import check_keys, check_mapping, check_names, is_number
from .items import check_entry

Score = tuple[float, float | None]  # mean, and standard deviation if the paper gives one


class Place(NamedTuple):
    """Where a run's number is: a CSV file whose first column names the row, the row, and the column."""

    file: str
    row: str
    column: str


@dataclass(frozen=True)
class PaperTable:
    """A table as a bundle's ``reproduce.yaml`` declares it.

    Args:
        name: name of its files.
        title: line above the table.
        scores: name of the CSV file that each run writes.
        columns: place of the numbers by heading, in that file unless the column names another. Those of another file
            are of another kind, such as epochs beside scores: the table has them, its figure does not.
        paper: the paper's mean and standard deviation by variant and heading.
        variants: the rows, in order.
        quoted: rows without a run of ours, below the others: the paper's numbers by name of the row and heading.
        curve: for a figure that is a curve: label of its horizontal axis, and the place of each variant on it.
    """

    name: str
    title: str
    scores: str
    columns: Mapping[str, Place]
    paper: Mapping[str, Mapping[str, Score]]
    variants: Sequence[str]
    quoted: Mapping[str, Mapping[str, Score]] = field(default_factory=dict)
    curve: tuple[str, Mapping[str, float]] | None = None

    @property
    def drawn(self) -> list[str]:
        """Headings of the figure."""
        return [heading for heading, place in self.columns.items() if place.file == self.scores]

    def decimals(self, heading: str) -> int:
        """Number of decimals: one for counts, which the paper gives as whole numbers; else the paper's, at least three.

        Scores have as many as the paper's most exact one, so that all columns look alike.
        """
        rows = [*self.paper.values(), *self.quoted.values()]
        given = {name: [row[name][0] for row in rows if name in row] for name in self.columns}
        if given[heading] and all(isinstance(mean, int) for mean in given[heading]):
            return 1
        return max([3, *(len(str(mean).partition(".")[2]) for means in given.values() for mean in means)])

    def paper_score(self, row: str, heading: str) -> tuple[float | None, float | None]:
        """The paper's mean and standard deviation for a variant or a quoted row; None for one that it does not give."""
        return {**self.paper, **self.quoted}.get(row, {}).get(heading, (None, None))


def read_table(entry: Any, variants: Sequence[str]) -> PaperTable:
    """Read one entry of ``tables:``.

    Raises:
        ValueError: if a key, variant or heading is missing or unknown, or a number has the wrong form.
    """
    where = check_entry(
        entry, "table", ("name", "columns"), ("title", "scores", "paper", "variants", "quoted", "curve")
    )
    scores, columns = str(entry.get("scores", "scores.csv")), {}
    for heading, place in check_mapping(entry["columns"], f"{where}: columns").items():
        check_keys(place, f"{where}: columns: {heading}", ("row", "column"), ("file",))
        columns[str(heading)] = Place(str(place.get("file", scores)), str(place["row"]), str(place["column"]))
    rows = entry.get("variants", list(variants))
    paper, quoted = (_scores(entry.get(key, {}), f"{where}: {key}") for key in ("paper", "quoted"))
    for kind, names, allowed in (
        ("variant", [*rows, *paper], variants),
        ("heading", [heading for row in (*paper.values(), *quoted.values()) for heading in row], columns),
    ):
        check_names(kind, names, allowed, where)
    if both := [name for name in quoted if name in variants]:
        raise ValueError(f"{where}: quoted: {both[0]} is a variant. Put its numbers under paper, or rename the row.")
    title = str(entry.get("title", entry["name"]))
    curve = _curve(entry.get("curve"), rows, f"{where}: curve")
    return PaperTable(entry["name"], title, scores, columns, paper, list(rows), quoted, curve)


def _curve(entry: Any, rows: Sequence[str], where: str) -> tuple[str, Mapping[str, float]] | None:
    if entry is None:
        return None
    check_keys(entry, where, ("label", "values"))
    values = check_keys(entry["values"], f"{where}: values", rows)
    if not all(is_number(value) for value in values.values()):
        raise ValueError(f"{where}: values must be numbers, got {values!r}.")
    return str(entry["label"]), values


def _scores(entry: Any, where: str) -> dict[str, dict[str, Score]]:
    """Scores of the paper by row and heading."""
    return {
        str(name): {
            heading: _score(value, f"{where}: {name}, {heading}")
            for heading, value in check_mapping(row, f"{where}: {name}").items()
        }
        for name, row in check_mapping(entry, where).items()
    }


def _score(value: Any, where: str) -> Score:
    numbers = value if isinstance(value, list) else [value, None]
    mean, std = numbers if len(numbers) == 2 else (None, None)
    if not is_number(mean) or not (std is None or is_number(std)):
        raise ValueError(f"{where} must be a number, or [mean, standard deviation], got {value!r}.")
    return mean, std
