"""Reading of CSV files that a run wrote, for tests."""

from __future__ import annotations

import csv
from pathlib import Path


def rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file, each by column."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def rows_by_name(path: Path) -> dict[str, dict[str, str]]:
    """Rows of a CSV file by the value in their first column."""
    return {next(iter(row.values())): row for row in rows(path)}
