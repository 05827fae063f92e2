"""Threshold and temperature, chosen on the other folds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from csv_rows import rows_by_name
from PIL import Image
from scipy.special import expit

from common.calibrate.command import main
from common.calibrate.folds import best_temperature, calibration_error, read_folds
from common.handlers.threshold_scores import LOGITS, PIXELS, THRESHOLDS
from common.tables import write_csv

MIDDLES = (LOGITS[1:] + LOGITS[:-1]) / 2


def write_fold(folder: Path, best: float, stretch: float, slices: int = 6) -> None:
    """Dice 0.8 at the best threshold, less by the distance from it; logits that are too large by a factor."""
    dice = 0.8 - np.abs(np.array(THRESHOLDS) - best)
    names = [f"dice_{threshold:.2f}" for threshold in THRESHOLDS]
    scores = [[f"{folder.name}_{number}", "", 0, *dice.round(6)] for number in range(slices)]
    write_csv(folder / "eval" / "thresholds_per_slice.csv", ["case", "patient", "slice", *names], scores, form="g")
    pixels = np.full(len(MIDDLES), 100000)
    lesion = (pixels * expit(MIDDLES / stretch)).round().astype(int)
    within = pixels // 4, (pixels // 4 * expit(MIDDLES)).round().astype(int)  # well calibrated in the lungs
    table = zip(MIDDLES.round(3).tolist(), *(each.tolist() for each in (pixels, lesion, *within)), strict=True)
    write_csv(folder / "eval" / "reliability.csv", ["logit", *PIXELS], table)


def test_a_fold_is_scored_at_the_threshold_that_is_best_on_the_others(tmp_path: Path) -> None:
    for name, best in (("fold0", 0.3), ("fold1", 0.3), ("fold2", 0.6)):
        write_fold(tmp_path / "v" / name, best, stretch=2.0)
    assert main([str(tmp_path / "v"), "--output_dir", str(tmp_path / "out")]) == 0
    found = rows_by_name(tmp_path / "out" / "calibration.csv")
    # On folds 0 and 2 any threshold from 0.3 to 0.6 has the mean 0.65; the middle of the seven is 0.45
    assert [float(found[f"fold{n}"]["threshold"]) for n in range(3)] == [0.45, 0.45, 0.3]
    assert [float(found[f"fold{n}"]["dice"]) for n in range(3)] == pytest.approx([0.65, 0.65, 0.5], abs=1e-4)
    assert float(found["nested"]["dice"]) == pytest.approx((0.65 + 0.65 + 0.5) / 3, abs=1e-4)
    assert float(found["nested"]["dice_before"]) == pytest.approx((0.6 + 0.6 + 0.7) / 3, abs=1e-4)
    assert float(found["all"]["threshold"]) == 0.3 and float(found["all"]["dice"]) == pytest.approx(0.7, abs=1e-4)
    assert found["nested"]["slices"] == "18" and "over 18 cases" in (tmp_path / "out" / "report.html").read_text()
    with Image.open(tmp_path / "out" / "calibration.png") as picture:
        assert picture.width == 1200


def test_the_temperature_is_that_by_which_logits_are_too_large(tmp_path: Path) -> None:
    for name, stretch in (("fold0", 1.6), ("fold1", 1.6)):
        write_fold(tmp_path / name, 0.5, stretch)
    folds = read_folds(tmp_path)
    assert best_temperature(folds) == pytest.approx(1.6, abs=0.01)
    assert calibration_error(folds, [1.6, 1.6]) < 0.001 < 0.05 < calibration_error(folds, [1.0, 1.0])
    assert calibration_error(folds, [1.0, 1.0], within_lungs=True) < 0.001


def test_nested_errors_are_of_the_pixels_of_all_folds_together(tmp_path: Path) -> None:
    """Too large in one fold, too small in the other: as a whole the error is less than in each."""
    for name, stretch in (("fold0", 2.0), ("fold1", 0.5)):
        write_fold(tmp_path / "v" / name, 0.5, stretch)
    assert main([str(tmp_path / "v"), "--output_dir", str(tmp_path / "out")]) == 0
    found = rows_by_name(tmp_path / "out" / "calibration.csv")
    assert [float(found[name]["temperature"]) for name in ("fold0", "fold1")] == pytest.approx([0.5, 2.0], abs=0.01)
    single = [float(found[name]["error_before"]) for name in ("fold0", "fold1")]
    assert float(found["nested"]["error_before"]) < min(single)
    assert float(found["nested"]["error_lungs_before"]) < 0.001 < 0.02 < float(found["nested"]["error_lungs"])


def test_a_single_fold_is_refused(tmp_path: Path) -> None:
    write_fold(tmp_path / "fold0", 0.5, 1.0)
    with pytest.raises(FileNotFoundError, match=r"two folds or more with eval/thresholds_per_slice\.csv, found 1"):
        main([str(tmp_path), "--output_dir", str(tmp_path / "out")])


def test_tables_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    for name in ("fold0", "fold1"):
        write_fold(tmp_path / name, 0.5, 1.0)
    table = tmp_path / "fold1" / "eval" / "thresholds_per_slice.csv"
    text = table.read_text()

    def refused(content: str, message: str) -> None:
        table.write_text(content)
        with pytest.raises(ValueError, match=message):
            read_folds(tmp_path)

    refused(text.replace(",0.35,", ",72.9,", 1), r"line 2, dice_0\.\d+: a score must be between 0 and 1, got 72\.9")
    refused(text.replace(",0.35,", ",,", 1), r"a score must be a number or an empty cell, got 'none'")
    refused(text.splitlines()[0], "fold1.* holds no slice")
    refused(text.replace("fold1_0", "fold0_0"), "Folds hold out different slices, but fold0_0 is in fold0 and in fold1")
    table.write_text(text.replace(",", ";"))
    assert len(read_folds(tmp_path)) == 2, "as a spreadsheet program saves it"
    (table.parent / "reliability.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"reliability\.csv, which each evaluation writes"):
        read_folds(tmp_path)
