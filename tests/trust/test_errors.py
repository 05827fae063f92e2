"""From cases with ground truth to expected errors, to the table, the overlay and the DICOM objects."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest
import torch
from bundle_steps import run
from conftest import ROOT
from csv_rows import rows
from ct_files import write_volume
from PIL import Image
from random_weights import write_random_weights
from scipy import ndimage

from common import load
from common.phantoms.ct.chest_ct import chest_ct
from common.reliability.judge import RECORD
from common.run.model_record import add_to_record, read_record, save_weights
from common.trust.command import main

INFER = str(ROOT / "bundles" / "ct_drsegunet" / "configs" / "inference.yaml")
SETTINGS = {
    "network": "unet",
    "classes": "lesions",
    "size": [64, 64],
    "window": [-1080, 280],
    "normalise": "window",
    "mirror": True,
    "lesion_threshold": 0.6,
}
OBLIQUE = np.array([[1.9, 0.3, 0.2, -80], [-0.3, 1.9, 0.4, -90], [-0.2, -0.4, 6.0, 30], [0, 0, 0, 1]])
KNOWN = {  # what the record says: the Dice is 0.5 + 0.4 x agreement
    "predictor": "agreement",
    "intercept": 0.5,
    "slope": 0.4,
    "dice_error": 0.07,
    "scale": "found",
    "low": -0.25,
    "high": 0.5,
    "none": 2.0,
    "doubt": 2.0,
    "lesion": {"intercept": 0.9, "probability": 0.0, "size": 0.1, "error": 0.2},  # 0.9 + 0.1 x log of the share
    "data": {},
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random network that calls half of the pixels lesion, and says how large its errors are."""
    folder = tmp_path_factory.mktemp("errors")
    write_random_weights(folder, SETTINGS)
    add_to_record(folder / "model.pt", RECORD, KNOWN)
    return folder / "model.pt"


def write_scan(path: Path, seed: int, affine: np.ndarray = OBLIQUE) -> np.ndarray:
    """A synthetic patient, and its lesions."""
    patient = chest_ct(seed, size=(80, 96), slices=4)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.rint(patient.image).astype(np.int16), affine), path)
    return np.asarray(patient.lesion)


def infer(weights: Path, scans: Path, output: Path, **options: object) -> list[dict[str, str]]:
    run("run", [INFER], output, dataset_dir=str(scans), weights=str(weights), isolated=False, **options)
    return rows(output / "lesions.csv")


def test_each_lesion_has_its_volume_place_and_expected_dice(weights: Path, tmp_path: Path) -> None:
    """Read again by nibabel and SciPy, in an oblique scan; positions are in mm to the left, the back and upwards."""
    write_scan(tmp_path / "in" / "a.nii.gz", 3)
    (row,) = infer(weights, tmp_path / "in", tmp_path / "out")
    found = rows(tmp_path / "out" / "each_lesion.csv")
    saved = nibabel.load(tmp_path / "out" / "a_mask.nii.gz")
    labels, count = ndimage.label(np.isin(np.asarray(saved.dataobj), (1, 2)))
    assert len(found) == count and [each["lesion"] for each in found] == [str(number + 1) for number in range(count)]
    sizes = np.bincount(labels.ravel())[1:]
    assert [int(each["voxels"]) for each in found] == sorted(sizes.tolist(), reverse=True)
    assert sum(float(each["ml"]) for each in found) == pytest.approx(float(row["lesion_ml"]), rel=0.01)
    centre = np.argwhere(labels == sizes.argmax() + 1).mean(0)
    right, front, up = (saved.affine @ [*centre, 1])[:3]
    assert [float(found[0][name]) for name in ("x_mm", "y_mm", "z_mm")] == pytest.approx([-right, -front, up], abs=0.06)
    expected = 0.9 + 0.1 * np.log(sizes.max() / sizes.sum())
    assert float(found[0]["dice_expected"]) == pytest.approx(expected, abs=0.001)
    assert found[0]["uncertain"] == "True", "the limit of this record is above all probabilities"


def test_the_columns_are_what_the_record_and_the_mask_say(weights: Path, tmp_path: Path) -> None:
    write_scan(tmp_path / "in" / "a.nii.gz", 3)
    (row,) = infer(weights, tmp_path / "in", tmp_path / "out")
    volume, lung = float(row["lesion_ml"]), float(row["lung_ml"])
    assert volume > 0
    assert float(row["lesion_ml_low"]) == pytest.approx(0.75 * volume, abs=0.002)
    assert float(row["lesion_ml_high"]) == pytest.approx(1.5 * volume, abs=0.002)
    assert float(row["share_low"]) == pytest.approx(0.75 * volume / lung, abs=1e-4)
    assert float(row["share_high"]) == pytest.approx(min(1.0, 1.5 * volume / lung), abs=1e-4)
    assert 0.5 <= float(row["dice_expected"]) <= 0.9 and row["dice_error"] == "0.07"
    found = load(ROOT / "bundles" / "ct_drsegunet", weights)(tmp_path / "in" / "a.nii.gz")
    assert found.volumes["lesion_ml_high"] == float(row["lesion_ml_high"])
    assert found.volumes["dice_expected"] == float(row["dice_expected"])


def test_the_agreement_is_the_dice_of_both_passes(weights: Path, tmp_path: Path) -> None:
    """Against masks of two models, one of which sees the mirror image."""
    write_scan(tmp_path / "a.nii.gz", 3, np.diag([-2.0, -2.0, 6.0, 1.0]))  # LPS: the first axis is left-right
    model = load(ROOT / "bundles" / "ct_drsegunet", weights)
    (case,) = model.cases(tmp_path / "a.nii.gz")
    *_, agreement = model.lesions(dict(case))
    plain = load(ROOT / "bundles" / "ct_drsegunet", weights, mirror=False, adjust=True)
    image = plain.preprocessing(dict(case))["image"].as_tensor()[None]
    with torch.inference_mode():
        first = plain.inferer(image, plain.network)[:, :1] > 0
        second = plain.inferer(image.flip(2), plain.network)[:, :1].flip(2) > 0
    dice = 2 * (first & second).sum() / (first.sum() + second.sum())
    assert agreement == pytest.approx(float(dice), abs=1e-3)


@pytest.mark.parametrize(
    "options", [{"threshold": 0.4, "adjust": True}, {"mirror": False, "adjust": True}], ids=["threshold", "mirror"]
)
def test_another_decision_than_the_record_leaves_the_columns_blank(
    weights: Path, tmp_path: Path, options: dict[str, object]
) -> None:
    write_scan(tmp_path / "in" / "a.nii.gz", 3)
    (row,) = infer(weights, tmp_path / "in", tmp_path / "out", **options)
    assert {row[name] for name in ("lesion_ml_low", "lesion_ml_high", "dice_expected", "uncertain_lesions")} == {""}


def test_an_ensemble_leaves_the_columns_blank(weights: Path, tmp_path: Path) -> None:
    write_scan(tmp_path / "in" / "a.nii.gz", 3)
    settings = {"dataset_dir": str(tmp_path / "in"), "weights": [str(weights)] * 2, "isolated": False}
    run("run", [INFER], tmp_path / "out", **settings)
    (row,) = rows(tmp_path / "out" / "lesions.csv")
    assert row["lesion_ml_low"] == row["dice_expected"] == ""


def test_the_uncertainty_lies_on_the_scan_and_is_that_of_the_probabilities(weights: Path, tmp_path: Path) -> None:
    write_scan(tmp_path / "in" / "a.nii.gz", 3)
    infer(weights, tmp_path / "in", tmp_path / "out", uncertainty=True, probabilities=True)
    scan = nibabel.load(tmp_path / "in" / "a.nii.gz")
    made = {path.name.removeprefix("a_"): nibabel.load(path) for path in (tmp_path / "out").glob("a_*.nii.gz")}
    volume = made["uncertainty.nii.gz"]
    assert volume.shape == scan.shape and np.allclose(volume.affine, scan.affine)
    assert volume.get_data_dtype() == np.uint8 and volume.dataobj.slope == pytest.approx(1 / 255)
    lesion = sum(made[f"probability_{name}.nii.gz"].get_fdata() for name in ("ground-glass", "consolidation"))
    mask = np.asarray(made["mask.nii.gz"].dataobj) > 0
    expected = np.where(mask, 1 - lesion, lesion)
    assert np.abs(volume.get_fdata() - expected).max() <= 1.5 / 255 + 1e-6


def test_dicom_objects_say_it(weights: Path, tmp_path: Path) -> None:
    patient = chest_ct(3, size=(80, 96), slices=4)
    write_volume(tmp_path / "in", np.rint(patient.image).astype(np.int16), np.diag([*patient.spacing, 1.0]))
    (row,) = infer(weights, tmp_path / "in", tmp_path / "out", outputs=["nifti", "seg", "sr"])
    dice = float(row["dice_expected"])
    mask = pydicom.dcmread(next((tmp_path / "out").rglob("*_mask.dcm")))
    assert str(mask.ContentDescription).startswith(f"ct_drsegunet: expected Dice {dice:.2f}")
    report = highdicom.sr.srread(next((tmp_path / "out").rglob("*_report.dcm")))
    texts = [str(item.value) for item in report.content[0].ContentSequence if item.value_type.value == "TEXT"]
    low, high = float(row["lesion_ml_low"]), float(row["lesion_ml_high"])
    words = f"Expected Dice {dice:.2f} (error 0.07); all lesions {low:.3g} to {high:.3g} ml in 9 of 10 such cases"
    assert any(text.startswith(words) for text in texts)


def test_errors_are_learned_from_a_table_by_the_weights_of_each_fold(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (tmp_path / "cases.csv").open("w") as file:
        table = csv.writer(file)
        table.writerow(["image", "mask", "patient", "set"])
        for seed in range(12):
            lesions = write_scan(tmp_path / f"s{seed}.nii.gz", seed)
            mask = nibabel.Nifti1Image(lesions.astype(np.uint8), OBLIQUE)
            nibabel.save(mask.as_reoriented(np.array([[0, -1], [1, 1], [2, 1]])), tmp_path / f"m{seed}.nii.gz")
            table.writerow([f"s{seed}.nii.gz", f"m{seed}.nii.gz", f"p{seed}", seed % 2])
    state = torch.load(weights, weights_only=True)
    record = {key: value for key, value in read_record(weights).items() if key != RECORD}
    for name in ("fold0", "fold1", "own"):
        (tmp_path / name).mkdir()
        save_weights(state, tmp_path / name / "model.pt", record)
    command = ["errors", str(tmp_path / "cases.csv"), "--bundle", "ct_drsegunet"]
    command += ["--weights", str(tmp_path / "own" / "model.pt"), "--output_dir", str(tmp_path / "out")]
    held_out = ["--held_out", str(tmp_path / "fold{set}" / "model.pt")]
    assert main([*command, *held_out]) == 0
    learned = json.loads((tmp_path / "own" / "model.json").read_text())[RECORD]
    assert learned["data"]["cases"] == learned["data"]["patients"] == 12
    cases = rows(tmp_path / "out" / "errors_per_case.csv")
    masks = {row["case"]: np.asarray(nibabel.load(tmp_path / f"m{row['case'][1:]}.nii.gz").dataobj) for row in cases}
    assert all(int(row["truth"]) == np.isin(masks[row["case"]], [1, 2]).sum() for row in cases)
    assert {row["measure"] for row in rows(tmp_path / "out" / "errors.csv")} >= {"volumes within the interval"}
    assert (tmp_path / "out" / "errors.png").is_file()
    again = infer(tmp_path / "own" / "model.pt", tmp_path / "s0.nii.gz", tmp_path / "again")
    (own,) = [row for row in cases if row["case"] == "s0"]
    assert int(own["found"]) * abs(np.linalg.det(OBLIQUE[:3, :3])) / 1000 == pytest.approx(
        float(again[0]["lesion_ml"]), abs=0.01
    )


def test_a_table_without_folds_for_weights_of_folds_is_refused(weights: Path, tmp_path: Path) -> None:
    lesions = write_scan(tmp_path / "s.nii.gz", 1)
    nibabel.save(nibabel.Nifti1Image(lesions.astype(np.uint8), OBLIQUE), tmp_path / "m.nii.gz")
    (tmp_path / "cases.csv").write_text("image,mask\ns.nii.gz,m.nii.gz\n")
    with pytest.raises(ValueError, match=r"s.nii.gz names none. Give the table a column set"):
        main(
            [
                *("errors", str(tmp_path / "cases.csv"), "--bundle", "ct_drsegunet", "--weights", str(weights)),
                *("--held_out", "fold{set}/model.pt", "--output_dir", str(tmp_path / "out")),
            ]
        )


def test_results_beside_the_scans_are_no_scans(weights: Path, tmp_path: Path) -> None:
    """All that inference writes, of a volume and of a picture, into the folder of the scans: a second run finds two."""
    write_scan(tmp_path / "a.nii.gz", 3)
    Image.fromarray(
        np.asarray(chest_ct(4, size=(96, 96), slices=1).image[..., 0].T.clip(-1000, 300) / 5.2 + 193).astype(np.uint8)
    ).save(tmp_path / "b.png")
    everything = {"probabilities": True, "uncertainty": True, "picture_axes": "LP"}
    for _ in range(2):
        found = infer(weights, tmp_path, tmp_path, **everything)
        assert [row["case"] for row in found] == ["a", "b"]
    assert len(list(tmp_path.glob("*_probability_*"))) == 6 and len(list(tmp_path.glob("*_uncertainty*"))) == 2
