"""Lesion burden and its table agree with numbers worked by hand."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from common.report.burden import BurdenTable, lesion_burden

VALUES = {"ground-glass": 1, "consolidation": 2}


def block() -> tuple[np.ndarray, np.ndarray]:
    """Lung of 10x10x10 voxels, 300 of them ground-glass; 100 of consolidation, half of them outside that lung."""
    mask, lung = np.zeros((20, 20, 20), np.uint8), np.zeros((20, 20, 20), bool)
    lung[:10, :10, :10] = True
    mask[:3, :10, :10] = 1
    mask[9:11, :10, :5] = 2
    return mask, lung


def test_burden_of_a_block() -> None:
    # voxels of 1 x 2 x 5 mm are 0.01 ml; the lung is its 1000 voxels and the 50 of consolidation outside it
    burden = lesion_burden(*block(), VALUES, 0.01)
    assert burden == {
        "lung_ml": 10.5,
        "ground_glass_ml": 3.0,
        "consolidation_ml": 1.0,
        "lesion_ml": 4.0,
        "share_of_lung": 0.381,
        "severity": "CT-2",
    }


def test_burden_with_an_oblique_affine() -> None:
    turn = np.deg2rad(30)
    affine = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, -1]]) @ np.diag(
        [1, 2, 5]
    )
    burden = lesion_burden(*block(), VALUES, float(abs(np.linalg.det(affine))) / 1000)
    assert burden["lung_ml"] == 10.5


def test_burden_of_an_image_has_no_volume() -> None:
    burden = lesion_burden(*block(), VALUES, None)
    assert [burden[f"{name}_ml"] for name in ("lung", "ground_glass", "consolidation", "lesion")] == [None] * 4
    assert (burden["share_of_lung"], burden["severity"]) == (0.381, "CT-2")


def test_burden_without_lung_and_without_lesion() -> None:
    nothing, lung = np.zeros((4, 4, 4), np.uint8), np.ones((4, 4, 4), bool)
    assert lesion_burden(nothing, ~lung, VALUES, 1.0)["share_of_lung"] is None
    assert lesion_burden(nothing, ~lung, VALUES, 1.0)["severity"] is None
    assert lesion_burden(nothing, lung, VALUES, 1.0)["severity"] == "CT-0"


def test_severity_counts_before_rounding() -> None:
    mask = np.zeros((100_000,), np.uint8)
    mask[0] = 1
    burden = lesion_burden(mask, np.ones(mask.shape, bool), VALUES, None)
    assert (burden["share_of_lung"], burden["severity"]) == (0.0, "CT-1")


def test_burden_rejects_wrong_arguments() -> None:
    mask, lung = block()
    with pytest.raises(ValueError, match="one shape"):
        lesion_burden(mask, lung[1:], VALUES, 1.0)
    with pytest.raises(ValueError, match="must hold integers, got float64"):
        lesion_burden(mask.astype(float), lung, VALUES, 1.0)
    with pytest.raises(ValueError, match="its own value"):
        lesion_burden(mask, lung, {"a": 1, "b": 1}, 1.0)
    with pytest.raises(ValueError, match="positive"):
        lesion_burden(mask, lung, VALUES, 0.0)


def test_the_table_keeps_finished_cases_and_can_start_again(tmp_path: Path) -> None:
    path = tmp_path / "out" / "lesions.csv"
    for _ in range(2):  # the second run starts the file again
        table = BurdenTable(path, VALUES)
        table.append("a/1", lesion_burden(*block(), VALUES, 0.01), "network")
        table.append("b, c", lesion_burden(*block(), VALUES, None), "threshold")
        with path.open(newline="", encoding="utf-8") as file:  # before it is closed: rows are on disk
            rows = list(csv.reader(file))
    assert rows == [
        "case,lung_ml,ground_glass_ml,consolidation_ml,lesion_ml,share_of_lung,severity,lung_from".split(","),
        ["a/1", "10.5", "3.0", "1.0", "4.0", "0.381", "CT-2", "network"],
        ["b, c", "", "", "", "", "0.381", "CT-2", "threshold"],
    ]
    with pytest.raises(ValueError, match="same classes"):
        table.append("a", lesion_burden(*block(), {"other": 1}, None), "network")
    with pytest.raises(ValueError, match="'guess'"):
        table.append("a", lesion_burden(*block(), VALUES, None), "guess")
