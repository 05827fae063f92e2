"""What a page holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Column:
    """A column of the table of cases.

    Args:
        name: key of its values in ``Row.cells``.
        heading: its words on the page.
        form: format of its numbers, such as ``.1f``; empty for text.
        unit: of its numbers.
        scale: factor of its numbers, such as 100 for per cent.
    """

    name: str
    heading: str
    form: str = ""
    unit: str = ""
    scale: float = 1.0


@dataclass(frozen=True)
class Row:
    """A case.

    Args:
        name: of the case.
        cells: values by name of the column; None is missing.
        failed: why it failed, if it did.
        unusual: what is unusual, in words.
        warnings: that it was done with.
        picture: shown small, and large when chosen.
        files: to which the page links.
    """

    name: str
    cells: Mapping[str, Any] = field(default_factory=dict)
    failed: str = ""
    unusual: Sequence[str] = ()
    warnings: Sequence[str] = ()
    picture: Path | None = None
    files: Sequence[Path] = ()

    @property
    def state(self) -> str:
        """``failed``, ``unusual`` or ``done``."""
        return "failed" if self.failed else "unusual" if self.unusual or self.warnings else "done"


@dataclass(frozen=True)
class Table:
    """A small table that is not sorted."""

    title: str
    heading: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Page:
    """All that a page shows, in its order.

    Args:
        title: heading.
        lines: below it.
        figures: pictures above the table.
        tables: small tables above it.
        columns: of the table of cases.
        rows: the cases; without any, there is no such table.
        words: what one row is, and several.
        group: name of the column that the cases can be filtered by.
        unusual: sentence that defines which cases count as unusual.
        facts: lists of terms and values at the foot, by heading.
        lists: lists at the foot, by heading, closed at first.
    """

    title: str
    lines: Sequence[str] = ()
    figures: Sequence[Path] = ()
    tables: Sequence[Table] = ()
    columns: Sequence[Column] = ()
    rows: Sequence[Row] = ()
    words: tuple[str, str] = ("case", "cases")
    group: str = ""
    unusual: str = ""
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    lists: Mapping[str, Sequence[str]] = field(default_factory=dict)
