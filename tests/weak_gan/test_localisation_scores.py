"""Scores of heatmaps agree with scikit-learn and with numbers worked by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from csv_rows import rows
from heatmaps import evaluate
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score

from common.statistics import mean_interval
from common.weak_gan.scores import LocalisationScores


def scores(folder: Path, heats: Any, truths: Any, **options: Any) -> dict[str, dict[str, float | None]]:
    """``scores.csv`` by row, None where it is blank."""
    evaluate(heats, truths, LocalisationScores(folder, **options))
    found = {row.pop("row"): row for row in rows(folder / "scores.csv")}
    words = ("absent_scores", "interval_over")
    return {
        name: {key: float(v) if v else None for key, v in row.items() if key not in words}
        for name, row in found.items()
    }


def test_areas_have_intervals_over_patients_and_absent_slices_are_counted(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    truths = rng.random((12, 20, 20)) < 0.2
    truths[10:] = False  # the last case
    heats = np.clip(rng.normal(0.2 + 0.4 * truths, 0.25), 0, 1).astype(np.float32)
    heats[11] = 0
    found = scores(tmp_path, heats, truths)
    pooled, averaged = found["pooled pixels"], found["mean over slices with lesions"]
    for row in (pooled, averaged):
        for score in ("pr_area", "dice_at_threshold"):
            low, high = row[f"{score}_low"], row[f"{score}_high"]
            assert low is not None and high is not None and low < float(row[score] or 0) < high
        assert "best_dice_low" not in row
    assert (averaged["slices"], averaged["absent"], averaged["false_alarms"]) == (10, 2, 1)
    # Cases of two slices are drawn, as no patients are named
    areas = [average_precision_score(t.ravel(), h.ravel()) for t, h in zip(truths[:10], heats[:10], strict=True)]
    expected = mean_interval([*areas, np.nan, np.nan], [f"case{index // 2}" for index in range(12)])
    assert [averaged[f"pr_area_{end}"] for end in ("low", "high")] == pytest.approx(expected[1:3], abs=1e-2)
    per_slice = rows(tmp_path / "scores_per_slice.csv")
    assert [row["pr_area"] != "" for row in per_slice] == [True] * 10 + [False] * 2


def test_areas_and_dice_agree_with_scikit_learn_on_random_heatmaps(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    truths = rng.random((5, 40, 40)) < 0.1
    truths[3:] = False
    heats = np.clip(rng.normal(0.2 + 0.4 * truths, 0.25), 0, 1).astype(np.float32)
    found = scores(tmp_path, heats, truths)
    pooled, averaged = found["pooled pixels"], found["mean over slices with lesions"]
    # Heat is counted in bins, which moves an area a little
    assert pooled["pr_area"] == pytest.approx(average_precision_score(truths.ravel(), heats.ravel()), abs=2e-3)
    per_slice = [average_precision_score(t.ravel(), h.ravel()) for t, h in zip(truths[:3], heats[:3], strict=True)]
    assert averaged["pr_area"] == pytest.approx(np.mean(per_slice), abs=2e-3)
    assert (pooled["slices"], averaged["slices"]) == (5, 3)
    curve = rows(tmp_path / "curve.csv")
    for row in curve:
        taken = heats > np.float32(row["threshold"])
        for name, score in (("precision", precision_score), ("recall", recall_score), ("dice_pooled", f1_score)):
            assert float(row[name]) == pytest.approx(score(truths.ravel(), taken.ravel()), abs=1e-6), (name, row)
        per_slice = [f1_score(t.ravel(), h.ravel()) for t, h in zip(truths[:3], taken[:3], strict=True)]
        assert float(row["dice_slices"]) == pytest.approx(np.mean(per_slice), abs=1e-6)
    assert pooled["best_dice"] == max(float(row["dice_pooled"]) for row in curve)
    points = np.array([[float(row["precision"]), float(row["recall"])] for row in rows(tmp_path / "pr_curve.csv")])
    assert 100 < len(points) <= 200 and (np.diff(points[:, 1]) > 0).all() and (points[0, 1], points[-1, 1]) == (0, 1)
    thinned = np.diff(points[:, 1], prepend=0) @ points[:, 0]
    assert thinned == pytest.approx(pooled["pr_area"], abs=0.01)


def test_dice_at_a_threshold_is_worked_by_hand(tmp_path: Path) -> None:
    # Above 0.4: 2 of 3 lesion pixels and 1 other in the first slice, 1 of 1 in the second; 0.4 itself is not above.
    heats = [[[0.9, 0.5, 0.4], [0.6, 0.0, 0.4]], [[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]]
    truths = [[[1, 1, 1], [0, 0, 0]], [[1, 0, 0], [0, 0, 0]]]
    found = scores(tmp_path, heats, truths)
    assert found["pooled pixels"]["dice_at_threshold"] == pytest.approx(2 * 3 / (4 + 4), abs=1e-6)
    averaged = found["mean over slices with lesions"]
    assert averaged["dice_at_threshold"] == pytest.approx((2 * 2 / (3 + 3) + 1) / 2, abs=1e-6)
    # Above 0.35, all 4 lesion pixels and 2 others: 8 / 10. The first of equal thresholds is reported.
    assert found["pooled pixels"]["best_dice"] == pytest.approx(0.8, abs=1e-6)
    assert found["pooled pixels"]["best_threshold"] == pytest.approx(0.05)
    # In the order of the heatmap: 1.0 and 0.9 hit, 0.6 misses, 0.5 hits, both of 0.4 come together.
    area = (1 + 1 + 3 / 4 + 4 / 6) / 4
    assert found["pooled pixels"]["pr_area"] == pytest.approx(area, abs=1e-6)
    assert scores(tmp_path, heats, truths, threshold=0.39)["pooled pixels"]["dice_at_threshold"] == pytest.approx(0.8)


def test_slices_without_lesions_count_in_one_row_and_not_in_the_papers(tmp_path: Path) -> None:
    # The paper tests on slices with lesions only. Of two, one has 2 lesion pixels of 6 and heat on 4, 2 of them right
    heats = [[[0.15, 0.35, 0.35], [0.15, 0, 0]], [[0.9, 0.9, 0], [0, 0, 0]]]
    truths = [[[0, 1, 1], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]]
    found = scores(tmp_path, heats, truths)
    everything, lesions = found["pooled pixels"], found["pooled pixels of slices with lesions"]
    assert (everything["slices"], lesions["slices"]) == (2, 1)
    assert lesions["pr_area"] == 1 and everything["pr_area"] == pytest.approx(2 / 4, abs=1e-6)
    by_threshold = {each: [row[f"dice_at_{each}"] for row in (lesions, everything)] for each in (0.1, 0.2, 0.3, 0.4)}
    assert by_threshold[0.1] == [pytest.approx(2 * 2 / (4 + 2), abs=1e-6), pytest.approx(2 * 2 / (6 + 2))]
    assert by_threshold[0.2] == by_threshold[0.3] == [1, pytest.approx(2 * 2 / (4 + 2), abs=1e-6)]
    assert by_threshold[0.4] == [0, 0]
    assert [row["dice_of_slices_with_lesions"] for row in rows(tmp_path / "curve.csv")][1:7:2] == [
        *("0.666667", "1.000000", "1.000000"),
    ]
    curve = rows(tmp_path / "pr_curve.csv")
    assert [row["precision_of_slices_with_lesions"] for row in curve] == ["1.000000", "1.000000"] + [""] * (
        len(curve) - 2
    )


def test_a_heatmap_equal_to_the_ground_truth_scores_one_and_its_inverse_the_prevalence(tmp_path: Path) -> None:
    truth = np.zeros((2, 10, 10))
    truth[0, :2, :5] = 1
    perfect = scores(tmp_path, truth, truth)
    assert [perfect["pooled pixels"][key] for key in ("pr_area", "dice_at_threshold", "best_dice")] == [1, 1, 1]
    inverted = scores(tmp_path, 1 - truth, truth)["pooled pixels"]
    assert (inverted["pr_area"], inverted["dice_at_threshold"]) == (pytest.approx(10 / 200), 0)


def test_a_heatmap_of_zeros_finds_nothing_and_one_of_one_half_everything(tmp_path: Path) -> None:
    truth = np.zeros((1, 10, 10))
    truth[0, :2] = 1
    for heat, dice, precision in ((0.0, 0, ""), (0.5, 2 * 20 / (20 + 100), "0.200000")):
        found = scores(tmp_path, np.full((1, 10, 10), heat), truth)["pooled pixels"]
        assert found["pr_area"] == pytest.approx(0.2), "all pixels come together"
        assert found["dice_at_threshold"] == pytest.approx(dice, abs=1e-6)
        assert rows(tmp_path / "curve.csv")[7]["precision"] == precision
    assert [row["dice_pooled"] == "0.000000" for row in rows(tmp_path / "curve.csv")].index(True) == 9, "at 0.5"


def test_without_lesions_there_are_no_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = scores(tmp_path, np.full((3, 4, 4), 0.7), np.zeros((3, 4, 4)))
    assert [row.pop("slices") for row in found.values()] == [3, 0, 0]
    counts = [(row.pop("absent"), row.pop("false_alarms")) for row in found.values()]
    assert counts == [(None, None), (3, 3), (3, 3)]
    assert {value for row in found.values() for value in row.values()} == {None}
    assert rows(tmp_path / "pr_curve.csv") == []
    assert [(row["precision"], row["dice_pooled"]) for row in rows(tmp_path / "curve.csv")][12:14] == [
        ("0.000000", ""),
        ("", ""),
    ]
    assert "nan" not in capsys.readouterr().out
    assert (tmp_path / "localisation.png").is_file()


def test_a_heatmap_out_of_range_is_refused_with_its_slice(tmp_path: Path) -> None:
    heats = np.zeros((3, 4, 4))
    for value in (-0.5, 1.5, np.nan):
        heats[2, 0, 0] = value
        with pytest.raises(ValueError, match=r"case1, slice 2: a heatmap must be in 0\.\.1, got .* Clip it"):
            scores(tmp_path, heats, np.zeros((3, 4, 4)))
    with pytest.raises(ValueError, match=r"The threshold must be in 0\.\.1, below 1, in steps of 0.001, got 0.4005"):
        LocalisationScores(tmp_path, threshold=0.4005)
