"""Tables: cells as they are written and printed, complete files, rows that outlast an interrupted run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.statistics import Estimate
from common.tables import (
    GrowingTable,
    aligned,
    cell_text,
    column_means,
    print_table,
    read_csv,
    with_intervals,
    write_csv,
)

NAN = float("nan")


@pytest.mark.parametrize(
    ("value", "form", "expected"),
    [
        (0.51234, ".4f", "0.5123"),
        (np.float32(0.25), ".4f", "0.2500"),
        (10.5, "", "10.5"),
        (7, ".4f", "7"),
        ("lung", ".4f", "lung"),
        (None, ".4f", "-"),
        (NAN, "", "-"),
    ],
)
def test_a_cell_is_formatted_only_if_it_is_a_number_that_is_not_whole(value: object, form: str, expected: str) -> None:
    assert cell_text(value, form, missing="-") == expected


def test_a_table_is_written_and_read_with_blanks_for_missing_numbers(tmp_path: Path) -> None:
    path = tmp_path / "new" / "scores.csv"
    write_csv(path, ["class", "dice", "slices"], [["lung", 0.5, 3], ["a, b", NAN, 0]])
    assert path.read_bytes() == b'class,dice,slices\nlung,0.5000,3\n"a, b",,0\n'
    assert read_csv(path)[1] == {"class": "a, b", "dice": "", "slices": "0"}


def test_a_table_that_cannot_be_finished_leaves_the_one_before_it(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    write_csv(path, ["a"], [[1]])
    with pytest.raises(ZeroDivisionError):
        write_csv(path, ["a"], ([1 / number] for number in (1, 0)))
    assert path.read_text() == "a\n1\n" and list(tmp_path.iterdir()) == [path]


def test_rows_of_a_growing_table_are_on_disk_at_once(tmp_path: Path) -> None:
    path = tmp_path / "cases.csv"
    path.write_text("of an earlier run\n")
    table = GrowingTable(path, ["case", "ml"], form=".1f")
    assert path.read_text() == "case,ml\n"
    table.append({"ml": 2.25, "case": "a"}, {"case": "b"})
    assert path.read_text() == "case,ml\na,2.2\nb,\n"
    with pytest.raises(ValueError, match=r"cases\.csv has no column 'HU'\. Its columns: case, ml\."):
        table.append({"case": "c", "HU": 1})
    assert len(read_csv(path)) == 2


def test_columns_are_aligned_and_the_files_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = aligned(["class", "Dice", "slices"], [["ground-glass", 0.5, 12], ["lung", NAN, 3]])
    assert text.splitlines() == [
        "class            Dice   slices",
        "ground-glass   0.5000       12",
        "lung                -        3",
    ]
    print_table(text, Path("out"), "scores.csv", "scores_per_slice.csv")
    assert capsys.readouterr().out == f"\n{text}\n\nWritten: out/scores.csv, scores_per_slice.csv\n"


def test_a_mean_leaves_out_what_is_missing() -> None:
    assert column_means(np.array([[1.0, NAN], [0.5, NAN]])) == [0.75, pytest.approx(NAN, nan_ok=True)]


def test_an_estimate_is_three_columns_in_a_file_and_one_cell_on_a_page(tmp_path: Path) -> None:
    rows = [["lung", Estimate(0.91234, 0.85, 0.94), 3], ["lesion", Estimate(0.5), 1], ["none", None, 0]]
    write_csv(tmp_path / "scores.csv", ["class", "dice", "slices"], rows)
    assert (tmp_path / "scores.csv").read_text().splitlines() == [
        "class,dice,dice_low,dice_high,slices",
        "lung,0.9123,0.8500,0.9400,3",
        "lesion,0.5000,,,1",
        "none,,,,0",
    ]
    shown = [with_intervals(row) for row in read_csv(tmp_path / "scores.csv")]
    assert [row["dice"] for row in shown] == ["0.9123 [0.850, 0.940]", "0.5000", ""]
    assert list(shown[0]) == ["class", "dice", "slices"]
    assert aligned(["class", "Dice", "slices"], rows).splitlines()[1:] == [
        "lung     0.9123 [0.850, 0.940]        3",
        "lesion                  0.5000        1",
        "none                         -        0",
    ]
