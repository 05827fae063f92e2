"""Measured severity is compared with the class of the folder that a study lies in."""

from __future__ import annotations

import csv
import logging
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser
from PIL import Image

from common.datasets.ct.folder import inference_cases
from common.report.burden import burden_columns, burden_row
from common.report.severity_comparison import compare_with_folders
from common.severity import folder_severity
from common.tables import write_csv

STUDIES = {  # share of the lung, None where no lung was found
    "CT-0/study_0001": 0.0,
    "CT-0/study_0002": 0.03,
    "CT-1/study_0255": 0.2499,
    "CT-1/study_0256": 0.25,
    "ct-2/study_0300": 0.4,
    "CT-4/study_0400": 0.6,
    "CT-4/study_0401": 0.3,
    "CT-3/study_0350": None,
    "others/study_0500": 0.9,
}
FILES = ("severity.csv", "severity_per_study.csv", "severity.png")


def write_lesions(folder: Path, studies: dict[str, float | None]) -> None:
    columns = ["case", *burden_columns(["infection"]), "lung_from"]
    rows = [row(case, share) for case, share in studies.items()]
    write_csv(folder / "lesions.csv", columns, ([row[name] for name in columns] for row in rows), form="")


def row(case: str, share: float | None) -> dict[str, Any]:
    bounds = (0.25, 0.5, 0.75)
    measured = None if share is None else f"CT-{(share > 0) + sum(share >= bound for bound in bounds)}"
    volumes = {"lung_ml": 4000.0, "infection_ml": 1.0, "lesion_ml": 1.0}
    return burden_row(case, {**volumes, "share_of_lung": share, "severity": measured}, "network", ["infection"])


def read(path: Path) -> list[list[str]]:
    with path.open() as file:
        return list(csv.reader(file))


def test_tables_agree_with_counts_by_hand(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_lesions(tmp_path, STUDIES)
    with caplog.at_level(logging.INFO):
        compare_with_folders(tmp_path)
    assert read(tmp_path / "severity.csv") == [
        ["folder", "CT-0", "CT-1", "CT-2", "CT-3", "CT-4"],
        ["CT-0", "1", "1", "0", "0", "0"],
        ["CT-1", "0", "1", "1", "0", "0"],
        ["CT-2", "0", "0", "1", "0", "0"],
        ["CT-3", "0", "0", "0", "0", "0"],
        ["CT-4", "0", "0", "1", "1", "0"],
    ]
    header, *rows = read(tmp_path / "severity_per_study.csv")
    assert header == ["case", "folder", "measured", "share_of_lung"]
    assert len(rows) == 7 and rows[4] == ["ct-2/study_0300", "CT-2", "CT-2", "0.4000"]
    assert [record.getMessage() for record in caplog.records] == [
        "Severity: 3 of 7 studies have their folder's class, 6 within one class. "
        "Left out, because no lung was found: CT-3/study_0350."
    ]
    assert Image.open(tmp_path / "severity.png").size == (1120, 510)


@pytest.mark.parametrize("studies", [{}, {"study_0255": 0.1, "CT-5/study_1": 0.1, "x/CT-1": 0.1, "CT-1_b/a": None}])
def test_nothing_is_written_or_logged_without_class_folders(
    studies: dict[str, float | None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_lesions(tmp_path, studies)
    with caplog.at_level(logging.INFO):
        compare_with_folders(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["lesions.csv"] and not caplog.records


def test_if_all_studies_lack_lung_they_are_named_and_no_table_is_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_lesions(tmp_path, {"CT-3/study_0350": None})
    with caplog.at_level(logging.INFO):
        compare_with_folders(tmp_path)
    assert "no lung was found: CT-3/study_0350." in caplog.text
    assert not any((tmp_path / name).exists() for name in FILES)


def test_the_nearest_class_folder_counts() -> None:
    cases = {"CT-1/study_1": "CT-1", "CT-1/later/ct-3/a/study_1": "CT-3", "CT-1": None, "CT-10/study_1": None}
    assert {case: folder_severity(case) for case in cases} == cases


def test_a_missing_table_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"lesions.csv, which is missing. Run inference first"):
        compare_with_folders(tmp_path)


def test_a_config_can_compare_the_table_of_its_previous_step(tmp_path: Path) -> None:
    """The step after it finds the result."""
    compare = {"_target_": "common.report.severity_comparison.compare_with_folders", "output_dir": str(tmp_path)}
    parser = ConfigParser({"write": write_lesions, "folder": tmp_path, "found": tmp_path / "severity.csv"})
    parser["run"] = ["$@write(@folder, {'CT-1/study_1': 0.1})", compare, "$@found.rename(@found.with_name('kept'))"]
    parser.get_parsed_content("run")
    assert read(tmp_path / "kept")[2] == ["CT-1", "0", "1", "0", "0", "0"]


def test_unseen_synthetic_studies_lie_in_folders_by_severity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "common.datasets.ct.folder.UNSEEN_STUDIES", {"patients": 3, "size": (64, 64), "slices": 4, "seed": 2140}
    )
    monkeypatch.setenv("COVID_LUNG_CACHE", str(tmp_path))
    cases = inference_cases("phantom_studies", partners={"label": ""})
    assert [case["case"] for case in cases] == ["CT-1/study_0256", "CT-1/study_0257", "CT-2/study_0255"]
