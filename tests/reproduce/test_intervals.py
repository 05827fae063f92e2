"""Intervals in a paper's table are over the patients of all runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from csv_rows import rows

from common.reproduce.table import read_table
from common.reproduce.table_files import write_table
from common.statistics import ScoreSums, mean_interval
from common.tables import write_csv

ENTRY = {
    "name": "table_1",
    "columns": {"Dice": {"row": "mean", "column": "dice"}, "epochs": {"row": "mean", "column": "epochs"}},
    "paper": {"unet": {"Dice": 0.7}},
}


def write_run(folder: Path, scores: list[float], first: int) -> Path:
    sums = ScoreSums([f"p{first + number}" for number in range(len(scores))], "patients")
    sums.add("mean", "dice", scores)
    sums.save(folder / "scores.npz")
    write_csv(folder / "scores.csv", ["class", "dice", "epochs"], [["mean", float(np.mean(scores)), 30]])
    return folder / "scores.csv"


def test_three_folds_of_three_patients_have_the_interval_of_nine(tmp_path: Path) -> None:
    scores = np.random.default_rng(2).beta(5, 2, (3, 3))
    runs = {f"fold{n}": write_run(tmp_path / str(n), scores[n].tolist(), 3 * n) for n in range(3)}
    table = read_table(ENTRY, ["unet"])
    write_table(tmp_path, table, {"unet": runs}, [])
    (row,) = rows(tmp_path / "table_1.csv")
    expected = mean_interval(scores.ravel())  # one fold alone has too few
    assert [float(row[f"Dice {part}"]) for part in ("mean", "low", "high")] == pytest.approx(expected[:3], abs=1e-4)
    assert row["epochs low"] == "" and row["epochs mean"] == "30"
    text = (tmp_path / "table_1.md").read_text()
    assert f"[{float(row['Dice low']):.3f}, {float(row['Dice high']):.3f}] |" in text
    assert "95 % interval of the mean by bootstrap over 9 patients of all folds." in text
    # A run of an older version wrote no sums: then the mean has no interval
    (tmp_path / "1" / "scores.npz").unlink()
    write_table(tmp_path, table, {"unet": runs}, [])
    (row,) = rows(tmp_path / "table_1.csv")
    assert row["Dice low"] == "" and float(row["Dice mean"]) == pytest.approx(scores.mean(), abs=1e-4)
    assert "In brackets" not in (tmp_path / "table_1.md").read_text()
