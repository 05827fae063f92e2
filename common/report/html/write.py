"""How a page becomes HTML."""

from __future__ import annotations

import base64
import hashlib
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from ...files import complete_file
from ..case_report import printable
from .page import Column, Page, Row, Table
from .pictures import Small, small_copies

NAME = "report.html"
HERE = Path(__file__).parent
FIGURE_BYTES = 160_000  # of one figure's small copy
LISTED = 500  # lines of a list
STATES = {"failed": "&#10005; failed", "unusual": "! unusual", "done": "&#10003; done"}


def write_page(folder: str | Path, page: Page, name: str = NAME) -> Path:
    """Write a page, by default ``report.html``, into a folder, completely or not at all.

    The page holds its style, its script and small copies of all pictures. It links to files of the folder by relative
    paths, so that the folder can be moved. A browser loads nothing from a network for it.

    Args:
        folder: of the page; pictures and files lie below it.
        page: what it shows.
        name: of its file.

    Returns:
        Path of the page.
    """
    path = Path(folder) / name
    with complete_file(path) as part:
        part.write_text(html(page, Path(folder)), encoding="utf-8")
    return path


def html(page: Page, folder: Path) -> str:
    """The page as text; see ``write_page``."""
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    policy = (
        f"default-src 'none'; script-src 'sha256-{_digest(script)}'; style-src 'sha256-{_digest(style)}'; "
        "img-src data: file: 'self'; base-uri 'none'; form-action 'none'"
    )
    pictures = small_copies([row.picture for row in page.rows if row.picture is not None])
    pictures |= small_copies(page.figures, largest=FIGURE_BYTES, most=4 * FIGURE_BYTES)
    draw = _Draw(folder, pictures)
    return Template((HERE / "page.html").read_text(encoding="utf-8")).substitute(
        policy=policy,
        style=style,
        script=script,
        title=_text(page.title),
        lines="\n".join(f"<p>{_text(line)}</p>" for line in page.lines),
        figures=draw.figures(page.figures),
        tables="\n".join(map(_table, page.tables)),
        cases=draw.cases(page) if page.rows else "",
        foot=_foot(page),
    )


@dataclass(frozen=True)
class _Draw:
    """What needs the folder of the page and the small copies of its pictures."""

    folder: Path
    pictures: Mapping[Path, Small]

    def link(self, path: Path) -> str:
        """A path relative to the page, as a URL."""
        relative = path.relative_to(self.folder) if path.is_relative_to(self.folder) else path
        return f"./{quote(os.fsencode(relative.as_posix()))}" if not relative.is_absolute() else path.as_uri()

    def picture(self, path: Path | None, alt: str, caption: str) -> str:
        """A small picture that opens large; words if there is none."""
        small = None if path is None else self.pictures.get(path)
        if path is None or small is None:
            return '<span class="faint">no picture</span>'
        size = f'width="{small.width}" height="{small.height}"'
        return (
            f'<a class="open" href="{_text(self.link(path))}" data-caption="{_text(caption)}">'
            f'<img alt="{_text(alt)}" loading="lazy" {size} src="{small.uri}"></a>'
        )

    def figures(self, paths: Sequence[Path]) -> str:
        shown = (
            f"<figure>{self.picture(path, path.stem, path.name)}<figcaption>{_text(path.name)}</figcaption></figure>"
            for path in paths
            if path in self.pictures
        )
        text = "\n".join(shown)
        return f'<div class="figures">{text}</div>' if text else ""

    def cases(self, page: Page) -> str:
        """The tools, and the table of cases."""
        named = page.words[1].capitalize()
        heads = "".join(
            f'<th scope="col" aria-sort="none"{_number(column)}>'
            f'<button type="button">{_text(_heading(column))}</button></th>'
            for column in (Column("", page.words[0].capitalize()), Column("", "State and remarks"), *page.columns)
        )
        pictures = any(row.picture is not None for row in page.rows)
        first = '<th scope="col">Picture</th>' if pictures else ""
        rows = "\n".join(self.row(page, row, pictures) for row in page.rows)
        return (
            f'<h2 id="named">{_text(named)}</h2>\n{_tools(page)}\n'
            '<div class="scroll"><table id="cases" aria-labelledby="named">'
            f"<thead><tr>{first}{heads}</tr></thead>\n"
            f"<tbody>\n{rows}\n</tbody></table></div>"
        )

    def row(self, page: Page, row: Row, pictures: bool) -> str:
        """One case."""
        cells = "".join(_cell(column, row.cells.get(column.name)) for column in page.columns)
        caption = f"{row.name}: {'; '.join(_facts(page, row))}"
        picture = f"<td>{self.picture(row.picture, f'Overlay of {row.name}', caption)}</td>" if pictures else ""
        links = "".join(
            f'<a href="{_text(self.link(path))}">{_text(_ending(path, row.name))}</a>' for path in row.files
        )
        remarks = "".join(f"<li>{_text(line)}</li>" for line in _remarks(row))
        mark = "" if row.state == "done" else f" data-{row.state}"
        group = f' data-group="{_text(row.cells.get(page.group) or "none")}"' if page.group else ""
        return (
            f'<tr class="{row.state}"{mark}{group}>{picture}<th scope="row">{_text(row.name)}'
            f'{f"<div>{links}</div>" if links else ""}</th><td class="state"><b>{STATES[row.state]}</b>'
            f"{f'<ul>{remarks}</ul>' if remarks else ''}</td>{cells}</tr>"
        )


def _heading(column: Column) -> str:
    return f"{column.heading}, {column.unit}" if column.unit else column.heading


def _facts(page: Page, row: Row) -> list[str]:
    """What is known of a case, in words."""
    known = ((each, row.cells.get(each.name)) for each in page.columns)
    return [f"{each.heading} {_shown(each, value)} {each.unit}".strip() for each, value in known if value is not None]


def _remarks(row: Row) -> Iterable[str]:
    if row.failed:
        yield row.failed
    yield from (f"Unusual: {words}" for words in row.unusual)
    yield from (f"Warning: {words}" for words in row.warnings)


def _tools(page: Page) -> str:
    """Filters; the script shows them, because they need it."""
    counts = {"all": len(page.rows)} | {
        state: sum(row.state == state for row in page.rows) for state in ("failed", "unusual")
    }
    buttons = "".join(
        f'<button type="button" data-show="{name}" aria-pressed="{str(name == "all").lower()}">'
        f"{name.capitalize()} ({count})</button>"
        for name, count in counts.items()
    )
    chosen = ""
    if page.group:
        heading = next(column.heading for column in page.columns if column.name == page.group)
        values = sorted({str(row.cells.get(page.group) or "none") for row in page.rows})
        options = "".join(f'<option value="{_text(value)}">{_text(value)}</option>' for value in values)
        chosen = f'<label>{_text(heading)} <select id="group"><option value="">all</option>{options}</select></label>'
    note = f'<p class="faint">{_text(page.unusual)}</p>' if page.unusual else ""
    return (
        f'<div class="tools" id="tools" hidden><div role="group" aria-label="Show">{buttons}</div>{chosen}'
        f'<label>Search <input type="search" id="words"></label><span id="count" role="status"></span></div>{note}'
    )


def _cell(column: Column, value: Any) -> str:
    if not column.form:
        return f"<td>{_text(_shown(column, value))}</td>"
    number = isinstance(value, (int, float)) and math.isfinite(value)
    return f'<td class="n"{f" data-v={value:.9g}" if number else ""}>{_text(_shown(column, value))}</td>'


def _shown(column: Column, value: Any) -> str:
    """A value in words; a missing one is empty, or ``-`` among numbers."""
    if column.form and isinstance(value, (int, float)) and math.isfinite(value):
        return format(value * column.scale, column.form)
    return ("-" if column.form else "") if value is None or value != value else str(value)


def _number(column: Column) -> str:
    return ' class="n"' if column.form else ""


def _table(table: Table) -> str:
    """A small table; cells that are numbers end at the right."""

    def cell(value: Any) -> str:
        try:
            float(str(value).partition(" [")[0])  # an interval may follow
        except (TypeError, ValueError):
            return f"<td>{_text(value)}</td>"
        return f'<td class="n">{_text(value)}</td>'

    heads = "".join(f'<th scope="col">{_text(name)}</th>' for name in table.heading)
    rows = "\n".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in table.rows)
    return (
        f'<h2>{_text(table.title)}</h2>\n<div class="wide"><table><thead><tr>{heads}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody></table></div>"
    )


def _foot(page: Page) -> str:
    blocks = []
    for heading, facts in page.facts.items():
        if facts:
            pairs = "".join(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in facts.items())
            blocks.append(f"<section><h2>{_text(heading)}</h2><dl>{pairs}</dl></section>")
    for heading, lines in page.lists.items():
        if lines:
            listed = "".join(f"<li>{_text(line)}</li>" for line in lines[:LISTED])
            rest = f"<li>and {len(lines) - LISTED} more</li>" if len(lines) > LISTED else ""
            blocks.append(f"<details><summary>{_text(heading)}</summary><ul>{listed}{rest}</ul></details>")
    return "\n".join(blocks)


def _ending(path: Path, case: str) -> str:
    """A file's name without that of its case: ``mask.nii.gz``."""
    return path.name.removeprefix(f"{case.rpartition('/')[2]}_")


def _text(value: Any) -> str:
    """Any value as text of a page or of an attribute."""
    return escape(printable(str(value)), quote=True)


def _digest(text: str) -> str:
    """Hash of an inline style or script, by which the page's policy allows it."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
