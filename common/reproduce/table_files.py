"""A paper's table beside ours: CSV, Markdown and a figure."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from .measured import Measured, Runs
from .table import PaperTable
from .table_figure import draw_curve, draw_scores


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
    (draw_curve if table.curve else draw_scores)(paths[3], measured, " ".join([*facts[:1], *notes]))
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
