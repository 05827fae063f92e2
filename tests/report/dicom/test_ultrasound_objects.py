"""Ultrasound clips in, their overlay and their diagnosis as DICOM objects out."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import av
import highdicom
import numpy as np
import pydicom
import pytest
from bundle_steps import run
from conftest import ROOT
from csv_rows import rows
from ultrasound_files import GREY, dicom, save_dicom, save_image

from common.report.dicom.save_frames import SaveFramesDicom

NAME = "Invented^Patient"
ELEMENTS = {"PatientName": NAME, "PatientBirthDate": "", "PatientSex": "", "StudyID": "1", "StudyDate": "20200101"}
ELEMENTS |= {"StudyTime": "100000", "AccessionNumber": "", "ReferringPhysicianName": "", "SeriesNumber": 3}
DIAGNOSES = ["normal", "pneumonia", "COVID-19"]


@pytest.fixture(scope="module")
def inferred(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip and an image in DICOM and a png, through the bundle with the weights that come with it."""
    folder = tmp_path_factory.mktemp("us")
    save_dicom(dicom(GREY, FrameTime="400.0", **ELEMENTS), folder / "in" / "clip.dcm")
    save_dicom(dicom(GREY[3:4], **ELEMENTS), folder / "in" / "image.dcm")
    save_image(folder / "in" / "picture.png", GREY[0])
    config = str(ROOT / "bundles" / "us_reverse_transfer" / "configs" / "inference.yaml")
    settings = {"dataset_dir": str(folder / "in"), "outputs": ["overlay", "sr"], "isolated": False}
    run("run", [config], folder / "out", **settings)
    return folder / "out"


def groups_of(path: Path) -> dict[str, Any]:
    report = highdicom.sr.srread(path)
    return {group.tracking_identifier: group for group in report.content.get_image_measurement_groups()}


def test_only_dicom_cases_have_objects_and_the_patient_is_named_nowhere_else(inferred: Path) -> None:
    made = {path.name for path in inferred.rglob("*.dcm")}
    assert made == {"clip_overlay.dcm", "clip_report.dcm", "image_overlay.dcm", "image_report.dcm"}
    assert {path.name for path in inferred.rglob("*") if path.is_file() and b"Invented" in path.read_bytes()} == made


def test_the_overlay_has_the_frames_of_the_clip_at_its_pace(inferred: Path) -> None:
    made = pydicom.dcmread(inferred / "clip_overlay.dcm")
    frames = highdicom.io.ImageFileReader(inferred / "clip_overlay.dcm")
    with av.open(str(inferred / "clip_overlay.mp4")) as container:
        expected = [each.to_ndarray(format="rgb24").astype(int) for each in container.decode(video=0)]
    assert (made.NumberOfFrames, float(made.FrameTime)) == (len(GREY), 400.0)
    with frames:
        for number, picture in enumerate(expected):
            found = frames.read_frame(number, correct_color=False).astype(int)
            assert np.abs(found - picture).mean() < 6, "both are lossy"
    assert (made.StudyInstanceUID, made.PatientName, made.BurnedInAnnotation) == ("1.2.3", NAME, "YES")
    assert made.SourceImageSequence[0].ReferencedSOPInstanceUID == "1.2.3.4"
    assert "NumberOfFrames" in pydicom.dcmread(inferred / "image_overlay.dcm")


@pytest.mark.parametrize("case", ["clip", "image"])
def test_the_report_holds_the_row_of_the_table(inferred: Path, case: str) -> None:
    (row,) = [each for each in rows(inferred / "cases.csv") if each["case"] == case]
    groups = groups_of(inferred / f"{case}_report.dcm")
    for name in DIAGNOSES:
        (probability,) = groups[name].get_measurements()
        assert (probability.name.meaning, probability.unit.value) == ("Probability", "%")
        assert probability.value == pytest.approx(100 * float(row[f"probability_{name}"]), abs=0.01)
    (decision,) = groups["decision"].get_qualitative_evaluations()
    named = {"normal": "17621005", "pneumonia": "233604007", "COVID-19": "840539006"}
    assert decision.value.value == named[row["diagnosis"]]
    shares = {each.name.meaning: each.value for each in groups["decision"].get_measurements()}
    maps = [key.removeprefix("share_") for key in row if key.startswith("share_")]
    assert shares == {
        f"Share of image: {name}": pytest.approx(100 * float(row[f"share_{name}"]), abs=0.01) for name in maps
    }


def test_the_report_says_what_the_weights_are_not_for(inferred: Path) -> None:
    report = pydicom.dcmread(inferred / "clip_report.dcm")
    *_, text = [each.TextValue for each in report.ContentSequence if each.ValueType == "TEXT"]
    assert "Not a medical device" in text and "Linear probes, whose normal lungs are called COVID-19" in text
    assert "balanced accuracy 0.685" in text


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian's dicom3tools) is not installed")
@pytest.mark.parametrize("name", ["clip_overlay", "clip_report", "image_overlay", "image_report"])
def test_dciodvfy_finds_no_error(inferred: Path, name: str) -> None:
    told = subprocess.run(["dciodvfy", str(inferred / f"{name}.dcm")], capture_output=True, text=True, check=False)
    errors = [line for line in told.stderr.splitlines() if line.startswith("Error")]
    assert not errors, "\n".join(errors)


def test_a_bundle_that_does_not_diagnose_has_no_report(tmp_path: Path) -> None:
    metadata = ROOT / "bundles" / "us_dense_seg" / "configs" / "metadata.json"
    with pytest.raises(ValueError, match="us_dense_seg makes no diagnosis to report"):
        SaveFramesDicom(tmp_path, metadata, [], tmp_path, ["sr"])
