"""A paper's table holds rows that others have measured, without a run of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from csv_rows import rows_by_name

from common.reproduce.table import read_table
from common.reproduce.table_files import write_table

ENTRY: dict[str, Any] = {
    "name": "table_14",
    "title": "Table 14",
    "columns": {"Dice": {"row": "ground-glass", "column": "dice"}, "IoU": {"row": "ground-glass", "column": "iou"}},
    "paper": {"ours": {"Dice": 0.89}},
    "quoted": {"Semi-Inf-Net": {"Dice": [0.646, 0.05]}, "TV-Unet": {"Dice": 0.655}},
}


def test_quoted_rows_stand_below_the_variants_with_the_papers_numbers_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr("common.report.canvas.save", lambda figure, path: drawn.append(figure))
    (tmp_path / "scores.csv").write_text("class,dice,iou\nground-glass,0.5,0.4\n")
    table = read_table(ENTRY, ["ours"])
    write_table(tmp_path, table, {"ours": {"fold0": tmp_path / "scores.csv"}}, ["Data: synthetic phantoms."])
    means = rows_by_name(tmp_path / "table_14.csv")
    assert list(means) == ["ours", "Semi-Inf-Net", "TV-Unet"]
    assert (means["ours"]["Dice mean"], means["ours"]["Dice paper mean"]) == ("0.5", "0.89")
    quoted = means["Semi-Inf-Net"]
    assert (quoted["Dice paper mean"], quoted["Dice paper std"], quoted["IoU paper mean"]) == ("0.646", "0.05", "")
    assert quoted["folds"] == quoted["Dice folds"] == quoted["Dice mean"] == "", "no run of ours, and none missing"
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in (tmp_path / "table_14.md").open()]
    assert ["Semi-Inf-Net", "paper", "", "0.646 ± 0.050", ""] in lines and [
        "TV-Unet",
        "paper",
        "",
        "0.655",
        "",
    ] in lines
    assert "INCOMPLETE" not in (tmp_path / "table_14.md").read_text()
    diamonds = [line.get_ydata()[0] for line in drawn[0].axes[0].lines if line.get_marker() == "D"]
    assert diamonds == [0.89, 0.646, 0.655]
    assert {"Semi-Inf-Net", "TV-Unet"} <= {text.get_text() for text in drawn[0].legends[0].get_texts()}


def test_a_quoted_row_that_is_a_variant_or_has_another_heading_is_refused() -> None:
    with pytest.raises(ValueError, match=r"quoted: ours is a variant\. Put its numbers under paper, or rename the row"):
        read_table({**ENTRY, "quoted": {"ours": {"Dice": 0.9}}}, ["ours"])
    with pytest.raises(ValueError, match="there is no heading 'F1'"):
        read_table({**ENTRY, "quoted": {"TV-Unet": {"F1": 0.9}}}, ["ours"])
