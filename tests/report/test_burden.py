"""Lesion burden and its table agree with numbers worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from common.report.burden import burden_columns, burden_row, implausible, lesion_burden

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


def test_a_row_has_the_columns_of_its_classes() -> None:
    row = burden_row("a/1", lesion_burden(*block(), VALUES, 0.01), "network", VALUES)
    assert list(row) == ["case", *burden_columns(VALUES), "lung_from"]
    assert list(row.values()) == ["a/1", 10.5, 3.0, 1.0, 4.0, 0.381, "CT-2", "network"]
    with pytest.raises(ValueError, match="same classes"):
        burden_row("a", lesion_burden(*block(), {"other": 1}, None), "network", VALUES)
    with pytest.raises(ValueError, match="'guess'"):
        burden_row("a", lesion_burden(*block(), VALUES, None), "guess", VALUES)


def test_volumes_that_no_lung_has_are_told() -> None:
    mask, lung = np.zeros((10, 10, 10), np.uint8), np.zeros((10, 10, 10), bool)
    lung[:2] = True
    mask[2:5] = 1  # outside the lung: 300 voxels beside 200
    burden = lesion_burden(mask, lung, {"lesion": 1}, voxel_ml=10.0)
    assert implausible(burden, lung, "threshold", 10.0).startswith("most of what counts as lung are lesions outside")
    assert not implausible(burden, lung, "network", 10.0)  # more than half of this lung is lesion
    assert implausible(lesion_burden(mask, lung, {"lesion": 1}, voxel_ml=20.0), lung, "network", 20.0) == (
        "lungs of 10.0 litres, with lesions, are larger than any (9 litres)"
    )
    assert not implausible(lesion_burden(mask, lung, {"lesion": 1}, None), lung, "threshold", None)
