"""The structured report holds the numbers of the table, tied to the segmentation; the picture is the overlay."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from bundle_steps import run
from conftest import ROOT
from csv_rows import rows
from ct_files import LPS, write_volume
from PIL import Image

from common.phantoms.ct.chest_ct import chest_ct
from common.report.dicom.save import SaveDicomd
from common.report.dicom.segmentation import segmentation
from common.report.dicom.source import Algorithm, read_source
from common.report.dicom.structured_report import structured_report
from common.report.styles import ClassStyle

INFER = str(ROOT / "bundles" / "ct_drsegunet" / "configs" / "inference.yaml")
NAME = "Invented^Patient"
INFECTION = ClassStyle("infection", 1, (255, 0, 0), ("DCM", "112121", "Infiltrate"))
ELEMENTS = {"PatientName": NAME, "StudyID": "1", "StudyDate": "20200101", "StudyTime": "100000", "SeriesNumber": 3}


@pytest.fixture(scope="module")
def inferred(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic chest as a DICOM series, through the bundle with the weights that come with it, all outputs."""
    folder = tmp_path_factory.mktemp("pacs")
    patient = chest_ct(2, size=(160, 160), slices=10)
    affine = np.diag([*patient.spacing, 1.0])
    write_volume(folder / "study", np.rint(patient.image).astype(np.int16), affine, **ELEMENTS)
    outputs = ["nifti", "seg", "sr", "overlay"]
    run("run", [INFER], folder / "out", dataset_dir=str(folder / "study"), outputs=outputs, isolated=False)
    return folder / "out"


def codes(item: Any) -> dict[str, Any]:
    """Names and values of the measurements of a group."""
    found = {}
    for each in item.get_measurements():
        found[each.name.meaning] = (each.value, each.unit.value)
    return found


def test_the_report_holds_the_numbers_of_the_table_and_refers_to_the_segments(inferred: Path) -> None:
    (row,) = rows(inferred / "lesions.csv")
    report = highdicom.sr.srread(next(inferred.glob("*_report.dcm")))
    segmentation = pydicom.dcmread(next(inferred.glob("*_mask.dcm")))
    groups = [
        *report.content.get_volumetric_roi_measurement_groups(),
        *report.content.get_image_measurement_groups(),
    ]
    by_name = {group.tracking_identifier: group for group in groups}
    assert set(by_name) == {"ground-glass", "consolidation", "all lesions"}
    for name, column in (("ground-glass", "ground_glass_ml"), ("all lesions", "lesion_ml")):
        volume, unit = codes(by_name[name])["Volume"]
        assert (volume, unit) == (pytest.approx(float(row[column]), abs=1e-3), "ml") and volume > 1
    share, percent = codes(by_name["all lesions"])["Share of lung volume"]
    assert (share, percent) == (pytest.approx(100 * float(row["share_of_lung"]), abs=0.01), "%")
    (grade,) = by_name["all lesions"].get_qualitative_evaluations()
    assert grade.value.value == row["severity"]
    (referenced,) = {
        each.referenced_sop_instance_uid
        for group in report.content.get_volumetric_roi_measurement_groups()
        for each in [group.referenced_segment]
    }
    assert referenced == segmentation.SOPInstanceUID
    assert report.VerificationFlag == "UNVERIFIED" and "Not a medical device" in report.CompletionFlagDescription


def test_the_picture_is_the_overlay_in_the_study_of_the_source(inferred: Path) -> None:
    made = pydicom.dcmread(next(inferred.glob("*_overlay.dcm")))
    with Image.open(next(inferred.glob("*_overlay.png"))) as overlay:
        assert np.array_equal(made.pixel_array, np.asarray(overlay.convert("RGB")))
    assert (made.StudyInstanceUID, made.BurnedInAnnotation, made.Modality) == ("1.2.3", "YES", "OT")
    assert "not for diagnosis" in made.ImageComments


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian's dicom3tools) is not installed")
@pytest.mark.parametrize("ending", ["mask", "report", "overlay"])
def test_dciodvfy_finds_no_error(inferred: Path, ending: str) -> None:
    path = next(inferred.glob(f"*_{ending}.dcm"))
    told = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    errors = [line for line in told.stderr.splitlines() if line.startswith("Error")]
    assert not errors, "\n".join(errors)


def test_the_patient_is_named_in_the_objects_and_nowhere_else(inferred: Path) -> None:
    named = {path.name for path in inferred.rglob("*") if path.is_file() and b"Invented" in path.read_bytes()}
    assert named == {path.name for path in inferred.glob("*.dcm")} and len(named) == 3


def test_a_report_needs_a_segmentation_to_refer_to(tmp_path: Path) -> None:
    metadata = ROOT / "bundles" / "ct_drsegunet" / "configs" / "metadata.json"
    for outputs, kind in ((["sr"], "binary"), (["seg", "sr"], "labelmap")):
        with pytest.raises(ValueError, match="A report refers to a binary segmentation"):
            SaveDicomd("pred", tmp_path, metadata, ["lung"], [], tmp_path, outputs, kind)
    with pytest.raises(ValueError, match="There is no output 'pdf'"):
        SaveDicomd("pred", tmp_path, metadata, ["lung"], [], tmp_path, ["pdf"])


def test_a_network_of_one_class_refers_to_its_only_segment(tmp_path: Path) -> None:
    files = write_volume(
        tmp_path / "in", np.full((6, 5, 3), -800, np.int16), np.diag([-1.0, -1.0, 2.0, 1.0]), **ELEMENTS
    )
    source = read_source(files, np.diag([1.0, 1.0, 2.0, 1.0]))
    styles = [
        ClassStyle("infection", 4, (255, 0, 0), ("DCM", "112121", "Infiltrate")),
        ClassStyle("background", 0, (0,) * 3),
    ]
    mask = np.zeros((6, 5, 3), np.uint8)
    mask[1, 2, 1] = 4
    made_by = Algorithm("ct_drsegunet", "0.1.0", "ab" * 32)
    made = segmentation(mask, source, styles, made_by)
    written = structured_report({"infection_ml": 0.002, "lesion_ml": 0.002}, made, source, styles, made_by)
    written.save_as(tmp_path / "report.dcm")
    report = highdicom.sr.srread(tmp_path / "report.dcm")
    (group,) = report.content.get_volumetric_roi_measurement_groups()
    assert group.referenced_segment.referenced_sop_instance_uid == made.SOPInstanceUID
    assert codes(group)["Volume"] == (0.002, "ml")


def test_a_japanese_name_stays_itself_and_a_wrong_date_is_left_out(tmp_path: Path) -> None:
    """The usual character sets of Japan begin with an empty value."""
    name = "Yamada^Tarou=山田^太郎"
    sets = {"SpecificCharacterSet": ["", "ISO 2022 IR 87"], "PatientName": name, "PatientBirthDate": "19501"}
    image = np.zeros((16, 16, 2), np.int16)
    files = write_volume(tmp_path, image, np.diag([1.0, 1.0, 2.0, 1.0]), **{**ELEMENTS, **sets})
    source = read_source(files, LPS @ np.diag([1.0, 1.0, 2.0, 1.0]))
    made = segmentation(
        np.ones((16, 16, 2), np.uint8), source, [INFECTION], Algorithm("ct_drsegunet", "0.1.0", "0" * 64)
    )
    made.save_as(tmp_path / "made.dcm")
    again = pydicom.dcmread(tmp_path / "made.dcm")
    assert again.PatientName == name and again.SpecificCharacterSet == "ISO_IR 192"
    assert not again.PatientBirthDate


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"FrameOfReferenceUID": ""}, "name no frame of reference"),
        ({"SOPInstanceUID": "1.2.3.4.5"}, "several slices have one SOPInstanceUID"),
        ({"SOPInstanceUID": None}, r"0\.dcm: it has no SOPInstanceUID"),
    ],
)
def test_a_source_that_cannot_be_referred_to_is_named(elements: dict[str, Any], message: str, tmp_path: Path) -> None:
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    files = write_volume(tmp_path, np.zeros((16, 16, 2), np.int16), affine, **{**ELEMENTS, **elements})
    with pytest.raises(ValueError, match=message):
        source = read_source(files, LPS @ affine)
        segmentation(np.ones((16, 16, 2), np.uint8), source, [INFECTION], Algorithm("ct_drsegunet", "0.1.0", "0" * 64))


def test_slices_of_two_patients_give_no_object(tmp_path: Path) -> None:
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    files = write_volume(tmp_path, np.zeros((16, 16, 2), np.int16), affine, **ELEMENTS)
    other = pydicom.dcmread(files[1])
    other.PatientID = "2"
    other.save_as(files[1])
    with pytest.raises(ValueError, match="holds slices of 2 patients"):
        read_source(files, LPS @ affine)


def test_a_very_large_series_number_does_not_overflow(tmp_path: Path) -> None:
    elements = {**ELEMENTS, "SeriesNumber": 2147483647}
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    source = read_source(write_volume(tmp_path, np.zeros((16, 16, 2), np.int16), affine, **elements), LPS @ affine)
    assert source.new_object("SEG")["series_number"] == 90
