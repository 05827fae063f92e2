"""Score tables: as CSV files, and with aligned columns in the terminal."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .files import complete_file
from .statistics import Estimate

SCORES = (  # of tables of cases
    *("dice", "iou", "f1", "accuracy", "precision", "recall", "nsd_1mm", "nsd_3mm", "pr_area", "correct"),
    *("lesion_f1", "lesion_precision", "lesion_recall"),
)
BOUNDS = ("_low", "_high")  # endings of the columns that hold the 95 % interval of the column before them


def column_means(values: np.ndarray) -> list[float]:
    """Mean of each column without NaN, and NaN for a column that has nothing else. Shape (N, C) to C numbers."""
    return [float(np.nanmean(column)) if np.isfinite(column).any() else float("nan") for column in values.T]


def cell_text(value: Any, form: str = ".4f", missing: str = "") -> str:
    """A cell of a table: text and whole numbers as they are, other numbers formatted.

    Args:
        value: the cell; None and NaN count as missing.
        form: format of numbers that are not whole, such as ``.4f``; empty for all their digits.
        missing: text for a missing number.

    Returns:
        The text; an estimate has its interval in brackets, with three decimals.

    Example:
        >>> cell_text(0.51234), cell_text(3), cell_text(float("nan"), missing="-")
        ('0.5123', '3', '-')
    """
    if value is None:
        return missing
    if isinstance(value, Estimate):
        known = not np.isnan(value.low)
        return cell_text(value.value, form, missing) + (f" [{value.low:.3f}, {value.high:.3f}]" if known else "")
    if isinstance(value, (float, np.floating)):
        return missing if np.isnan(value) else format(float(value), form)
    return str(value)


def write_csv(path: Path, heading: Sequence[str], rows: Iterable[Sequence[Any]], form: str = ".4f") -> None:
    """Write a table, completely or not at all; its folder is created if needed.

    Args:
        path: the file.
        heading: names of the columns.
        rows: cells in the order of the columns, formatted by ``cell_text``; missing numbers are blank. A column of
            estimates becomes three: the score, and its interval's bounds in ``<column>_low`` and ``<column>_high``.
        form: see ``cell_text``.
    """
    rows = [list(row) for row in rows]
    estimated = {number for row in rows for number, cell in enumerate(row) if isinstance(cell, Estimate)}
    endings = [("", *BOUNDS) if number in estimated else ("",) for number in range(len(heading))]
    with complete_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow([name + ending for name, each in zip(heading, endings, strict=True) for ending in each])
        for row in rows:
            cells = [
                part
                for cell, each in zip(row, endings, strict=True)
                for part in (cell[:3] if isinstance(cell, Estimate) else (cell, *[None] * (len(each) - 1)))
            ]
            table.writerow([cell_text(cell, form) for cell in cells])


def read_csv(path: Path) -> list[dict[str, str]]:
    """Rows of a table by the names of its columns."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def with_intervals(row: Mapping[str, str]) -> dict[str, str]:
    """A row of ``read_csv`` in which each score has its bounds in its own cell.

    Example:
        >>> with_intervals({"class": "lung", "dice": "0.9000", "dice_low": "0.8512", "dice_high": "0.9431"})
        {'class': 'lung', 'dice': '0.9000 [0.851, 0.943]'}
    """
    bounds = {name + ending for name in row for ending in BOUNDS if all(name + each in row for each in BOUNDS)}
    shown = {}
    for name, value in row.items():
        if name not in bounds:
            ends = [f"{float(row[name + each]):.3f}" for each in BOUNDS if value and row.get(name + each)]
            shown[name] = f"{value} [{', '.join(ends)}]" if ends else value
    return shown


def score_of(column: str) -> str:
    """The score in a column of a table of cases, the higher the better; empty if the column holds something else.

    Example:
        >>> score_of("dice_lung"), score_of("nsd_1mm_infection"), score_of("dice_low"), score_of("slices")
        ('dice', 'nsd_1mm', '', '')
    """
    found = next((score for score in SCORES if column == score or column.startswith(f"{score}_")), "")
    return "" if column.endswith(BOUNDS) else found


def score_value(text: str, where: str, highest: float = 1.0) -> float:
    """A score of a table; NaN for an empty cell. A comma is the decimal comma of tables from spreadsheet programs.

    Args:
        text: of the cell.
        where: table, case and column, for the message.
        highest: possible score; 0 for numbers of any size.

    Raises:
        ValueError: for a cell that is no number, or out of range.
    """
    try:
        number = float(text.replace(",", ".")) if text else float("nan")
    except ValueError:
        raise ValueError(f"{where}: a score must be a number or an empty cell, got {text!r}. Correct it.") from None
    if highest and not np.isnan(number) and not 0 <= number <= highest:
        advice = "Divide percentages by 100." if number > highest else "Correct it."
        raise ValueError(f"{where}: a score must be between 0 and 1, got {text}. {advice}")
    return number


class GrowingTable:
    """A CSV file that receives rows as cases finish, so that an interrupted run keeps them.

    A file that exists is overwritten; the folder is created if needed.

    Args:
        path: the file.
        columns: names of the columns.
        form: format of the numbers, see ``cell_text``.

    Example:
        >>> table = GrowingTable("lesions.csv", ["case", "lesion_ml"], form=".1f")
        >>> table.append({"case": "patient_1", "lesion_ml": 12.34})
    """

    def __init__(self, path: str | Path, columns: Sequence[str], form: str = ".4f") -> None:
        self.path, self.columns, self.form = Path(path), list(columns), form
        write_csv(self.path, self.columns, [])

    def append(self, *rows: Mapping[str, Any]) -> None:
        """Add rows and write them to disk; missing numbers are blank.

        Raises:
            ValueError: if a row has a column that the table lacks.
        """
        for row in rows:
            if unknown := [name for name in row if name not in self.columns]:
                raise ValueError(f"{self.path} has no column {unknown[0]!r}. Its columns: {', '.join(self.columns)}.")
        with self.path.open("a", newline="", encoding="utf-8") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerows([cell_text(row.get(name), self.form) for name in self.columns] for row in rows)


def aligned(heading: Sequence[str], rows: Iterable[Sequence[Any]], form: str = ".4f") -> str:
    """A table for the terminal: the first column starts at the left, the others end at the right.

    Args:
        heading: names of the columns.
        rows: cells in the order of the columns, formatted by ``cell_text``; missing numbers are ``-``.
        form: see ``cell_text``.
    """
    lines = [list(heading), *([cell_text(cell, form, "-") for cell in row] for row in rows)]
    first, *others = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        line[0].ljust(first) + "".join(f"   {cell:>{width}}" for cell, width in zip(line[1:], others, strict=True))
        for line in lines
    )


def print_table(text: str, folder: Path, *files: str, note: str = "") -> None:
    """Print a table from ``aligned``, a note, and the names of the files that hold it."""
    print("\n".join(["", text, *([note] if note else []), "", f"Written: {folder}/{', '.join(files)}"]))
