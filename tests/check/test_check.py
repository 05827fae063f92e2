"""A laboratory's own cases: checked by the bundle's own preprocessing, then trained on and evaluated."""

from __future__ import annotations

import csv
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from common.check.command import main
from common.phantoms.ct.chest_ct import chest_ct

MAP = "{1: ground-glass, 5: consolidation, 9: lung}"
OPTIONS = ["--label_map", MAP, "--resample_masks", "True", "--size", "[32, 32]"]


def save(path: Path, values: np.ndarray, affine: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, affine), path)


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six chest CTs of three patients: own names and codes, lung in the mask, one mask on a finer grid."""
    folder = tmp_path_factory.mktemp("laboratory")
    rows = [["Image", "Mask", "Patient", "Set"]]
    for number in range(6):
        made = chest_ct(300 + number, size=(48, 48), slices=6)
        affine = np.diag([-made.spacing[0], -made.spacing[1], made.spacing[2], 1.0])
        affine[:3, 3] = [120, 110, -200]
        codes = np.select([made.lesion == 1, made.lesion == 2, made.lung > 0], [1, 5, 9], 0).astype(np.uint8)
        image, mask = f"scans/Thorax {number}.nii.gz", f"drawn/{number}.nii.gz"
        save(folder / image, made.image.astype(np.int16), affine)
        if number == 2:
            affine = affine @ np.array([[0.5, 0, 0, -0.25], [0, 0.5, 0, -0.25], [0, 0, 1, 0], [0, 0, 0, 1]])
            codes = codes.repeat(2, 0).repeat(2, 1)
        save(folder / mask, codes, affine)
        rows.append([image, mask, f"P{number // 2}", ("training", "validation", "test")[number // 2]])
    with (folder / "cases.csv").open("w", newline="") as file:
        csv.writer(file, delimiter=";").writerows(rows)
    return folder


@pytest.mark.parametrize(
    ("bundle", "label_map", "row"),
    [
        ("ct_drsegunet", MAP, r"training +2 +1 +12"),
        ("ct_transfer_unet", "{1: infection, 5: infection, 9: lung}", r"test +2 +1 +12"),
        ("ct_weak_gan", "{1: background, 5: lesion, 9: lung}", r"validation +2 +1 +12"),
        ("mosmed_encoders", "{1: infection, 5: infection, 9: lung}", r"training +2 +1 +12"),
    ],
)
def test_a_sound_table_is_counted_and_drawn(
    laboratory: Path, bundle: str, label_map: str, row: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "check.png"
    options = ["--picture", str(picture), "--label_map", label_map, *OPTIONS[2:]]
    assert main([str(laboratory / "cases.csv"), "--bundle", bundle, *options]) == 0
    output = capsys.readouterr().out
    assert re.search(row, output) and "Nothing is wrong" in output
    assert Image.open(picture).width > 300


def test_all_that_is_wrong_is_said_at_once_with_what_to_do(
    laboratory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scans = laboratory / "scans"
    copied = nibabel.load(scans / "Thorax 1.nii.gz")
    save(tmp_path / "copy.nii", np.asarray(copied.dataobj), copied.affine)
    save(tmp_path / "grey.nii", np.asarray(copied.dataobj).clip(0, 255).astype(np.uint8), copied.affine)
    rows = [f"{scans}/Thorax {number}.nii.gz,{laboratory}/drawn/{number}.nii.gz,{number}" for number in (0, 1, 2)]
    rows += [f"{name}.nii,{laboratory}/drawn/1.nii.gz,{name}" for name in ("copy", "grey")]
    (tmp_path / "cases.csv").write_text("\n".join(["image,mask,patient", *rows]))
    options = ["--picture", str(tmp_path / "check.png"), "--label_map", MAP, "--size", "[32, 32]"]
    assert main([str(tmp_path / "cases.csv"), "--bundle", "ct_drsegunet", *options]) == 1
    output = capsys.readouterr().out
    assert "3 things are wrong" in output
    for part in (
        r"Thorax 2\n.*2\.nii\.gz: the lesion mask must have the image's shape \(48, 48, 6\).*--resample_masks True",
        r"grey\n.*grey: declared as HU, but a chest CT has air",
        r"copy\n +its image is that of .*Thorax 1, voxel by voxel \(patients copy and 1\)",
    ):
        assert re.search(part, output), part
    (tmp_path / "cases.csv").write_text("image,mask\ngone.nii,gone.nii\n")
    assert main([str(tmp_path / "cases.csv"), "--bundle", "ct_drsegunet"]) == 1
    assert "line 2: image gone.nii: no such file" in capsys.readouterr().out


def test_the_options_are_those_of_the_training() -> None:
    with pytest.raises(ValueError, match=r"no setting 'label_mp'. Did you mean --label_map"):
        main(["cases.csv", "--bundle", "ct_drsegunet", "--label_mp", MAP])
    with pytest.raises(FileNotFoundError, match="There is no bundle 'ct_unet'"):
        main(["cases.csv", "--bundle", "ct_unet"])


def test_a_table_trains_and_its_test_is_scored(
    laboratory: Path, tmp_path: Path, runner: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    configs = "bundles/ct_drsegunet/configs"
    options = ["--datalist", laboratory / "cases.csv", "--ckpt_dir", tmp_path, "--output_dir", tmp_path, *OPTIONS]
    result = runner("training", "--config_file", f"{configs}/train.yaml", "--epochs", 1, *options)
    assert result.returncode == 0 and "Sets of the table: 2 training, 2 validation, 2 test." in result.stdout
    overlay = f"['{configs}/train.yaml','{configs}/evaluate.yaml']"
    result = runner("evaluating", "--config_file", overlay, *options)
    assert result.returncode == 0, result.stderr
    with (tmp_path / "scores_per_slice.csv").open(newline="") as file:
        assert {row["case"] for row in csv.DictReader(file)} == {"scans/Thorax 4", "scans/Thorax 5"}
