"""A paper's table as ``reproduce.yaml`` declares it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .items import check_entry, check_names, mapping

Score = tuple[float, float | None]  # mean, and standard deviation where there is one


@dataclass(frozen=True)
class PaperTable:
    """A table as a bundle's ``reproduce.yaml`` declares it.

    Args:
        name: of its files.
        title: line above it.
        scores: the CSV that each run leaves; its first column names the row.
        columns: heading of the table to row and column of that CSV.
        paper: the paper's mean and standard deviation by variant and heading.
        variants: its rows, in order.
        curve: where the figure is a curve: label of its axis, and each variant's place on it.
    """

    name: str
    title: str
    scores: str
    columns: Mapping[str, tuple[str, str]]
    paper: Mapping[str, Mapping[str, Score]]
    variants: Sequence[str]
    curve: tuple[str, Mapping[str, float]] | None = None

    @property
    def decimals(self) -> int:
        """As many as the paper gives, three at least."""
        given = [str(mean).partition(".")[2] for row in self.paper.values() for mean, _ in row.values()]
        return max([3, *map(len, given)])

    def paper_score(self, variant: str, heading: str) -> tuple[float | None, float | None]:
        """The paper's mean and standard deviation, None where it gives none."""
        return self.paper.get(variant, {}).get(heading, (None, None))


def read_table(entry: Any, variants: Sequence[str]) -> PaperTable:
    """Read one item of ``tables:``.

    Raises:
        ValueError: for a key, variant or heading that is missing or unknown, or numbers of another form.
    """
    where = check_entry(entry, "table", ("name", "columns"), ("title", "scores", "paper", "variants", "curve"))
    columns = {}
    for heading, place in mapping(entry["columns"], f"{where}: columns").items():
        if not isinstance(place, dict) or set(place) != {"row", "column"}:
            raise ValueError(f"{where}: column {heading!r} is {{row: ..., column: ...}} of the scores, got {place!r}.")
        columns[str(heading)] = (str(place["row"]), str(place["column"]))
    rows = entry.get("variants", list(variants))
    paper = {}
    for variant, row in mapping(entry.get("paper", {}), f"{where}: paper").items():
        numbers = mapping(row, f"{where}: paper: {variant}").items()
        paper[variant] = {heading: _score(value, f"{where}: {variant}, {heading}") for heading, value in numbers}
    for kind, names, allowed in (
        ("variant", [*rows, *paper], variants),
        ("heading", [heading for row in paper.values() for heading in row], columns),
    ):
        check_names(kind, names, allowed, where)
    title = str(entry.get("title", entry["name"]))
    scores, curve = str(entry.get("scores", "scores.csv")), _curve(entry.get("curve"), rows, f"{where}: curve")
    return PaperTable(entry["name"], title, scores, columns, paper, list(rows), curve)


def _curve(entry: Any, rows: Sequence[str], where: str) -> tuple[str, Mapping[str, float]] | None:
    if entry is None:
        return None
    values = mapping(mapping(entry, where).get("values"), f"{where}: values")
    if set(entry) != {"label", "values"} or set(values) != set(rows):
        raise ValueError(f"{where} has a label, and values of {', '.join(rows)}; got {entry!r}.")
    if not all(isinstance(value, (int, float)) for value in values.values()):
        raise ValueError(f"{where}: values are numbers, got {values!r}.")
    return str(entry["label"]), values


def _score(value: Any, where: str) -> Score:
    numbers = value if isinstance(value, list) else [value, None]
    mean, std = numbers if len(numbers) == 2 else (None, None)
    if not isinstance(mean, (int, float)) or not isinstance(std, (int, float, type(None))):
        raise ValueError(f"{where} is a number, or [mean, standard deviation], got {value!r}.")
    return mean, std
