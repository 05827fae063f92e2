"""Two runs on the same cases: paired numbers by hand and by SciPy, refusals by name, the files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from csv_rows import rows, rows_by_name
from PIL import Image
from scipy.stats import wilcoxon

from common.compare.command import main
from common.run.errors import NothingToDo
from common.statistics import mean_interval
from common.tables import write_csv

FIRST = {"dice_ground-glass": [0.5, 0.6, 0.7, 0.8, 0.4, 0.55, 0.65], "dice_lung": [0.9] * 7}
GAIN = {"dice_ground-glass": [0.1, 0.05, 0.12, 0.02, 0.2, 0.03, 0.07], "dice_lung": [0.01, -0.01, 0, 0.02, 0, 0, 0]}
SECOND = {name: np.add(FIRST[name], GAIN[name]).round(6).tolist() for name in FIRST}


def write_patients(folder: Path, scores: dict[str, Any], names: str = "abcdefg") -> Path:
    rows = [[name, *values] for name, *values in zip(names, *scores.values(), strict=True)]
    write_csv(folder / "scores_per_patient.csv", ["patient", *scores], rows)
    return folder


def compare(*arguments: Any, folder: Path) -> dict[str, dict[str, str]]:
    assert main([*map(str, arguments), "--output_dir", str(folder)]) == 0
    return rows_by_name(folder / "comparison.csv")


def test_differences_test_and_correction_agree_with_scipy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = write_patients(tmp_path / "unet" / "eval", FIRST), write_patients(tmp_path / "vgg" / "eval", SECOND)
    found = compare(*runs, folder=tmp_path / "out")
    for name, gain in GAIN.items():
        row, p = found[name], wilcoxon(gain).pvalue
        expected = mean_interval(np.subtract(SECOND[name], FIRST[name]))
        numbers = [float(row[f"difference{end}"]) for end in ("", "_low", "_high")]
        assert numbers == pytest.approx(expected[:3], abs=1e-5)
        assert float(row["second"]) - float(row["first"]) == pytest.approx(numbers[0], abs=1e-5)
        assert float(row["p"]) == pytest.approx(p, rel=1e-4) and row["pairs"] == "7"
        assert row["interval_over"] == "7 patients"
    # Seven gains of one sign: p is 2 / 2 ** 7, and twice that after Holm, as the smaller of two
    assert float(found["dice_ground-glass"]["p"]) == pytest.approx(2 / 128, rel=1e-4)
    assert float(found["dice_ground-glass"]["p_holm"]) == pytest.approx(4 / 128, rel=1e-4)
    differences = rows_by_name(tmp_path / "out" / "differences.csv")
    assert float(differences["e"]["dice_ground-glass_difference"]) == pytest.approx(0.2)
    printed = capsys.readouterr().out
    assert "unet" in printed and "vgg" in printed, "names are the parts of the paths that differ"
    with Image.open(tmp_path / "out" / "comparison.png") as picture:
        assert picture.width >= 2 * 250 and len(picture.convert("RGB").getcolors(10**6) or []) > 50
    page = (tmp_path / "out" / "report.html").read_text()
    assert "vgg against unet" in page and "comparison.png" in page and "p_holm" in page


def test_slices_are_paired_and_tested_by_patient(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scores = rng.random((2, 6, 4))  # patients, slices
    for run, values in zip(("a", "b"), scores, strict=True):
        rows = [[f"v{p}", f"p{p}", s, values[p, s] if p + s else None] for p in range(6) for s in range(4)]
        write_csv(tmp_path / run / "scores_per_slice.csv", ["case", "patient", "slice", "f1"], rows, form="")
    scores[:, 0, 0] = np.nan
    row = compare(tmp_path / "a", tmp_path / "b", folder=tmp_path / "out")["f1"]
    gain = scores[1] - scores[0]
    assert row["pairs"] == "23" and row["interval_over"] == "6 patients", "no infection in one slice"
    assert float(row["difference"]) == pytest.approx(np.nanmean(gain), abs=1e-5)
    assert float(row["p"]) == pytest.approx(wilcoxon(np.nanmean(gain, axis=1)).pvalue, rel=1e-4)
    (folder := tmp_path / "old").mkdir()  # a table of before, which names no patient
    lines = (tmp_path / "a" / "scores_per_slice.csv").read_text().splitlines()
    unnamed = ("".join(f"{line.split(',', 2)[0]},{line.split(',', 2)[2]}\n") for line in lines)
    (folder / "scores_per_slice.csv").write_text("".join(unnamed))
    for pair in ((folder, tmp_path / "b"), (tmp_path / "b", folder)):
        assert compare(*pair, folder=tmp_path / "named")["f1"]["interval_over"] == "6 patients", "one run names them"


def test_clips_are_compared_by_their_right_diagnoses(tmp_path: Path) -> None:
    truth = ["normal"] * 3 + ["COVID-19"] * 3
    for run, predictions in {"a": ["normal"] * 6, "b": truth}.items():
        rows = [[f"c{n}", f"p{n}", t, p] for n, (t, p) in enumerate(zip(truth, predictions, strict=True))]
        write_csv(tmp_path / run / "clips.csv", ["case", "patient", "truth", "prediction"], rows)
    found = compare(tmp_path / "a", tmp_path / "b", folder=tmp_path / "out")
    assert {name: float(row["difference"]) for name, row in found.items()} == {
        "correct": 0.5,
        "correct_COVID-19": 1,
        "correct_normal": 0,
    }


def test_what_cannot_be_compared_is_refused_by_name(tmp_path: Path) -> None:
    first = write_patients(tmp_path / "a", FIRST)
    second = write_patients(tmp_path / "b", SECOND, "abcdefh")
    with pytest.raises(ValueError, match=r"same cases; only in .*a: g; only in .*b.*: h\."):
        main([str(first), str(second)])
    with pytest.raises(FileNotFoundError, match="No such file or folder: missing"):
        main([str(first), "missing"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="must hold the same table of cases"):
        main([str(first), str(tmp_path / "empty")])
    third = write_patients(tmp_path / "third", SECOND)
    with pytest.raises(ValueError, match="dice_lunge"):
        main([str(first), str(third), "--scores", "dice_lunge"])
    with pytest.raises(ValueError, match="a run has no difference from itself"):
        main([str(first), str(tmp_path / "b" / ".." / "a")])
    write_csv(tmp_path / "c" / "scores_per_patient.csv", ["patient", "dice"], [])
    with pytest.raises(NothingToDo, match="holds no case"):
        main([str(first), str(tmp_path / "c")])
    write_csv(tmp_path / "d" / "scores_per_patient.csv", ["patient", "dice"], [["a", 0.5], ["a", 0.6]])
    with pytest.raises(ValueError, match="more than once"):
        main([str(tmp_path / "d"), str(first)])
    with pytest.raises(ValueError, match="a run has no difference from itself"):
        main([str(first), str(first / "scores_per_patient.csv")])
    with pytest.raises(ValueError, match=r"--table chooses a table in folders, but scores_per_patient\.csv is a file"):
        main([str(first), str(third / "scores_per_patient.csv"), "--table", "scores_per_volume.csv"])
    with pytest.raises(ValueError, match=r"b is the folder of a run, whose report it would replace"):
        main([str(first), str(second), "--output_dir", str(second)])


def test_the_folds_of_a_variant_are_compared_together(tmp_path: Path) -> None:
    for variant, scores in (("unet", FIRST), ("vgg", SECOND)):
        for fold, part in enumerate((slice(0, 3), slice(3, 7))):
            own = {name: values[part] for name, values in scores.items()}
            write_patients(tmp_path / variant / f"fold{fold}" / "eval", own, "abcdefg"[part])
    found = compare(tmp_path / "unet", tmp_path / "vgg", folder=tmp_path / "out")["dice_ground-glass"]
    assert (found["pairs"], found["interval_over"]) == ("7", "7 patients")
    assert float(found["difference"]) == pytest.approx(np.mean(GAIN["dice_ground-glass"]), abs=1e-5)
    assert {row["run"] for row in rows(tmp_path / "out" / "differences.csv")} == {"fold0", "fold1"}


@pytest.mark.parametrize(
    ("encoding", "separator", "comma"), [("cp1252", ";", ","), ("utf-16", "\t", "."), ("utf-8-sig", ",", ".")]
)
def test_tables_that_a_spreadsheet_program_has_saved_give_the_same_result(
    tmp_path: Path, encoding: str, separator: str, comma: str
) -> None:
    names = ["Müller", *"bcdefg"]
    for run, scores in (("a", FIRST), ("b", SECOND)):
        lines = [["Patient", *scores]]
        lines += [[name, *(f"{values[index]:g}" for values in scores.values())] for index, name in enumerate(names)]
        text = "\n".join(separator.join(cell.replace(".", comma) for cell in line) for line in lines)
        (tmp_path / run).mkdir()
        (tmp_path / run / "scores_per_patient.csv").write_bytes(text.encode(encoding))
        write_patients(tmp_path / f"ours_{run}", scores)
    theirs = compare(tmp_path / "a", tmp_path / "b", folder=tmp_path / "out")
    ours = compare(tmp_path / "ours_a", tmp_path / "ours_b", folder=tmp_path / "ours")
    assert theirs == ours


def test_a_cell_that_is_no_number_is_named(tmp_path: Path) -> None:
    for run, value in (("a", "0.5"), ("b", "n/a")):
        (tmp_path / run).mkdir()
        (tmp_path / run / "scores_per_patient.csv").write_text(f"patient,dice\nMüller,{value}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"b, Müller, dice: a score must be a number or an empty cell, got 'n/a'"):
        main([str(tmp_path / "a"), str(tmp_path / "b"), "--output_dir", str(tmp_path / "out")])
    with pytest.raises(PermissionError, match=r"must be a writable folder"):
        main([str(tmp_path / "a"), str(tmp_path / "b"), "--output_dir", str(tmp_path / "a" / "scores_per_patient.csv")])


def test_the_same_names_with_other_ground_truth_are_refused(tmp_path: Path) -> None:
    """By the classes that cases lack, and by the lesion pixels of 100: 8 + 2 and 7 + 3, but 7 + 4."""
    first = write_patients(tmp_path / "a", {"dice": [0.5, None, 0.7, 0.8, 0.4, 0.5, 0.6]})
    second = write_patients(tmp_path / "b", {"dice": [0.5, 0.2, 0.7, 0.8, 0.4, 0.5, 0.6]})
    with pytest.raises(ValueError, match=r"other ground truth in 1 of 7 cases, such as b\."):
        main([str(first), str(second), "--output_dir", str(tmp_path / "out")])
    columns = ["case", "slice", "dice", "true_positive", "false_positive", "false_negative", "true_negative"]
    for run, pixels in (("c", (8, 0, 2, 90)), ("d", (7, 5, 3, 85)), ("e", (7, 5, 4, 84)), ("f", (28, 20, 16, 336))):
        write_csv(tmp_path / run / "scores_per_slice.csv", columns, [["v", s, 0.5, *pixels] for s in range(6)])
    assert compare(tmp_path / "c", tmp_path / "d", folder=tmp_path / "out")["dice"]["pairs"] == "6"
    assert compare(tmp_path / "c", tmp_path / "f", folder=tmp_path / "out"), "scored at twice the size"
    with pytest.raises(ValueError, match=r"other ground truth in 6 of 6 cases, such as v/0"):
        main([str(tmp_path / "c"), str(tmp_path / "e"), "--output_dir", str(tmp_path / "out")])


@pytest.mark.parametrize("score", ["71.2", "inf", "-0.1"])
def test_scores_are_between_0_and_1(tmp_path: Path, score: str) -> None:
    for run, value in (("a", "0.712"), ("b", score)):
        (tmp_path / run).mkdir()
        (tmp_path / run / "scores_per_patient.csv").write_text(f"patient,dice\nx,{value}\n")
    with pytest.raises(ValueError, match=f"b, x, dice: a score must be between 0 and 1, got {score}"):
        main([str(tmp_path / "a"), str(tmp_path / "b"), "--output_dir", str(tmp_path / "out")])


def test_what_only_one_run_has_scored_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = write_patients(tmp_path / "a", FIRST)
    second = write_patients(tmp_path / "b", {"dice_lung": FIRST["dice_lung"], "f1": [None] * 7})
    assert [*compare(first, second, folder=tmp_path / "out")] == ["dice_lung"]
    assert "only one run has them: dice_ground-glass, f1." in caplog.text
    third = write_patients(tmp_path / "c", {"f1": [0.5] * 7})
    with pytest.raises(NothingToDo, match=r"No case has f1 in both .*b and .*c"):
        main([str(second), str(third), "--output_dir", str(tmp_path / "out")])
