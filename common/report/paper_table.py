"""A paper's table beside the one that was measured: CSV, Markdown and a figure."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .paper_items import check_entry, check_names, mapping
from .paper_table_figure import draw, draw_curve

Runs = Mapping[str, Mapping[str, Path | None]]  # scores by variant and run, None where a run is not done
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


@dataclass(frozen=True)
class Cell:
    """Scores of one variant under one heading, by run; runs without a score are absent."""

    values: Mapping[str, float]

    @property
    def mean(self) -> float | None:
        """Over the runs that have a score."""
        return statistics.fmean(self.values.values()) if self.values else None

    @property
    def std(self) -> float | None:
        """Of the sample (divided by n - 1); None below two runs."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else None


@dataclass(frozen=True)
class Measured:
    """The scores of a table's runs.

    Args:
        table: what stands where.
        runs: names of the runs that each variant is meant to have.
        scores: by variant, run, and row and column of the run's CSV; runs that are not done are absent.
        word: what runs are called, ``folds`` where they are folds.
    """

    table: PaperTable
    runs: Mapping[str, Sequence[str]]
    scores: Mapping[str, Mapping[str, Mapping[tuple[str, str], float]]]
    word: str

    def cells(self, variant: str) -> dict[str, Cell]:
        """A variant's scores by heading."""
        runs = self.scores[variant].items()
        return {
            heading: Cell({run: scores[place] for run, scores in runs if place in scores})
            for heading, place in self.table.columns.items()
        }

    def missing(self, variant: str) -> list[str]:
        """Runs that are not done."""
        return [run for run in self.runs[variant] if run not in self.scores[variant]]

    def present(self, variant: str) -> str:
        """How many runs are done: ``2 of 3``."""
        return f"{len(self.scores[variant])} of {len(self.runs[variant])}"

    def notes(self) -> list[str]:
        """What a reader must know before believing the table."""
        notes = [
            f"INCOMPLETE: {variant} has {self.present(variant)} {self.word}, without {', '.join(missing)}."
            for variant in self.table.variants
            if (missing := self.missing(variant))
        ]
        found = [scores for each in self.scores.values() for scores in each.values()]
        for heading, (row, column) in self.table.columns.items():
            if found and not any((row, column) in scores for scores in found):
                notes.append(f"No {self.table.scores} has a number in row {row!r}, column {column!r} ({heading}).")
        return notes


def write_table(folder: Path, table: PaperTable, runs: Runs, facts: Sequence[str], word: str = "folds") -> list[Path]:
    """Write ``<name>.csv``, ``<name>_folds.csv``, ``<name>.md`` and ``<name>.png``.

    Args:
        folder: of the files.
        table: what stands where.
        runs: scores of every variant and run that the table is meant to hold.
        facts: sentences above the table: data, settings, commit.
        word: what runs are called, ``folds`` where they are folds.

    Returns:
        Paths of the four files.

    Raises:
        ValueError: for a file of scores that cannot be read.
    """
    scores = {
        variant: {run: _read_scores(path) for run, path in runs[variant].items() if path is not None and path.is_file()}
        for variant in table.variants
    }
    measured = Measured(table, {variant: list(runs[variant]) for variant in table.variants}, scores, word)
    notes = measured.notes()
    paths = [folder / f"{table.name}{ending}" for ending in (".csv", f"_{word}.csv", ".md", ".png")]
    _write_means(paths[0], measured)
    _write_runs(paths[1], measured)
    paths[2].write_text(_markdown(measured, [*facts, *notes]))
    (draw_curve if table.curve else draw)(paths[3], measured, " ".join([*facts[:1], *notes]))
    return paths


def _read_scores(path: Path) -> dict[tuple[str, str], float]:
    """Numbers of a CSV by row and column, as far as they are finite."""
    scores = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            name, *columns = row
            for column in columns:
                try:
                    value = float(row[column] or "nan")
                except (TypeError, ValueError):
                    continue  # a word, such as the name of a file
                if math.isfinite(value):
                    scores[str(row[name]), column] = value
    return scores


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _write_means(path: Path, measured: Measured) -> None:
    """A row a variant; under each heading our mean, standard deviation and number of runs, then the paper's."""
    table, word = measured.table, measured.word
    parts = ("mean", "std", word, "paper mean", "paper std")
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        headings = [f"{heading} {part}" for heading in table.columns for part in parts]
        writer.writerow(["variant", word, f"missing {word}", *headings])
        for variant in table.variants:
            numbers = []
            for heading, cell in measured.cells(variant).items():
                mean, std = table.paper_score(variant, heading)
                numbers += [_number(cell.mean), _number(cell.std), len(cell.values), _number(mean), _number(std)]
            missing = " ".join(measured.missing(variant))
            writer.writerow([variant, measured.present(variant), missing, *numbers])


def _write_runs(path: Path, measured: Measured) -> None:
    """A row a run."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["variant", measured.word.removesuffix("s"), *measured.table.columns])
        for variant, runs in measured.scores.items():
            cells = measured.cells(variant).values()
            writer.writerows([variant, run, *(_number(cell.values.get(run)) for cell in cells)] for run in runs)


def _markdown(measured: Measured, facts: Sequence[str]) -> str:
    """Two lines a variant, ours and the paper's below, in columns that align in a terminal too."""
    table, word = measured.table, measured.word

    def shown(mean: float | None, std: float | None) -> str:
        if mean is None:
            return ""
        return f"{mean:.{table.decimals}f}" + ("" if std is None else f" ± {std:.{table.decimals}f}")

    lines = [["variant", "", word, *table.columns]]
    for variant in table.variants:
        present = len(measured.scores[variant])
        ours = [
            shown(cell.mean, cell.std) + (f" ({len(cell.values)} {word})" if 0 < len(cell.values) < present else "")
            for cell in measured.cells(variant).values()
        ]
        lines.append([variant, "ours", measured.present(variant) if measured.missing(variant) else str(present), *ours])
        if table.paper.get(variant):
            paper = (shown(*table.paper_score(variant, heading)) for heading in table.columns)
            lines.append(["", "paper", "", *paper])
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    rows = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    rows.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    explained = f"Ours: mean ± standard deviation of the sample (n - 1) over {word}; blank where there is no score."
    return "\n".join([f"# {table.title}", "", *(f"- {fact}" for fact in [*facts, explained]), "", *rows, ""])
