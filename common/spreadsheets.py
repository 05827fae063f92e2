"""Tables that people make: CSV as spreadsheet programs of any language save it."""

from __future__ import annotations

import codecs
import csv
import io
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

BYTE_ORDER_MARKS = {  # UTF-32 first: its mark begins with that of UTF-16
    **{codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF8: "utf-8-sig"},
    **{codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"},
}
WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # xlsx and ods, xls
DELIMITERS = ",;\t|"
SAVE = "Save it as 'CSV UTF-8'."


class Row(NamedTuple):
    """One row of a table.

    Attributes:
        line: its last line in the file, from 1.
        cells: stripped values by column; columns that the table lacks are empty.
    """

    line: int
    cells: dict[str, str]


def read_table(path: str | Path, needed: Sequence[str], optional: Sequence[str] = ()) -> list[Row]:
    """Read a CSV file: UTF-8, UTF-16 or Windows-1252, separated by comma, semicolon, tab or bar.

    Case and spaces around the names of columns do not matter. Blank rows are skipped.

    Args:
        path: the file.
        needed: columns that it must have.
        optional: columns that it may have.

    Raises:
        ValueError: when it is no text table, lacks a column, or a row has more values than columns; the message names
            file and line.

    Example:
        >>> for line, cells in read_table("manifest.csv", ["file", "label"]):
        ...     print(line, cells["file"])
    """
    path = Path(path)
    wanted = [*needed, *optional]
    rows = read_rows(path, wanted)
    heading = rows[0][1] if rows else []
    plain = [_plain(cell) for cell in heading]
    missing = [name for name in needed if _plain(name) not in plain]
    if missing:
        where = f", line {rows[0][0]}" if rows else ""
        wanted_words = " and ".join(filter(None, (", ".join(needed[:-1]), needed[-1])))
        raise ValueError(
            f"{path}{where}: the columns {wanted_words} are needed, got "
            f"{', '.join(filter(None, heading)) or 'none'}. Add {' and '.join(missing)}."
        )
    twice = [name for name in wanted if plain.count(_plain(name)) > 1]
    if twice:
        raise ValueError(f"{path}, line {rows[0][0]}: two columns are named {twice[0]}. Remove or rename one of them.")
    places = {name: plain.index(_plain(name)) for name in wanted if _plain(name) in plain}
    found = []
    for line, cells in rows[1:]:
        if any(cells[len(heading) :]):
            raise ValueError(
                f"{path}, line {line}: {len(heading)} values are needed, as in the heading, got {len(cells)}. Put "
                "values that contain the separator in double quotes."
            )
        values = {name: cells[place] if place < len(cells) else "" for name, place in places.items()}
        found.append(Row(line, {name: values.get(name, "") for name in wanted}))
    return found


def read_rows(path: str | Path, columns: Sequence[str] = ()) -> list[tuple[int, list[str]]]:
    """Read the rows of a CSV file, each with its last line in the file; blank rows are skipped.

    The separator is the one that finds most of ``columns`` in the first row, else the one that gives most cells.

    Args:
        path: the file.
        columns: names that the heading may have.

    Raises:
        ValueError: when it is no text table; the message names file and line.
    """
    text = _text(Path(path))
    names = {_plain(name) for name in columns}
    tried: list[list[tuple[int, list[str]]]] = []
    problems = []
    for delimiter in DELIMITERS:
        try:
            tried.append(_parsed(text, delimiter))
        except _Quotes as error:  # quotes may fit another separator
            problems.append(f"{path}, line {error}. Correct the double quotes of this line.")
    if not tried:
        raise ValueError(problems[0])

    def fit(rows: list[tuple[int, list[str]]]) -> tuple[int, int]:
        known = sum(_plain(cell) in names for cell in rows[0][1]) if rows else 0
        return known, sum(len(cells) for _, cells in rows)

    return max(tried, key=fit)


def file_below(root: Path, name: str) -> Path:
    r"""Return the file that a cell names: a path below ``root``, with ``/`` or, as on Windows, ``\``.

    Accents that are encoded in another way than on this disk are found as well. If there is no such file, the path is
    returned nevertheless.
    """
    spellings = [name, name.replace("\\", "/")]
    spellings += [unicodedata.normalize(form, spellings[1]) for form in ("NFC", "NFD")]
    for spelling in spellings:
        try:
            if (root / spelling).is_file():
                return root / spelling
        except (OSError, ValueError):  # a name that no file can have
            continue
    return root / spellings[1]


def _plain(name: str) -> str:
    return " ".join(name.split()).casefold()


class _Quotes(Exception):
    """Double quotes of a table do not match; the message is the line and what is wrong."""


def _parsed(text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """Split a table into stripped cells; each row with its line, blank rows left out."""
    first, _, rest = text.partition("\n")
    skipped = 0
    if first.strip().lower().startswith("sep=") and len(first.strip()) <= len("sep=;"):  # Excel's own hint
        text, skipped = rest, 1
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows = []
    try:
        for values in reader:
            cells = [value.strip() for value in values]
            if any(cells):
                rows.append((reader.line_num + skipped, cells))
    except csv.Error as error:
        raise _Quotes(f"{reader.line_num + skipped}: {error}") from error
    return rows


def _text(path: Path) -> str:
    data = path.read_bytes()
    if data.startswith(WORKBOOKS):
        raise ValueError(f"{path}: a table must be text, got a workbook of a spreadsheet program. {SAVE}")
    encodings = [encoding for mark, encoding in BYTE_ORDER_MARKS.items() if data.startswith(mark)]
    if not encodings:
        start = data[:1000]
        wide = start.count(b"\0") > len(start) / 4  # of UTF-16, every second byte of plain letters
        encodings = ["utf-16-be" if data[:1] == b"\0" else "utf-16-le"] if wide else ["utf-8", "cp1252"]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if not any(ord(letter) < 32 and letter not in "\t\r\n\f\v" for letter in text):
            return text
    raise ValueError(f"{path}: a table must be text in UTF-8, UTF-16 or Windows-1252, got other content. {SAVE}")
