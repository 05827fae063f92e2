"""A paper's table beside the one that was measured: CSV, Markdown and a figure."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .figures import BACKGROUND, FAINT, LINES, MARGIN, TEXT, _figure, _panel, _save, _write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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


def check_entry(entry: Any, kind: str, needed: Sequence[str], maybe: Sequence[str], each: str = "") -> str:
    """What an item of reproduce.yaml is called in messages: its kind and name.

    Args:
        entry: the item.
        kind: ``table`` and so on.
        needed: keys that it has.
        maybe: further ones that it may have.
        each: kind in the message for an item without a name.

    Raises:
        ValueError: for an item without a name, or with other keys.
    """
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise ValueError(f"each {each or kind} is a mapping with a name, got {entry!r}.")
    where = f"{kind} {entry['name']}"
    if not set(needed) <= set(entry) <= {*needed, *maybe}:
        raise ValueError(f"{where} has {', '.join(needed)}, and maybe {', '.join(maybe)}; got {list(entry)}.")
    return where


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


def mapping(value: Any, where: str) -> dict[Any, Any]:
    """The value itself where it is a mapping.

    Raises:
        ValueError: where it is not.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{where} is a mapping (name: value), got {value!r}.")
    return value


def check_names(kind: str, names: Iterable[Any], allowed: Collection[str], where: str) -> None:
    """Hold names to those that there are.

    Raises:
        ValueError: for the first that is none of them.
    """
    unknown = [name for name in names if name not in allowed]
    if unknown:
        raise ValueError(f"{where}: no {kind} is called {unknown[0]!r}; there are {', '.join(allowed)}.")


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
    found = {
        variant: {run: _read_scores(path) for run, path in runs[variant].items() if path is not None and path.is_file()}
        for variant in table.variants
    }
    cells = {
        variant: {
            heading: Cell({run: s[place] for run, s in scores.items() if place in s})
            for heading, place in table.columns.items()
        }
        for variant, scores in found.items()
    }
    missing = {variant: [run for run in runs[variant] if run not in found[variant]] for variant in table.variants}
    notes = _notes(table, runs, found, missing, word)
    paths = [folder / f"{table.name}{ending}" for ending in (".csv", f"_{word}.csv", ".md", ".png")]
    _write_means(paths[0], table, cells, runs, missing, word)
    _write_runs(paths[1], table, cells, found, word)
    paths[2].write_text(_markdown(table, cells, runs, missing, [*facts, *notes], word))
    draw = _draw_curve if table.curve else _draw
    draw(paths[3], table, cells, " ".join([*facts[:1], *notes]))
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


def _notes(
    table: PaperTable, runs: Runs, found: Mapping[str, Mapping[str, Any]], missing: Mapping[str, list[str]], word: str
) -> list[str]:
    """What a reader must know before believing the table."""
    notes = [
        f"INCOMPLETE: {variant} has {len(found[variant])} of {len(runs[variant])} {word}, without {', '.join(names)}."
        for variant, names in missing.items()
        if names
    ]
    places = [scores for each in found.values() for scores in each.values()]
    for heading, (row, column) in table.columns.items():
        if places and not any((row, column) in scores for scores in places):
            notes.append(f"No {table.scores} has a number in row {row!r}, column {column!r} ({heading}).")
    return notes


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _write_means(
    path: Path,
    table: PaperTable,
    cells: Mapping[str, Mapping[str, Cell]],
    runs: Runs,
    missing: Mapping[str, list[str]],
    word: str,
) -> None:
    """A row a variant; under each heading our mean, standard deviation and number of runs, then the paper's."""
    parts = ("mean", "std", word, "paper mean", "paper std")
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        headings = [f"{heading} {part}" for heading in table.columns for part in parts]
        writer.writerow(["variant", word, f"missing {word}", *headings])
        for variant in table.variants:
            present = f"{len(runs[variant]) - len(missing[variant])} of {len(runs[variant])}"
            numbers = []
            for heading, cell in cells[variant].items():
                mean, std = table.paper.get(variant, {}).get(heading, (None, None))
                numbers += [_number(cell.mean), _number(cell.std), len(cell.values), _number(mean), _number(std)]
            writer.writerow([variant, present, " ".join(missing[variant]), *numbers])


def _write_runs(
    path: Path, table: PaperTable, cells: Mapping[str, Mapping[str, Cell]], found: Mapping[str, Any], word: str
) -> None:
    """A row a run."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["variant", word.removesuffix("s"), *table.columns])
        for variant in table.variants:
            for run in found[variant]:
                writer.writerow([variant, run, *(_number(cell.values.get(run)) for cell in cells[variant].values())])


def _markdown(
    table: PaperTable,
    cells: Mapping[str, Mapping[str, Cell]],
    runs: Runs,
    missing: Mapping[str, list[str]],
    facts: Sequence[str],
    word: str,
) -> str:
    """Two lines a variant, ours and the paper's below, in columns that align in a terminal too."""

    def shown(mean: float | None, std: float | None) -> str:
        if mean is None:
            return ""
        return f"{mean:.{table.decimals}f}" + ("" if std is None else f" ± {std:.{table.decimals}f}")

    lines = [["variant", "", word, *table.columns]]
    for variant in table.variants:
        whole, present = len(runs[variant]), len(runs[variant]) - len(missing[variant])
        ours = [
            shown(cell.mean, cell.std) + (f" ({len(cell.values)} {word})" if 0 < len(cell.values) < present else "")
            for cell in cells[variant].values()
        ]
        lines.append([variant, "ours", str(whole) if present == whole else f"{present} of {whole}", *ours])
        paper = table.paper.get(variant, {})
        if paper:
            lines.append(["", "paper", "", *(shown(*paper.get(heading, (None, None))) for heading in table.columns)])
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    rows = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    rows.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    explained = f"Ours: mean ± standard deviation of the sample (n - 1) over {word}; blank where there is no score."
    return "\n".join([f"# {table.title}", "", *(f"- {fact}" for fact in [*facts, explained]), "", *rows, ""])


def _framed(width: float, title: str, subtitle: str) -> tuple[Figure, Axes]:
    """Figure of 520 pixels height with both lines of text, and axes with room for a legend below."""
    figure = _figure(width, 520)
    _write(figure, MARGIN, 22, title, 13)
    _write(figure, MARGIN, 46, subtitle, 10.5, FAINT)
    axes = _panel(figure, 70, 74, width - 70 - MARGIN, 340)
    axes.set_axis_on()
    axes.set_facecolor(BACKGROUND)
    axes.tick_params(colors=FAINT, labelsize=9, length=0, which="both")
    axes.grid(axis="y", color="#2a2e36", lw=0.8)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color("#4a4f59")
    return figure, axes


def _draw_curve(path: Path, table: PaperTable, cells: Mapping[str, Mapping[str, Cell]], subtitle: str) -> None:
    """A line a heading over the variants' places: our mean, standard deviation and runs, the paper's as diamonds."""
    label, places = table.curve or ("", {})
    figure, axes = _framed(1000, table.title, subtitle)
    for number, heading in enumerate(table.columns):
        colour = LINES[number % len(LINES)]
        found = [(places[variant], cells[variant][heading]) for variant in table.variants]
        for x, cell in found:
            axes.plot([x] * len(cell.values), list(cell.values.values()), ".", color=colour, alpha=0.6)
        points = [(x, cell.mean, cell.std or 0.0) for x, cell in found if cell.mean is not None]
        if points:
            across, mean, std = zip(*points, strict=True)
            axes.errorbar(across, mean, std, fmt="o-", color=colour, ms=6, capsize=3, lw=1.6, label=f"{heading}, ours")
        given = [(places[variant], row[heading][0]) for variant, row in table.paper.items() if heading in row]
        if given:
            axes.plot(*zip(*given, strict=True), "D", color=colour, mfc=BACKGROUND, ms=7, label=f"{heading}, paper")
    axes.set_xticks(sorted(places.values()))
    axes.set_xlabel(label, color=FAINT, size=10)
    figure.legend(loc="lower center", ncols=4, frameon=False, fontsize=10, labelcolor=TEXT)
    _save(figure, path)


def _draw(path: Path, table: PaperTable, cells: Mapping[str, Mapping[str, Cell]], subtitle: str) -> None:
    """Under each heading, a variant a colour: our mean (disc), standard deviation and runs, the paper's (diamond)."""
    from matplotlib.lines import Line2D

    width = min(1600, max(900, 160 + 45 * len(table.columns) * (1 + len(table.variants))))
    figure, axes = _framed(width, table.title, subtitle)
    step = 0.8 / max(1, len(table.variants))
    for row, variant in enumerate(table.variants):
        colour = LINES[row % len(LINES)]
        for column, (heading, cell) in enumerate(cells[variant].items()):
            x = column - 0.4 + (row + 0.5) * step
            axes.plot([x - 0.2 * step] * len(cell.values), list(cell.values.values()), ".", color=colour, alpha=0.6)
            paper = table.paper.get(variant, {}).get(heading, (None, None))
            for place, (mean, std), mark in (
                (x - 0.2 * step, (cell.mean, cell.std), "o"),
                (x + 0.2 * step, paper, "D"),
            ):
                if mean is not None:
                    face = colour if mark == "o" else BACKGROUND
                    axes.errorbar(place, mean, std, fmt=mark, color=colour, mfc=face, ms=7, capsize=3, lw=1.4)
    found = [value for row in cells.values() for cell in row.values() for value in cell.values.values()]
    if found and 0 <= min(found) and max(found) <= 1:  # scores: a deviation may reach beyond, the axis should not
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, -0.03), min(high, 1.03))
    axes.set_xlim(-0.5, len(table.columns) - 0.5)
    axes.set_xticks(range(len(table.columns)), [heading.replace(" ", "\n") for heading in table.columns])
    axes.set_xticks([column + 0.5 for column in range(len(table.columns) - 1)], minor=True)
    axes.grid(axis="x", which="minor", color="#2a2e36", lw=0.8)
    colours = [
        Line2D([], [], color=LINES[i % len(LINES)], marker="s", ls="", label=v) for i, v in enumerate(table.variants)
    ]
    marks = [
        Line2D([], [], color=FAINT, marker="o", label="ours: mean, standard deviation, runs"),
        Line2D([], [], color=FAINT, marker="D", mfc=BACKGROUND, label="paper"),
    ]
    figure.legend(handles=[*colours, *marks], loc="lower center", ncols=8, frameon=False, fontsize=10, labelcolor=TEXT)
    _save(figure, path)
