"""Surface Dice by hand, detection of lesions by hand, and the tables of an evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from csv_rows import rows, rows_by_name
from ignite.engine import Engine
from scipy.ndimage import distance_transform_edt

from common.handlers.region_scores import RegionScores, detected, surface_dice


def line(row: int) -> torch.Tensor:
    """A line of 20 pixels, bool (12, 30)."""
    mask = torch.zeros(12, 30, dtype=torch.bool)
    mask[row, 5:25] = True
    return mask


@pytest.mark.parametrize(("pixel", "expected"), [(0.4, [1, 1]), (1.0, [0, 1]), (1.6, [0, 0])])
def test_surface_dice_is_the_share_of_the_contour_within_so_many_mm(pixel: float, expected: list[float]) -> None:
    # Two lines, two rows apart: 0.8, 2.0 and 3.2 mm
    assert surface_dice(line(7), line(5), [pixel, 9.0]) == expected
    assert surface_dice(line(5), line(5), [pixel, 9.0]) == [1, 1]
    assert surface_dice(torch.zeros_like(line(5)), line(5), [pixel, 9.0]) == [0, 0]


def test_surface_dice_agrees_with_distances_by_scipy(rng: np.random.Generator) -> None:
    truth, pred = np.zeros((2, 40, 40), bool)
    truth[8:25, 10:30], pred[10:28, 9:27] = True, True

    def contour(mask: np.ndarray) -> np.ndarray:
        inner = mask & np.roll(mask, 1, 0) & np.roll(mask, -1, 0) & np.roll(mask, 1, 1) & np.roll(mask, -1, 1)
        return mask & ~inner

    edges = contour(pred), contour(truth)
    distances = [distance_transform_edt(~other, sampling=(0.7, 0.9))[own] for own, other in (edges, edges[::-1])]
    expected = [np.mean(np.concatenate(distances) <= tolerance) for tolerance in (1, 3)]
    assert 0 < expected[0] < expected[1]
    assert surface_dice(torch.from_numpy(pred), torch.from_numpy(truth), [0.7, 0.9]) == pytest.approx(expected)
    assert np.isnan(surface_dice(line(5), line(5), [np.nan, np.nan])).all(), "the size of a pixel is not known"


def test_lesions_are_found_by_any_overlap() -> None:
    truth, pred = np.zeros((2, 12, 12), bool)
    truth[1:4, 1:4] = truth[4, 4] = True  # connected by a corner: one lesion
    truth[8:11, 1:3] = truth[8:11, 5:7] = True  # two, found by one bridge
    truth[1:3, 9:11] = True  # missed
    pred[3, 3] = pred[9, 1:7] = True
    pred[6, 10] = pred[11, 11] = True  # two false specks
    assert detected(pred, truth) == (3, 2, 1)
    assert detected(~truth & False, truth) == (0, 0, 4) and detected(pred, truth & False) == (0, 4, 0)


def evaluate(folder: Path, pairs: list[tuple[torch.Tensor, torch.Tensor]], pixel: float = 1.0) -> None:
    batches: list[list[dict[str, Any]]] = [
        [{"case": f"v{index}", "patient": f"p{index}", "slice": 0, "pixel": torch.tensor([pixel, pixel])}]
        for index in range(len(pairs))
    ]
    output = iter(pairs)
    engine = Engine(
        lambda _, batch: [dict(zip(("pred", "label"), (m[None].float() for m in next(output)), strict=True))]
    )
    RegionScores(folder, ["infection"]).attach(engine)
    engine.run(batches)


def test_the_tables_hold_means_pooled_lesions_and_what_was_left_out(tmp_path: Path) -> None:
    nothing = torch.zeros_like(line(5))
    both = line(5) | line(9)
    pairs = [(line(5), line(5)), (line(7), line(5)), (line(5), both), (line(5), nothing), (nothing, nothing)]
    evaluate(tmp_path, pairs)
    row = rows_by_name(tmp_path / "region_scores.csv")["infection"]
    # One of two lines within 1 mm: 40 of 60 contour pixels; within 3 mm the same, as the lines are 4 mm apart
    assert float(row["dice"]) == pytest.approx((1 + 0 + 2 / 3) / 3, abs=1e-4)
    assert float(row["nsd_1mm"]) == pytest.approx((1 + 0 + 40 / 60) / 3, abs=1e-4)
    assert float(row["nsd_3mm"]) == pytest.approx((1 + 1 + 40 / 60) / 3, abs=1e-4)
    # Lesions: found 1, 0, 1; false 0, 1, 0, and 1 where there is none; missed 0, 1, 1
    shown = [float(row[f"lesion_{name}"]) for name in ("precision", "recall", "f1")]
    assert shown == pytest.approx([2 / 4, 2 / 4, 4 / 8], abs=1e-4)
    counts = ("lesions", "slices", "slices_with_spacing", "absent", "false_alarms")
    assert [row[name] for name in counts] == ["4", "3", "3", "2", "1"]
    assert row["interval_over"] == "none: 3 to 4 patients, 5 needed", "precision is known where lesions are absent, too"
    slices = rows(tmp_path / "region_scores_per_slice.csv")
    assert [each["lesion_recall_infection"] for each in slices] == ["1.0000", "0.0000", "0.5000", "", ""]
    assert [each["nsd_1mm_infection"] for each in slices] == ["1.0000", "0.0000", "0.6667", "", ""]


def test_without_the_size_of_a_pixel_only_the_surface_dice_is_blank(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        evaluate(tmp_path, [(line(5), line(5))], float("nan"))
    row = rows_by_name(tmp_path / "region_scores.csv")["infection"]
    assert (row["dice"], row["nsd_1mm"], row["lesion_f1"]) == ("1.0000", "", "1.0000")
    assert row["slices_with_spacing"] == "0" and "do not state the size of a pixel" in caplog.text
