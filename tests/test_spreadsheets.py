"""Tables are read as spreadsheet programs save them, and refused in a user's words."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from common.spreadsheets import file_below, read_rows, read_table

ROWS = [("file", "label", "patient"), ("a/müller.png", "regular", "P 1"), ("b, c.png", "covid", "")]


def joined(separator: str, end: str = "\r\n", quote: str = "") -> str:
    return end.join(separator.join(f'"{cell}"' if quote or separator in cell else cell for cell in row) for row in ROWS)


@pytest.mark.parametrize(
    "content",
    [
        joined(",").encode(),
        joined(",", "\n", '"').encode("utf-8-sig"),
        joined(";").encode("utf-8-sig"),
        joined(";", "\r").encode("cp1252"),
        joined("\t").encode("utf-16"),
        joined("\t").encode("utf-16-le"),
        ("\ufeff" + joined("|")).encode("utf-16-be"),
        ("sep=;\r\n" + joined(";")).encode("cp1252"),
        (joined(";").replace("file", " File ") + "\r\n;;\r\n\r\n").encode(),
    ],
)
def test_tables_of_spreadsheet_programs_are_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    rows = read_table(tmp_path / "t.csv", ["file", "label"], ["patient", "lung"])
    assert [tuple(row.cells.values()) for row in rows] == [(*row, "") for row in ROWS[1:]]
    first = 3 if content.startswith(b"sep") else 2
    assert [row.line for row in rows] == [first, first + 1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04 more", "must be text, got a workbook"),
        (b"\xd0\xcf\x11\xe0 more", "must be text, got a workbook"),
        (b"\x81\x00\x01\x02", "must be text in UTF-8, UTF-16 or Windows-1252, got other content"),
        (b"", r"the columns file and label are needed, got none\. Add file and label"),
        (b"file;patient\na;b", r"line 1: the columns file and label are needed, got file, patient\. Add label\."),
        (b"file,label\na.png,0,1\n", r"line 2: 2 values are needed, as in the heading, got 3\. Put values"),
        (b"file,label,Label\n", "line 1: two columns are named label"),
        (b'file,label\n"a.png,0\nb.png,1\n', r"line 3: .*Correct the double quotes"),
    ],
)
def test_other_files_are_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ValueError, match=rf"t\.csv.*{message}"):
        read_table(tmp_path / "t.csv", ["file", "label"])


def test_rows_need_no_heading(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("NCP/1/2/3.jpg\r\n\r\nNCP\\1\\2\\4.jpg\r\n".encode("utf-16"))
    assert read_rows(tmp_path / "t.csv") == [(1, ["NCP/1/2/3.jpg"]), (3, ["NCP\\1\\2\\4.jpg"])]


@pytest.mark.parametrize("name", ["a/müller.png", "a\\müller.png", unicodedata.normalize("NFD", "a/müller.png")])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_files_are_found_as_the_table_spells_them(tmp_path: Path, name: str, form: str) -> None:
    (tmp_path / "a").mkdir()
    normal: Callable[[str], str] = lambda text: unicodedata.normalize(form, text)  # type: ignore[arg-type]  # noqa: E731
    (tmp_path / "a" / normal("müller.png")).touch()
    assert file_below(tmp_path, name).is_file()
    assert file_below(tmp_path, "a\\other.png") == tmp_path / "a" / "other.png"
    assert file_below(tmp_path, "x" * 300) == tmp_path / ("x" * 300), "too long for any file"
