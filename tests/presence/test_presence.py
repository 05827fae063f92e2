"""Findings of clips are scored as scikit-learn scores them, with intervals over patients."""

from __future__ import annotations

from pathlib import Path

import csv_rows
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from common.metrics import area_under_curve
from common.presence.command import main


def test_the_area_is_that_of_scikit_learn_with_ties() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 6, 60) / 10
    present = rng.random(60) < 0.2 + values
    patients = [str(number // 2) for number in range(60)]
    found = area_under_curve(list(values), list(present), patients)
    assert found.value == pytest.approx(roc_auc_score(present, values), abs=1e-12)
    assert found.units == 30


def write(folder: Path, labels: str) -> tuple[Path, Path]:
    """Six clips of three patients: share of B-line rises with the number; labels as given."""
    (folder / "data").mkdir()
    rows = [f"{number}.mp4,{number // 2},{label}" for number, label in enumerate(labels)]
    (folder / "data" / "manifest.csv").write_text("\n".join(["file,patient,blines", *rows]))
    cases = [f"{number},{number / 10},{number > 2:d}" for number in range(6)]
    (folder / "out").mkdir()
    (folder / "out" / "cases.csv").write_text("\n".join(["case,share_B-line,frames_with_B-line", *cases]))
    return folder / "out", folder / "data"


def test_clips_are_found_by_their_path_and_each_measure_is_scored(tmp_path: Path) -> None:
    out, data = write(tmp_path, "001011")  # of the nine pairs with and without, one is the wrong way round
    assert main([str(out), str(data), "--output_dir", str(tmp_path / "scores")]) == 0
    rows = {row["measure"]: row for row in csv_rows.rows(tmp_path / "scores" / "presence.csv")}
    assert float(rows["share of the image"]["auc"]) == pytest.approx(8 / 9, abs=1e-4)
    assert float(rows["share of the frames"]["auc"]) == pytest.approx(6 / 9, abs=1e-4), "four pairs are equal"
    assert rows["share of the image"]["clips_with"] == "3"
    assert {path.name for path in (tmp_path / "scores").iterdir()} == {"presence.csv", "presence.png", "report.html"}


def test_files_of_patients_that_are_not_named_count_one_by_one(tmp_path: Path) -> None:
    out, data = write(tmp_path, "001011")
    table = data / "manifest.csv"
    table.write_text(table.read_text().replace("0.mp4,0,", "0.mp4,,"))
    assert main([str(out), str(data), "--output_dir", str(tmp_path / "scores")]) == 0
    assert {row["interval_over"] for row in csv_rows.rows(tmp_path / "scores" / "presence.csv")} == {"6 files"}


@pytest.mark.parametrize(
    ("labels", "rule"), [("0x1011", r"line 3: blines must be 0, 1 or blank, got 'x'"), ("000000", "both 0 and 1")]
)
def test_labels_that_cannot_be_used_are_refused(tmp_path: Path, labels: str, rule: str) -> None:
    out, data = write(tmp_path, labels)
    with pytest.raises(ValueError, match=rule):
        main([str(out), str(data), "--output_dir", str(tmp_path / "scores")])


def test_a_table_of_other_files_is_refused(tmp_path: Path) -> None:
    out, data = write(tmp_path, "001011")
    (data / "manifest.csv").write_text("file,patient,blines\nother.mp4,1,0")
    with pytest.raises(ValueError, match=r"such as other, but .*cases\.csv has 0"):
        main([str(out), str(data), "--output_dir", str(tmp_path / "scores")])
