"""Pages of evaluations and comparisons, made from the tables and figures that they have written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...statistics import ABSENT
from ...tables import read_csv, score_of, with_intervals
from .facts import RunFiles, weights_card
from .page import Column, Page, Row, Table
from .unusual import RULE, far_from_others
from .write import NAME, write_page

# The first that an evaluation has written is its table of cases
CASES = ("scores_per_patient.csv", "scores_per_volume.csv", "scores_per_image.csv", "clips.csv", "scores_per_slice.csv")
NAMES = ("case", "image", "patient")  # columns that name a case
DECIDED = ("truth", "prediction")
PIXELS = ("true_positive", "false_positive", "true_negative", "false_negative")
SMALL = 30  # rows of a table that is shown as it is


def write_scores_page(
    folder: str | Path, metadata: str | Path | None = None, weights: Any = None, title: str = "Evaluation"
) -> Path:
    """Write ``report.html`` of an evaluation: its score tables, its figures, and the scores of each case.

    Args:
        folder: output folder; what the latest run has written there is shown.
        metadata: path of the bundle's ``metadata.json``.
        weights: path of the file, or several.
        title: of the page, before the bundle's name.

    Returns:
        Path of the page.
    """
    folder, run = Path(folder), RunFiles(folder)
    tables = {path.name: path for path in run.written("*.csv")}
    chosen = next((name for name in CASES if name in tables), "")
    columns: list[Column] = []
    rows: list[Row] = []
    words, rule = ("case", "cases"), ""
    if chosen:
        columns, rows, words = _cases(read_csv(tables[chosen]))
        rule = _rule(columns, chosen)
    small = [table(path) for name, path in tables.items() if name not in (*CASES, "frames.csv")]
    card = weights_card(metadata, weights)
    page = Page(
        title=f"{title}: {card['name']}" if "name" in card else title,
        lines=[_summary(rows, words), *([card["intended use"]] if "intended use" in card else []), *_notes(small)],
        figures=run.written("*.png"),
        tables=[each for each in small if 0 < len(each.rows) <= SMALL],
        columns=columns,
        rows=rows,
        words=words,
        group=next((column.name for column in columns if column.name == "truth"), ""),
        unusual=rule,
        facts={"Settings": run.settings(), "Weights": card, "Run": run.facts()},
    )
    return write_page(folder, page)


def write_findings_page(
    folder: str | Path,
    columns: Sequence[str],
    findings: Sequence[Mapping[str, Any]],
    lines: Sequence[str],
    figures: Sequence[Path],
    failures: Mapping[str, str],
    group: str = "",
) -> Path:
    """Write ``report.html`` of a comparison with several findings per case, such as an audit.

    Args:
        folder: output folder.
        columns: of the findings, besides ``case``.
        findings: rows with ``case``.
        lines: what was found, in words.
        figures: pictures in the folder.
        failures: message of each case that failed.
        group: column by which findings can be filtered.

    Returns:
        Path of the page.
    """
    run = RunFiles(folder)
    shown = [_column(name, [row.get(name) for row in findings]) for name in columns]
    rows = [Row(str(row["case"]), row) for row in findings]
    rows += [Row(name, failed=text.removeprefix(f"{name}: ")) for name, text in failures.items()]
    page = Page(
        title="Audit of annotations",
        lines=lines,
        figures=figures,
        columns=shown,
        rows=rows,
        words=("finding", "findings"),
        group=group,
        facts={"Settings": run.settings(), "Run": run.facts()},
        lists={"Files that were not read": run.not_read()},
    )
    return write_page(folder, page)


def write_tables_page(
    folder: str | Path,
    title: str,
    tables: Sequence[Table],
    figures: Sequence[Path],
    lines: Sequence[str] = (),
    name: str = NAME,
) -> Path:
    """Write the page of a comparison that has no table of cases; see ``Page`` and ``write_page`` for the arguments."""
    return write_page(folder, Page(title, lines, figures, tables), name)


def table(path: Path) -> Table:
    """A CSV file as a small table; each score has its interval in its own cell."""
    rows = [with_intervals(row) for row in read_csv(path)]
    return Table(path.name, list(rows[0]) if rows else [], [list(row.values()) for row in rows])


def markdown_table(path: Path) -> tuple[Table, list[str]]:
    """The table of a page that ``common.reproduce`` has written, and the facts above it."""
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    facts = [line.removeprefix("- ") for line in lines if line.startswith("- ")]
    return Table(lines[0].removeprefix("# "), rows[0], rows[2:]), facts


def _notes(tables: Sequence[Table]) -> list[str]:
    """What a reader must know of the columns."""
    names = {name for each in tables for name in each.heading}
    interval = "Numbers in brackets: the 95 % interval by bootstrap over what the column interval_over names."
    return [*([interval] if "interval_over" in names else []), *([ABSENT] if "absent" in names else [])]


def _cases(rows: Sequence[Mapping[str, str]]) -> tuple[list[Column], list[Row], tuple[str, str]]:
    """Columns and rows of a table of cases; a case of several slices has their means."""
    if not rows:
        return [], [], ("case", "cases")
    name = next((key for key in NAMES if key in rows[0]), next(iter(rows[0])))
    parts: dict[str, list[Mapping[str, str]]] = {}
    for row in rows:
        parts.setdefault(row[name], []).append(row)
    single = len(parts) == len(rows)
    unnamed = ["patient"] if not all(row.get("patient") for row in rows) else []
    skipped = unnamed if single else ("patient", "slice", "frame", *PIXELS)
    keys = [key for key in rows[0] if key != name and key not in skipped and (single or _are_numbers(rows, key))]
    columns = [_column(key, [row[key] for row in rows]) for key in keys]
    cells = [
        {column.name: _mean(column, [row[column.name] for row in each]) for column in columns}
        for each in parts.values()
    ]
    if not single:
        columns.append(Column("slices", "Slices", ".0f"))
        for cell, each in zip(cells, parts.values(), strict=True):
            cell["slices"] = len(each)
    unusual = far_from_others([column for column in columns if _is_score(column)], cells, ["low"])
    made = []
    for case, cell, words in zip(parts, cells, unusual, strict=True):
        wrong = all(key in cell for key in DECIDED) and cell["truth"] != cell["prediction"]
        made.append(Row(case, cell, "", [*(["prediction differs from the ground truth"] if wrong else []), *words]))
    return columns, made, (name, f"{name}s")


def _rule(columns: Sequence[Column], source: str) -> str:
    """Which cases count as unusual, and where the numbers are from."""
    parts = []
    if {column.name for column in columns} >= set(DECIDED):
        parts.append("its prediction differs from the ground truth")
    if names := ", ".join(column.heading for column in columns if _is_score(column)):
        parts.append(f"one of its scores ({names}) is low: it {RULE}")
    means = ", means over its slices" if any(column.name == "slices" for column in columns) else ""
    rule = f"One counts as unusual if {', or if '.join(parts)}. " if parts else ""
    return f"{rule}Numbers are those of {source}{means}."


def _is_score(column: Column) -> bool:
    return bool(column.form and score_of(column.name))


def _column(name: str, values: Sequence[Any]) -> Column:
    whole = all(value in ("", None) or "." not in str(value) for value in values)
    form = (".0f" if whole else ".3f") if _are_numbers([{name: value} for value in values], name) else ""
    words = name.replace("_", " ")
    return Column(name, words[:1].upper() + words[1:], form)


def _are_numbers(rows: Sequence[Mapping[str, Any]], key: str) -> bool:
    known = [row[key] for row in rows if row[key] not in ("", None)]
    try:
        return bool(known) and all(np.isfinite(float(value)) for value in known)
    except (TypeError, ValueError):
        return False


def _mean(column: Column, values: Sequence[str]) -> Any:
    """Mean of what is known of a number; a text as it is."""
    if not column.form:
        return values[0]
    known = [float(value) for value in values if value]
    return float(np.mean(known)) if known else None


def _summary(rows: Sequence[Row], words: tuple[str, str]) -> str:
    if not rows:
        return ""
    unusual = sum(row.state == "unusual" for row in rows)
    return f"{len(rows)} {words[len(rows) > 1]}, {unusual} of them unusual."
