"""A paper's table beside ours: CSV, Markdown and a figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..statistics import Estimate
from ..tables import read_csv, write_csv
from .measured import Measured, Runs, intervals_over_runs
from .table import PaperTable, Place
from .table_figure import draw_curve, draw_scores


def write_table(folder: Path, table: PaperTable, runs: Runs, facts: Sequence[str], word: str = "folds") -> list[Path]:
    """Write ``<name>.csv``, ``<name>_folds.csv``, ``<name>.md`` and ``<name>.png``.

    Args:
        folder: of the files.
        table: the paper's table.
        runs: file of scores of every variant and run, beside which its other tables lie; None if a run is not done.
        facts: sentences above the table: data, settings, commit.
        word: word for runs, such as ``folds``.

    Returns:
        Paths of the four files.
    """
    files = list(dict.fromkeys([table.scores, *(place.file for place in table.columns.values())]))
    scores = {
        variant: {
            run: _read_scores([path.with_name(name) for name in files])
            for run, path in runs[variant].items()
            if path is not None and path.is_file()
        }
        for variant in table.variants
    }
    intervals, units = intervals_over_runs(table, runs)
    names = {variant: list(runs[variant]) for variant in table.variants}
    measured = Measured(table, names, scores, word, intervals, units)
    notes = measured.notes()
    paths = [folder / f"{table.name}{ending}" for ending in (".csv", f"_{word}.csv", ".md", ".png")]
    _write_means(paths[0], measured)
    _write_runs(paths[1], measured)
    paths[2].write_text(_markdown(measured, [*facts, *notes]))
    (draw_curve if table.curve else draw_scores)(paths[3], measured, " ".join([*facts[:1], *notes]))
    return paths


def _read_scores(paths: Sequence[Path]) -> dict[Place, float]:
    """Finite numbers of those CSV files that exist, by place."""
    scores = {}
    for path, row in ((file, row) for file in paths if file.is_file() for row in read_csv(file)):
        name, *columns = row
        for column in columns:
            try:
                value = float(row[column] or "nan")
            except (TypeError, ValueError):
                continue  # not a number, such as the name of a file
            if math.isfinite(value):
                scores[Place(path.name, str(row[name]), column)] = value
    return scores


def _write_means(path: Path, measured: Measured) -> None:
    """One row per variant; per heading our mean, standard deviation and number of runs, then the paper's numbers.

    Quoted rows, which have no run of ours, come last.
    """
    table, word = measured.table, measured.word
    parts = ("mean", "std", "low", "high", word, "paper mean", "paper std")
    headings = [f"{heading} {part}" for heading in table.columns for part in parts]
    rows = []
    for variant in table.variants:
        numbers: list[Any] = []
        for heading, cell in measured.cells(variant).items():
            bounds = (cell.interval.low, cell.interval.high)
            numbers += [cell.mean, cell.std, *bounds, len(cell.values), *table.paper_score(variant, heading)]
        rows.append([variant, measured.present(variant), " ".join(measured.missing(variant)), *numbers])
    for name in table.quoted:
        paper = (table.paper_score(name, heading) for heading in table.columns)
        rows.append([name, "", "", *(value for score in paper for value in (*[None] * 4, "", *score))])
    write_csv(path, ["variant", word, f"missing {word}", *headings], rows, form=".6g")


def _write_runs(path: Path, measured: Measured) -> None:
    """One row per run."""
    rows = []
    for variant, runs in measured.scores.items():
        cells = measured.cells(variant).values()
        rows += [[variant, run, *(cell.values.get(run) for cell in cells)] for run in runs]
    write_csv(path, ["variant", measured.word.removesuffix("s"), *measured.table.columns], rows, form=".6g")


def _markdown(measured: Measured, facts: Sequence[str]) -> str:
    """Two lines per variant, ours and the paper's below it, then the quoted rows.

    The columns are aligned in a terminal too.
    """
    table, word = measured.table, measured.word

    def of_paper(row: str) -> list[str]:
        return [shown(heading, *table.paper_score(row, heading)) for heading in table.columns]

    def shown(heading: str, mean: float | None, std: float | None) -> str:
        decimals = table.decimals(heading)
        return "" if mean is None else f"{mean:.{decimals}f}" + ("" if std is None else f" ± {std:.{decimals}f}")

    def between(heading: str, found: Estimate) -> str:
        decimals = table.decimals(heading)
        return "" if math.isnan(found.low) else f" [{found.low:.{decimals}f}, {found.high:.{decimals}f}]"

    lines = [["variant", "", word, *table.columns]]
    for variant in table.variants:
        present = len(measured.scores[variant])
        ours = [
            shown(heading, cell.mean, cell.std)
            + between(heading, cell.interval)
            + (f" ({len(cell.values)} {word})" if 0 < len(cell.values) < present else "")
            for heading, cell in measured.cells(variant).items()
        ]
        lines.append([variant, "ours", measured.present(variant) if measured.missing(variant) else str(present), *ours])
        if table.paper.get(variant):
            lines.append(["", "paper", "", *of_paper(variant)])
    lines += [[name, "paper", "", *of_paper(name)] for name in table.quoted]
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    rows = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    rows.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    explained = f"Ours: mean ± standard deviation of the sample (n - 1) over {word}; blank if there is no score."
    if measured.units:
        explained += f" In brackets: 95 % interval of the mean by bootstrap over {measured.units} of all {word}."
    if table.quoted:
        explained += " Rows that have only the paper's numbers were not run."
    return "\n".join([f"# {table.title}", "", *(f"- {fact}" for fact in [*facts, explained]), "", *rows, ""])
