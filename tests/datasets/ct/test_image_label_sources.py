"""Slices with image-level labels are read as downloaded: tables of images, CC-CCII."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from labelled_slices import picture, write_table
from monai.transforms import Compose, Orientationd
from PIL import Image

from common.datasets.ct import image_labels
from common.phantoms.ct.layouts import write_coronacases, write_radiopaedia
from common.phantoms.ct.medseg_layouts import write_medseg_pictures
from common.transforms.ct import LoadScand
from common.transforms.masks import LesionMaskd


def write_consortium(root: Path) -> Path:
    """Two patients of each class with one scan of three slices each."""
    for number, name in enumerate(("Normal/1", "Normal/2", "NCP/3", "NCP/4", "CP/5", "CP/6")):
        for index in range(3):
            picture(root / name / "100" / f"{index:04d}.{'jpg' if index else 'png'}", 3 * number + index)
    return root


def test_a_table_lists_images_with_label_patient_lung_and_source(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/2.jpg", "lungs/1.png"):
        picture(tmp_path / name)
    write_table(tmp_path, ["a/1.png,0,p,lungs/1.png,north", "a/2.jpg, 1 ,,,"], "image,label,patient,lung,source")
    given = {"intensity": "8bit", "picture_axes": "PL"}
    first = {
        **{"image": tmp_path / "a/1.png", "lung": tmp_path / "lungs/1.png", "label": 0, **given},
        **{"case": "a/1", "patient": "p", "source": "north"},
    }
    second = {"image": tmp_path / "a/2.jpg", "label": 1, "case": "a/2", "patient": None, "source": "table", **given}
    assert image_labels(tmp_path, "table") == [first, second]
    picture(tmp_path / "masks/2.png")
    write_table(tmp_path, ["a/2.jpg,1,masks/2.png"], "image,label,mask")
    assert image_labels(tmp_path, "table") == [{**second, "truth": tmp_path / "masks/2.png"}], "a mask to test on"
    with pytest.raises(ValueError, match=r"line 2: no such mask: masks/1\.png"):
        image_labels(write_table(tmp_path, ["a/1.png,0,masks/1.png"], "image,label,mask"), "table")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a.png,2,p"], r"labels\.csv: 1 lines.*line 2: label must be 0 \(normal\) or 1 .*got '2' for a\.png"),
        (["a.png,0,p", "b.png,,p"], r"line 3: label must be .* got '' for b\.png"),
        (["c.png,0,p"], r"line 2: no such image: c\.png"),
        ([",0,p"], r"line 2: image must be an image file .*got ''"),
        (["scan.nii.gz,0,p"], r"line 2: image must be an image file \(\.png, .*got 'scan\.nii\.gz'"),
        (
            ["a.png,0,p", "b.png,1,q", "./a.png,0,q"],
            r"line 4: .*\./a\.png \(patient q\) again after line 2 \(patient p\)",
        ),
        (["c.png,0,p", "b.png,x,p"], r"2 lines cannot be used: line 2: .*; line 3: "),
    ],
)
def test_lines_of_a_table_that_cannot_be_used_are_named(rows: list[str], message: str, tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png", 1)
    with pytest.raises(ValueError, match=message):
        image_labels(write_table(tmp_path, rows))


def test_a_table_needs_its_columns(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"labels\.csv, line 1: the columns image and label are needed, got file, class"
    ):
        image_labels(write_table(tmp_path, [], "file,class"), "table")


@pytest.mark.parametrize("heading", [[], ["imgpath"]])
@pytest.mark.parametrize("before", ["", "data/CC-CCII/", "D:\\CC-CCII\\"])
def test_slices_of_covid_patients_without_lesions_are_left_out(before: str, heading: list[str], tmp_path: Path) -> None:
    listed = ["NCP/3/100/0001.jpg", "NCP/4/100/0000.png", "CP/4/100/0002.jpg", "NCP/999/1/0000.png"]
    lines = [before + (name.replace("/", "\\") if "\\" in before else name) for name in listed]
    (write_consortium(tmp_path) / "lesions_slices.csv").write_text("\n".join([*heading, *lines]))
    found = image_labels(tmp_path)
    assert [case["case"] for case in found if case["label"] == 1] == ["NCP/3/100/0001", "NCP/4/100/0000"]
    assert [case["patient"] for case in found if case["label"] == 0] == ["1"] * 3 + ["2"] * 3
    assert all(case["image"].is_file() and case["intensity"] == "8bit" for case in found)
    assert {case["picture_axes"] for case in found} == {"PL"} and {case["source"] for case in found} == {"cc_ccii"}


def test_without_a_list_all_slices_of_covid_patients_count_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        found = image_labels(write_consortium(tmp_path), "cc_ccii")
    assert [case["label"] for case in found] == [0] * 6 + [1] * 6
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == 1 and "no lesions_slices.csv: all 6 slices of NCP count as slices with lesions" in warned[0]
    assert sum("CP (common pneumonia)" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize("folder", ["", "ct_lesion_seg/"])
def test_slices_with_masks_of_cc_ccii_are_for_testing_alone_and_their_values_are_known(
    folder: str, tmp_path: Path
) -> None:
    write_consortium(tmp_path)
    image = picture(tmp_path / f"{folder}image/7/20.jpg")
    values = np.zeros((24, 24), np.uint8)
    values[4:20, 4:10] = 1  # the lung
    values[6:9, 5:8], values[12, 6] = 2, 3
    (tmp_path / f"{folder}mask/7").mkdir(parents=True)
    Image.fromarray(values).save(tmp_path / f"{folder}mask/7/20.png")
    found = image_labels(tmp_path, "cc_ccii")
    assert len(found) == 13 and not any("only_tested" in case for case in found[:-1])
    case = found[-1]
    assert (case["image"], case["patient"], case["label"], case["only_tested"]) == (image, "7", 1, True)
    upright = Orientationd(["image", "truth"], axcodes="LPS", labels=None)
    item = Compose([LoadScand(["image", "lung", "truth"]), upright, LesionMaskd("truth", [1, 2])])(case)
    assert torch.equal(item["truth"].as_tensor()[0, ..., 0], torch.from_numpy(values >= 2).T.to(torch.uint8))
    assert "lung" not in item, "lungs are found in one way in all slices"
    assert image_labels(tmp_path, "cc_ccii", label_map={1: "lung"})[-1]["label_map"] == {1: "lung"}
    picture(tmp_path / f"{folder}image/7/21.jpg")
    with pytest.raises(FileNotFoundError, match=r"1 files have no partner: .*image/7/21\.jpg\. Unpack"):
        image_labels(tmp_path, "cc_ccii")


def test_sources_that_are_only_tested_on(tmp_path: Path) -> None:
    write_medseg_pictures(tmp_path / "medseg", slices=3, size=(64, 64))
    assert len(image_labels(tmp_path / "medseg", "medseg", tested=True)) > 1
    with pytest.raises(ValueError, match="Unknown source 'medseg'"):
        image_labels(tmp_path / "medseg", "medseg")
    root = write_coronacases(tmp_path / "cases", patients=1, size=(64, 64), slices=2)
    for name in ("COVID-19-CT-Seg_20cases", "Infection_Mask", "Lung_Mask"):
        shutil.copy(root / name / "coronacases_001.nii.gz", root / name / "radiopaedia_4.nii.gz")
    assert [case["case"] for case in image_labels(root, "coronacases")] == ["coronacases_001"]
    cases = image_labels(root, "coronacases", tested=True)
    assert [(case["intensity"], case.get("grey_window")) for case in cases] == [("HU", None), ("8bit", (-1250, 250))]


def test_a_list_of_another_download_is_refused(tmp_path: Path) -> None:
    (write_consortium(tmp_path) / "lesions_slices.csv").write_text("imgpath\nNCP/77/1/0000.png\n")
    with pytest.raises(ValueError, match=r"lesions_slices\.csv: .*got none of the 6 in .*such as NCP/3/100/0000\.png"):
        image_labels(tmp_path)


def test_the_phantom_needs_no_folder_and_its_patients_have_masks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def made(**settings: Any) -> Path:
        asked.update(settings)
        return write_radiopaedia(tmp_path / "data", patients=3, size=(64, 64), slices=2)

    monkeypatch.setattr("common.datasets.ct.phantom_dir", made)
    found = image_labels("phantom", "phantom")
    assert asked == {"layout": "radiopaedia", "patients": 20, "size": (128, 128), "slices": 24, "seed": 7}
    assert [case["source"] for case in found] == ["phantom"] * 3 and all(case["label"].is_file() for case in found)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1252", "utf-16"])
def test_a_table_of_a_spreadsheet_program_is_read(tmp_path: Path, encoding: str) -> None:
    image = tmp_path / "a" / "müller.png"
    image.parent.mkdir()
    image.touch()
    (tmp_path / "labels.csv").write_bytes("image;label;lung\r\na\\müller.png;1;a\\müller.png\r\n".encode(encoding))
    (case,) = image_labels(tmp_path, "table")
    assert (case["image"], case["lung"], case["case"], case["label"]) == (image, image, "a/müller", 1)
