"""From scans to what is usual, to the word in the table, the overlay and the DICOM objects; and to its measurement."""

from __future__ import annotations

import json
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
import torch
from bundle_steps import run
from conftest import ROOT
from csv_rows import rows
from ct_files import write_volume
from monai.bundle import ConfigParser
from PIL import Image
from random_weights import write_random_weights

from common.outliers.monitor import RECORD
from common.phantoms.ct.chest_ct import chest_ct
from common.run.errors import CasesFailed, origin
from common.run.model_record import read_record, save_weights
from common.trust.command import main
from common.trust.shifts import FRAME_SHIFTS, GREY, HU, SHIFTS

INFER = str(ROOT / "bundles" / "ct_drsegunet" / "configs" / "inference.yaml")
SETTINGS = {
    "network": "unet",
    "classes": "lesions",
    "size": [64, 64],
    "window": [-1080, 280],
    "normalise": "window",
    "crop": "lungs",
}
PATIENTS = 10


def write_patient(folder: Path, seed: int, noise: float = 0.0) -> None:
    """A synthetic patient as a DICOM series, with noise of this standard deviation in HU added."""
    patient = chest_ct(seed, size=(96, 96), slices=6)
    added = np.random.default_rng(seed).normal(0, noise, patient.image.shape)
    image = np.rint(patient.image + added).clip(-1024, 3071).astype(np.int16)
    study = {
        "StudyInstanceUID": f"1.2.3.{seed}",
        "StudyID": "1",
        "StudyDate": "20200101",
        "StudyTime": "100000",
        "SeriesNumber": 3,
    }
    affine = np.diag([*patient.spacing, 1.0])
    write_volume(folder, image, affine, series=f"1.2.5.{seed}", **study)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights that know what is usual of ten synthetic patients."""
    folder = tmp_path_factory.mktemp("trust")
    write_random_weights(folder, SETTINGS)
    for seed in range(PATIENTS):
        write_patient(folder / "scans" / f"patient_{seed}", seed)
    assert main(["fit", str(folder / "scans"), "--bundle", "ct_drsegunet", "--weights", str(folder / "model.pt")]) == 0
    return folder / "model.pt"


def infer(weights: Path, scans: Path, output: Path, **options: object) -> list[dict[str, str]]:
    run("run", [INFER], output, dataset_dir=str(scans), weights=str(weights), isolated=False, **options)
    return rows(output / "lesions.csv")


def test_the_record_says_what_it_was_fitted_to_and_keeps_the_rest(weights: Path) -> None:
    record = read_record(weights)
    assert record["settings"] == SETTINGS
    data = record[RECORD]["data"]
    assert (data["patients"], data["slices"], data["sources"]) == (PATIENTS, 6 * PATIENTS, {"scans": PATIENTS})
    assert data["axes"] == {"first axis": "left and right", "second axis": "front and back"}


def test_a_noisy_scan_is_called_unusual_everywhere_it_is_looked_at(weights: Path, tmp_path: Path) -> None:
    write_patient(tmp_path / "in" / "noisy", 3, noise=250.0)
    write_patient(tmp_path / "in" / "plain", 4)
    found = infer(weights, tmp_path / "in", tmp_path / "out", outputs=["nifti", "seg", "sr"])
    words = {row["case"].split("/")[0]: (row["trust"], row["trust_reason"]) for row in found}
    assert words["plain"] == ("usual", "")
    word, reason = words["noisy"]
    assert word == "unusual" and "noise, sharpness or grey levels are not those" in reason
    cases = {case["case"]: case for case in json.loads((tmp_path / "out" / "lesions.json").read_text())["cases"]}
    by_name = {name.split("/")[0]: case for name, case in cases.items()}
    assert by_name["noisy"]["trust"]["scores"]["texture"] > 1 > by_name["plain"]["trust"]["scores"]["texture"]
    assert any("unusual input: " in warning for warning in by_name["noisy"]["warnings"])
    for name, unusual in (("noisy", True), ("plain", False)):
        objects = {path.name.split("_")[-1]: path for path in (tmp_path / "out").rglob(f"{name}*.dcm")}
        description = str(pydicom.dcmread(objects["mask.dcm"]).ContentDescription)
        assert description.startswith("Unusual input: ") is unusual
        texts = [
            str(item.value)
            for item in highdicom.sr.srread(objects["report.dcm"]).content[0].ContentSequence
            if item.value_type.value == "TEXT"
        ]
        assert any(text.startswith("Unusual input: ") for text in texts) is unusual


def test_strict_refuses_what_is_unusual_and_segments_the_rest(weights: Path, tmp_path: Path) -> None:
    write_patient(tmp_path / "in" / "noisy", 3, noise=250.0)
    write_patient(tmp_path / "in" / "plain", 4)
    with pytest.raises(Exception) as caught:
        infer(weights, tmp_path / "in", tmp_path / "out", strict=True)
    cause = origin(caught.value)
    assert isinstance(cause, CasesFailed)
    assert "refused as unusual: " in str(cause) and "without --strict True it is segmented" in str(cause)
    refused, row = rows(tmp_path / "out" / "lesions.csv")
    assert row["case"].startswith("plain") and row["trust"] == "usual"
    assert not list((tmp_path / "out").rglob("noisy*"))
    assert refused["case"].startswith("noisy") and refused["trust"] == "refused"
    assert refused["trust_reason"].startswith("noise, sharpness or grey levels are not those of the training data")
    assert {value for name, value in refused.items() if name not in ("case", "trust", "trust_reason")} == {""}
    found = infer(weights, tmp_path / "in", tmp_path / "out")
    assert [row["trust"] for row in found] == ["unusual", "usual"], "without strict, it is segmented"


def test_a_scan_without_lung_is_refused_by_a_row_and_a_file_that_cannot_be_read_has_none(
    weights: Path, tmp_path: Path
) -> None:
    write_patient(tmp_path / "in" / "plain", 4)
    image = np.full((48, 48, 4), -1000, np.int16)
    image[8:40, 8:40] = 40  # tissue in air: an abdomen
    write_volume(tmp_path / "in" / "abdomen", image, np.diag([2.0, 2.0, 5.0, 1.0]), series="1.2.9")
    write_volume(tmp_path / "in" / "window", image.clip(0, 255), np.diag([2.0, 2.0, 5.0, 1.0]), series="1.2.8")
    (tmp_path / "in" / "broken.nii.gz").write_bytes(b"nothing")
    with pytest.raises(Exception, match="finish"):
        infer(weights, tmp_path / "in", tmp_path / "out")
    found = {row["case"].split("/")[0]: row for row in rows(tmp_path / "out" / "lesions.csv")}
    assert {name: row["trust"] for name, row in found.items()} == {
        "plain": "usual",
        "abdomen": "refused",
        "window": "refused",
    }
    assert "a chest CT shows lung" in found["abdomen"]["trust_reason"]
    assert "declared as HU, but a chest CT has air" in found["window"]["trust_reason"]


def test_weights_that_do_not_know_leave_the_columns_empty(weights: Path, tmp_path: Path) -> None:
    record = {key: value for key, value in read_record(weights).items() if key != RECORD}
    save_weights(torch.load(weights, weights_only=True), tmp_path / "model.pt", record)
    write_patient(tmp_path / "in", 3, noise=250.0)
    (row,) = infer(tmp_path / "model.pt", tmp_path / "in", tmp_path / "out")
    assert (row["trust"], row["trust_reason"]) == ("", "")


def test_a_damaged_record_is_named_and_fit_mends_it(weights: Path, tmp_path: Path) -> None:
    record = read_record(weights)
    del record[RECORD]["gaussians"]["texture"]["rest"]
    save_weights(torch.load(weights, weights_only=True), tmp_path / "model.pt", record)
    write_patient(tmp_path / "in", 3)
    with pytest.raises(Exception) as caught:
        infer(tmp_path / "model.pt", tmp_path / "in", tmp_path / "out")
    assert "usual data is damaged" in str(origin(caught.value)) and "common.trust fit" in str(origin(caught.value))
    command = ["fit", str(weights.parent / "scans"), "--bundle", "ct_drsegunet"]
    assert main([*command, "--weights", str(tmp_path / "model.pt")]) == 0
    (row,) = infer(tmp_path / "model.pt", tmp_path / "in", tmp_path / "out")
    assert row["trust"] == "usual"


def test_the_measurement_finds_inverted_and_noisy_images(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scans, output = str(weights.parent / "scans"), tmp_path / "measured"
    command = ["measure", scans, "--bundle", "ct_drsegunet", "--weights", str(weights), "--output_dir", str(output)]
    assert main([*command, "--every", "2", "--others", "phantom"]) == 0
    found = {(row["data"], row["change"]): row for row in rows(output / "trust.csv")}
    assert set(change for _, change in found) == {"none", "other data", *SHIFTS}
    assert (found["scans", "none"]["cases"], found["scans", "heavy noise"]["cases"]) == ("10", "5")
    for change in ("inverted grey levels", "heavy noise", "upside down", "screenshot", "smooth kernel", "sharp kernel"):
        assert float(found["scans", change]["auc"].split()[0]) > 0.9, change
    assert (output / "trust.png").is_file() and (output / "report.html").is_file()


def test_sources_that_hold_too_few_patients_are_named(weights: Path, tmp_path: Path) -> None:
    write_patient(tmp_path / "in", 3)
    with pytest.raises(ValueError, match="At least 5 patients are needed, got 1"):
        main(["fit", str(tmp_path / "in"), "--bundle", "ct_drsegunet", "--weights", str(weights)])


@pytest.mark.parametrize("name", SHIFTS)
def test_changes_keep_the_number_of_slices_and_change_the_image(name: str) -> None:
    image = chest_ct(1, size=(64, 64), slices=2).image.astype(np.float32)
    changed = SHIFTS[name](image, HU)
    assert changed.shape[2] == 2 and np.isfinite(changed).all()
    assert changed.shape != image.shape or np.abs(changed - image).mean() > 5


def test_changes_by_hand() -> None:
    ramp = np.arange(8, dtype=np.float32).reshape(4, 2, 1)
    assert SHIFTS["mirrored"](ramp, GREY)[0, 0, 0] == 6 and SHIFTS["upside down"](ramp, GREY)[0, 0, 0] == 1
    assert SHIFTS["inverted grey levels"](ramp, GREY)[0, 0, 0] == 255
    low, high = GREY.window
    assert SHIFTS["soft-tissue window"](np.full((1, 1, 1), (low + high) / 2, np.float32), GREY).item() == 127.5


def test_ultrasound_images_are_learned_from_and_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Six frames with bright lines, of six patients; one of them upside down, and one of noise."""
    settings = {"labels": "dense", "size": [48, 64], "filters": 4}
    config = str(ROOT / "bundles" / "us_dense_seg" / "configs" / "inference.yaml")
    parser = ConfigParser()
    parser.read_config(config)
    parser.update(settings)
    torch.manual_seed(0)
    save_weights(parser.get_parsed_content("model").state_dict(), tmp_path / "model.pt", {"settings": settings})
    random = np.random.default_rng(0)
    frames = tmp_path / "frames"
    frames.mkdir()
    for patient in range(8):
        frame = np.linspace(200, 0, 48)[:, None] + random.normal(0, 6, (48, 64))
        frame[10 + patient % 3] += 50
        Image.fromarray(frame.clip(0, 255).astype(np.uint8)).save(frames / f"patient_{patient}.png")
    command = ["fit", str(frames), "--bundle", "us_dense_seg", "--weights", str(tmp_path / "model.pt")]
    assert main(command) == 0
    data = read_record(tmp_path / "model.pt")[RECORD]["data"]
    assert data["axes"] == {"first axis": "top and bottom", "second axis": "left and right"}
    new = tmp_path / "new"
    new.mkdir()
    usual = Image.open(frames / "patient_3.png")
    usual.save(new / "usual.png")
    Image.fromarray(np.asarray(usual)[::-1]).save(new / "turned.png")
    Image.fromarray(random.integers(0, 256, (48, 64)).astype(np.uint8)).save(new / "noise.png")
    run("run", [config], tmp_path / "out", dataset_dir=str(new), weights=str(tmp_path / "model.pt"), isolated=False)
    found = {row["case"]: row["trust"] for row in rows(tmp_path / "out" / "cases.csv")}
    assert found == {"usual": "usual", "turned": "unusual", "noise": "unusual"}
    capsys.readouterr()
    assert main(["measure", *command[1:], "--output_dir", str(tmp_path / "measured")]) == 0
    measured = {row["change"]: float(row["auc"].split()[0]) for row in rows(tmp_path / "measured" / "trust.csv")[1:]}
    assert list(measured) == list(FRAME_SHIFTS)
    assert min(measured[change] for change in ("heavy noise", "inverted grey levels", "upside down")) > 0.9
