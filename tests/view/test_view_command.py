"""The command shows saved masks, alone and in follow-up; mistakes end in one line."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from conftest import ROOT
from views import CHEST_AFFINE, CLASSES, METADATA, amber, chest, glass, pixels, save, turned

from common.report.scan_report import to_lps
from common.view.command import main
from common.view.study import read_mask, read_study


def test_the_command_shows_a_saved_mask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = chest((slice(35, 45), slice(10, 20), slice(30, 40)))
    turn = np.diag([-1.0, 1.0, 1.0, 1.0])
    turn[0, 3] = 59
    path = save(tmp_path / "a_mask.nii.gz", mask, CHEST_AFFINE)
    image = save(tmp_path / "a.nii.gz", np.full(mask.shape, -800, np.int16)[::-1], CHEST_AFFINE @ turn)  # other order
    assert main([path, "--image", image, "--truth", path, "--output", str(tmp_path / "out")]) == 0
    assert "1000 points of prediction, 1000 points of truth" in capsys.readouterr().out
    endings = ("_lung.csv", "_prediction.csv", "_truth.csv", ".vti", "_view.png")
    assert {each.name for each in (tmp_path / "out").iterdir()} == {f"a{ending}" for ending in endings}
    assert (tmp_path / "out" / "a_lung.csv").read_text().splitlines()[1].endswith(",-800")


def test_follow_up_counts_the_change_between_two_grids(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, later = np.zeros((12, 12, 12), np.uint8), np.zeros((14, 11, 10), np.uint8)
    first[1:11, 1:11, 1:11] = 3
    first[1:4, 1:11, 1:11] = 2  # 1000 voxels of 8 mm3 are 8 ml, 300 of them 2.4 ml
    later[1:11, 1:11, :9] = 3
    later[1:11, 1:7, :1] = 1  # 900 voxels of 10 mm3 are 9 ml, 60 of them 0.6 ml
    masks = [save(tmp_path / "first.nii.gz", first, np.diag([2.0, -2.0, 2.0, 1.0]))]
    masks.append(save(tmp_path / "later.nii.gz", later, turned(25, (1.0, 2.0, 5.0), (500.0, 0.0, -900.0))))
    assert main([*masks, "--output", str(tmp_path), "--titles", "March", "May"]) == 0
    with (tmp_path / "follow_up.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [list(row.values()) for row in rows] == [
        ["March", "8.0", "", "2.4", "", "0.3"],
        ["May", "9.0", "", "0.6", "", "0.0667"],
        ["change", "1.0", "12.5", "-1.8", "-75.0", "-0.2333"],
    ]
    assert list(rows[0]) == ["study", "lung_ml", "lung_percent", "lesion_ml", "lesion_percent", "share_of_lung"]
    printed = capsys.readouterr().out
    assert "-75.0" in printed and "follow_up.png" in printed
    page = (tmp_path / "report.html").read_text()
    assert "Follow-up: March and May" in page and '<td class="n">-75.0</td>' in page and page.count("<figure>") == 1
    picture = pixels(tmp_path / "follow_up.png")
    left, right = picture[:, : picture.shape[1] // 2], picture[:, picture.shape[1] // 2 :]
    assert amber(left).sum() > 2 * amber(right).sum() > 500, "lesions shrink"
    assert glass(right).any(), "a study 1 m away is in its panel"


def test_follow_up_leaves_percent_blank_without_a_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.view.rendering.render", lambda *_, **__: None)
    healthy = save(tmp_path / "a.nii", chest(), CHEST_AFFINE)
    ill = save(tmp_path / "b.nii", chest((slice(10, 20), slice(10, 20), slice(10, 20))), CHEST_AFFINE)
    bare = save(
        tmp_path / "c.nii", (chest((slice(10, 20), slice(10, 20), slice(10, 20))) == 1) * np.uint8(1), np.eye(4)
    )
    for masks, change in (
        ([healthy, ill], ["change", "0.0", "0.0", "64.0", "", "0.0189"]),
        ([healthy, bare], ["change", "", "", "1.0", "", ""]),  # nobody segmented that lung
    ):
        main([*masks, "--output", str(tmp_path)])
        assert (tmp_path / "follow_up.csv").read_text().splitlines()[-1].split(",") == change


def test_the_metadata_and_options_decide_what_values_mean(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", chest((slice(10, 20), slice(10, 20), slice(10, 20))), CHEST_AFFINE)
    study = read_study(path, str(METADATA), 3)
    assert [style.name for style in study.styles] == [*CLASSES, "infection"] and study.lesion.sum() == 1000
    assert read_study(path, None, 1).lesion.sum() == (chest() == 3).sum() - 1000  # 1 is lung, 3 lesion
    scaled = nibabel.Nifti1Image(chest().astype(np.float32), CHEST_AFFINE)
    nibabel.save(scaled, tmp_path / "float.nii.gz")
    assert (read_mask(tmp_path / "float.nii.gz")[0] == to_lps(chest(), CHEST_AFFINE)[0]).all()


def test_files_that_cannot_be_shown_are_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    mask = save(tmp_path / "a.nii.gz", chest(), CHEST_AFFINE)
    (tmp_path / "text.nii.gz").write_text("no image")
    wrong = {
        "text": str(tmp_path / "text.nii.gz"),
        "empty": save(tmp_path / "empty.nii.gz", np.zeros((4, 4, 4), np.uint8), np.eye(4)),
        "scores": save(tmp_path / "scores.nii.gz", rng.uniform(0.1, 0.9, (4, 4, 4)).astype(np.float32), np.eye(4)),
        "scan": save(tmp_path / "scan.nii.gz", np.full((4, 4, 4), -500, np.int16), np.eye(4)),
        "nan": save(tmp_path / "nan.nii.gz", np.full((4, 4, 4), np.nan, np.float32), np.eye(4)),
        "slice": save(tmp_path / "slice.nii.gz", np.ones((4, 4, 1), np.uint8), np.eye(4)),
        "class": save(tmp_path / "class.nii.gz", np.full((4, 4, 4), 9, np.uint8), np.eye(4)),
        "moved": save(tmp_path / "moved.nii.gz", chest(), CHEST_AFFINE + np.eye(4, k=3)),
    }
    for arguments, message in (
        ([wrong["text"]], "text.nii.gz must be a NIfTI file"),
        ([wrong["empty"]], "neither lung nor lesion"),
        ([wrong["scores"]], r"scores.nii.gz: a mask must hold integers 0..255, got 0\."),
        ([wrong["scan"]], "got -500"),
        ([wrong["nan"]], "got nan"),
        ([wrong["slice"]], r"two or more slices, got shape \(4, 4, 1\)"),
        ([wrong["class"], "--metadata", str(METADATA)], "no class of value 9"),
        ([mask, "--image", wrong["scan"]], r"scan.nii.gz and .*a.nii.gz must be on one grid, got shape"),
        ([mask, "--truth", wrong["moved"]], r"moved.nii.gz and .*a.nii.gz must be on one grid, got the affines"),
        ([mask, mask, mask], "got 3"),
        ([mask, mask, "--image", mask], "belong to a single mask"),
        ([mask, mask, "--titles", "one"], "--titles must be two"),
        ([mask, "--lung_value", "0"], "--lung_value must be in 1..255"),
    ):
        with pytest.raises(ValueError, match=message):
            main([*arguments, "--output", str(tmp_path / "out")])
    with pytest.raises(FileNotFoundError, match=r"No such file: nowhere.nii"):
        main(["nowhere.nii"])
    assert not (tmp_path / "out").exists()


def test_a_mistake_is_one_line_without_a_traceback() -> None:
    command = [sys.executable, "-m", "common.view", "nowhere.nii.gz"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.strip() == "ERROR  No such file: nowhere.nii.gz. Give a saved mask, such as case_mask.nii.gz."
