"""Slices labelled as a whole are read as downloaded, split by patient, and lesion masks reach the test alone."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.transforms import Compose, Orientationd, Resized, ScaleIntensityRanged
from PIL import Image

from common.datasets import SliceDataset, datalist, image_label_sets
from common.phantoms import write_coronacases, write_mosmed, write_radiopaedia
from common.transforms import LesionMaskd, LoadScand, LungMaskd, OutsideLungd, WindowCTd

WRITERS = {"radiopaedia": write_radiopaedia, "coronacases": write_coronacases, "mosmed": write_mosmed}
ALLOWED = {"image", "lung", "intensity", "picture_axes", "case", "patient", "source", "slice", "label"}
MASKS = Compose(
    [
        LoadScand(keys=["image", "label", "lung"]),
        Orientationd(keys=["image", "label", "lung"], axcodes="LPS", labels=None, allow_missing_keys=True),
        LesionMaskd(keys="label"),
        LungMaskd(keys="lung"),
    ]
)
PREPROCESSING = Compose(
    [
        LoadScand(keys=["image", "lung"]),
        Orientationd(keys=["image", "lung"], axcodes="LPS", labels=None, allow_missing_keys=True),
        LungMaskd(keys="lung"),
        WindowCTd(keys="image", window=[-1000, 200]),
        ScaleIntensityRanged(keys="image", a_min=-1000, a_max=200, b_min=-1, b_max=1),
        Resized(keys=["image", "lung"], spatial_size=[32, 32, -1], mode="nearest"),
        OutsideLungd(keys="image"),
    ]
)


def picture(path: Path, seed: int = 0) -> Path:
    """A picture that the seed decides."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)).save(path)
    return path


def write_table(root: Path, rows: list[str], heading: str = "image,label,patient") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "labels.csv").write_text("\n".join([heading, *rows]) + "\n")
    return root


def write_consortium(root: Path) -> Path:
    """Two patients of each class with one scan of three slices each."""
    for number, name in enumerate(("Normal/1", "Normal/2", "NCP/3", "NCP/4", "CP/5", "CP/6")):
        for index in range(3):
            picture(root / name / "100" / f"{index:04d}.{'jpg' if index else 'png'}", 3 * number + index)
    return root


def volumes(count: int = 10, content: str = "22111110") -> list[dict[str, Any]]:
    """Volumes by their slices: 0 without lung, 1 normal, 2 with a lesion of one pixel, 3 of four pixels."""
    return [
        {
            **{"image": f"{number}.nii.gz", "label": f"{number}_mask.nii.gz", "case": f"{number}"},
            **{"patient": f"{number}", "source": "made", "intensity": "HU", "content": content},
        }
        for number in range(count)
    ]


def masks(case: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Masks (1, 2, 2, Z) of such a volume."""
    content = torch.tensor([int(each) for each in case["content"]])
    pixels = torch.tensor([0, 0, 1, 4])[content]
    label = torch.arange(4)[:, None] < pixels
    return {"lung": (content > 0).expand(1, 2, 2, -1), "label": label.reshape(1, 2, 2, -1)}


def pictures(folder: Path, labels: Mapping[str, list[Any]], source: str = "a") -> list[dict[str, Any]]:
    """Cases of pictures by patient."""
    cases = []
    for patient, values in labels.items():
        for index, label in enumerate(values):
            name = f"{source}_{patient}_{index}"
            path = picture(folder / f"{name}.png", int.from_bytes(name.encode(), "big"))
            cases.append({"image": path, "label": label, "case": name, "patient": patient, "source": source})
    return cases


def test_a_table_gives_its_pictures_with_what_it_knows_of_them(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/2.jpg", "lungs/1.png"):
        picture(tmp_path / name)
    write_table(tmp_path, ["a/1.png,0,p,lungs/1.png,north", "a/2.jpg, 1 ,,,"], "image,label,patient,lung,source")
    given = {"intensity": "8bit", "picture_axes": "PL"}
    assert datalist(tmp_path, "image labels", "table") == [
        {
            **{"image": tmp_path / "a/1.png", "lung": tmp_path / "lungs/1.png", "label": 0, **given},
            **{"case": "a/1", "patient": "p", "source": "north"},
        },
        {"image": tmp_path / "a/2.jpg", "label": 1, "case": "a/2", "patient": None, "source": "table", **given},
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a.png,2,p"], r"labels\.csv: 1 lines.*line 2: label is 0 \(normal\) or 1 .*got '2' for a\.png"),
        (["a.png,0,p", "b.png,,p"], r"line 3: label is .* got '' for b\.png"),
        (["c.png,0,p"], r"line 2: no such image: c\.png"),
        ([",0,p"], r"line 2: image is a picture .*got ''"),
        (["scan.nii.gz,0,p"], r"line 2: image is a picture \(\.png, .*got 'scan\.nii\.gz'"),
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
        datalist(write_table(tmp_path, rows), "image labels")


def test_a_table_needs_its_columns(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"labels\.csv, line 1: the columns image and label are needed, got file, class"
    ):
        datalist(write_table(tmp_path, [], "file,class"), "image labels", "table")


@pytest.mark.parametrize("heading", [[], ["imgpath"]])
@pytest.mark.parametrize("before", ["", "data/CC-CCII/", "D:\\CC-CCII\\"])
def test_slices_of_covid_without_lesions_are_not_taken(before: str, heading: list[str], tmp_path: Path) -> None:
    listed = ["NCP/3/100/0001.jpg", "NCP/4/100/0000.png", "CP/4/100/0002.jpg", "NCP/999/1/0000.png"]
    lines = [before + (name.replace("/", "\\") if "\\" in before else name) for name in listed]
    (write_consortium(tmp_path) / "lesions_slices.csv").write_text("\n".join([*heading, *lines]))
    found = datalist(tmp_path, "image labels")
    assert [case["case"] for case in found if case["label"] == 1] == ["NCP/3/100/0001", "NCP/4/100/0000"]
    assert [case["patient"] for case in found if case["label"] == 0] == ["1"] * 3 + ["2"] * 3
    assert all(case["image"].is_file() and case["intensity"] == "8bit" for case in found)
    assert {case["picture_axes"] for case in found} == {"PL"} and {case["source"] for case in found} == {"cc_ccii"}


def test_without_a_list_every_slice_of_covid_counts_and_a_warning_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        found = datalist(write_consortium(tmp_path), "image labels", "cc_ccii")
    assert [case["label"] for case in found] == [0] * 6 + [1] * 6
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == 1 and "no lesions_slices.csv: all 6 slices of NCP count as slices with lesions" in warned[0]
    assert sum("CP (common pneumonia)" in record.getMessage() for record in caplog.records) == 1


def test_a_list_of_another_download_is_refused(tmp_path: Path) -> None:
    (write_consortium(tmp_path) / "lesions_slices.csv").write_text("imgpath\nNCP/77/1/0000.png\n")
    with pytest.raises(ValueError, match=r"lesions_slices\.csv: .*got none of the 6 in .*such as NCP/3/100/0000\.png"):
        datalist(tmp_path, "image labels")


def test_slices_with_lung_are_labelled_by_the_mask_and_split_by_patient() -> None:
    sets = image_label_sets(volumes(), masks)
    patients = {name: {item["patient"] for item in items} for name, items in sets.items()}
    assert [len(patients[name]) for name in ("training", "validation", "test")] == [7, 1, 2]
    assert len(set.union(*patients.values())) == 10, "each patient in one set"
    for items in sets.values():
        for patient in {item["patient"] for item in items}:
            labels = {item["slice"]: item["label"] for item in items if item["patient"] == patient}
            assert labels == {0: 1, 1: 1, 2: 0, 3: 0, 4: 0, 5: 0, 6: 0}


def test_slices_in_doubt_are_tested_but_not_trained_on() -> None:
    sets = image_label_sets(volumes(content="1131121110"), masks, smallest_lesion=4, normal_gap=1)
    taken = {name: {item["slice"]: item["label"] for item in items} for name, items in sets.items()}
    assert taken["training"] == taken["validation"] == {0: 0, 2: 1, 7: 0, 8: 0}
    assert taken["test"] == {0: 0, 1: 0, 2: 1, 3: 0, 4: 0, 5: 1, 6: 0, 7: 0, 8: 0}


def test_pictures_and_volumes_go_together_and_truth_is_of_volumes_alone(tmp_path: Path) -> None:
    cases = [*volumes(20), *pictures(tmp_path, {f"p{number}": [0, 1] for number in range(20)})]
    sets = image_label_sets(cases, masks)
    assert {item["source"] for item in sets["test"]} == {"a", "made"}
    for item in sets["test"]:
        assert item.get("truth") == (f"{item['patient']}_mask.nii.gz" if item["source"] == "made" else None)
        assert type(item["label"]) is int and item["label"] in (0, 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"smallest_lesion": 0}, "smallest_lesion is 1 pixel or more .*got 0, 0"),
        ({"normal_gap": -1}, "normal_gap 0 slices or more, got 1, -1"),
        ({"shares": (7, 3)}, "three positive numbers"),
        ({"normal_gap": 9}, "got 14 slices and no normal slices. Add patients"),
        ({"smallest_lesion": 5}, "got 35 slices and no slices with lesions. Add patients"),
    ],
)
def test_sets_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        image_label_sets(volumes(), masks, **settings)


@pytest.mark.parametrize("label", [2, -1, None, 0.5])
def test_labels_are_zero_or_one(label: Any, tmp_path: Path) -> None:
    cases = pictures(tmp_path, {"p": [0, label], "q": [0, 1], "r": [0, 1]})
    with pytest.raises(ValueError, match=rf"Labels are 0 .* 1 are not: .*a_p_1\.png has {label}\. Correct them"):
        image_label_sets(cases, masks)


def test_the_same_picture_with_two_labels_is_refused_with_both_files(tmp_path: Path) -> None:
    cases = pictures(tmp_path, {name: [0, 1] for name in "pqrst"})
    cases[3]["image"].write_bytes(cases[0]["image"].read_bytes())
    with pytest.raises(ValueError, match=r"1 have two: .*a_p_0\.png has 0, .*a_q_1\.png has 1\. Remove one of each"):
        image_label_sets(cases, masks)


def test_copies_of_a_picture_under_another_patient_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cases = pictures(tmp_path, {name: [0, 1, 1] for name in "pqrst"})
    for index in (0, 1):
        cases[3 + index]["image"].write_bytes(cases[index]["image"].read_bytes())
    sets = image_label_sets(cases, masks)
    taken = [item["case"] for items in sets.values() for item in items]
    assert sorted(taken) == sorted(case["case"] for case in cases if case["case"] not in ("a_q_0", "a_q_1"))
    assert "2 pictures are copies of others and are left out" in caplog.text


def test_pictures_without_patient_count_as_one_each_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cases = [{**case, "patient": None} for case in pictures(tmp_path, {"p": [0, 1] * 10})]
    sets = image_label_sets(cases, masks)
    assert [len(items) for items in sets.values()] == [14, 2, 4]
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == 1 and warned[0].startswith("20 cases name no patient (a_p_0, a_p_1, a_p_2, ...)")


def test_sources_that_coincide_with_labels_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    normal = pictures(tmp_path, {f"n{number}": [0, 0] for number in range(20)}, source="north")
    ill = pictures(tmp_path, {f"i{number}": [1, 1] for number in range(20)}, source="south")
    mixed = pictures(tmp_path, {f"m{number}": [0, 1] for number in range(20)}, source="south")
    caplog.set_level(logging.WARNING)
    image_label_sets(normal + ill + mixed, masks)
    assert not caplog.text
    image_label_sets(normal + ill, masks)
    assert [record.getMessage() for record in caplog.records] == [
        "All normal slices come from north, all slices with lesions from south. A network can tell these sources apart "
        "instead of disease."
    ]


@pytest.mark.parametrize("key", ["lung", "image"])
def test_a_lesion_mask_does_not_come_into_training_by_another_name(key: str) -> None:
    cases = volumes()
    cases[4][key] = cases[4]["label"]
    with pytest.raises(ValueError, match=rf"4: a lesion mask is for testing alone, got 4_mask\.nii\.gz as {key} too"):
        image_label_sets(cases, masks)


@pytest.mark.parametrize("source", WRITERS)
def test_no_lesion_mask_reaches_training(source: str, tmp_path: Path) -> None:
    root = WRITERS[source](tmp_path / "data", patients=6, size=(64, 64), slices=6)
    cases = datalist(root, "image labels", source)
    sets = image_label_sets(cases, MASKS, shares=(3, 1, 1))
    lesions = {case["label"] for case in cases}
    for item in sets["training"] + sets["validation"]:
        assert set(item) <= ALLOWED and type(item["label"]) is int
        assert {key for key, value in item.items() if isinstance(value, Path)} <= {"image", "lung"}
        assert not set(map(str, lesions)) & set(map(str, item.values()))
    assert {item["truth"] for item in sets["test"]} <= lesions

    def held() -> list[dict[str, Any]]:
        return SliceDataset(sets["training"], PREPROCESSING, keys=["image"], fields=["label"]).planes

    before = held()
    for path in lesions:
        path.write_bytes(b"no mask at all")
    after = held()
    assert len(before) == len(after) == len(sets["training"]) and {item["label"] for item in after} == {0, 1}
    for item, again, case in zip(before, after, sets["training"], strict=True):
        assert set(item) == {"image", "label", "case", "slice"} and torch.equal(item["image"], again["image"])
        assert item["label"] == again["label"]
        assert (item["label"], item["slice"]) == (case["label"], case["slice"])
    with pytest.raises(ValueError, match="cannot be used"):
        SliceDataset(sets["test"], Compose([LoadScand(keys=["image", "truth"])]), keys=["image", "truth"])


def test_the_phantom_needs_no_folder_and_its_patients_have_masks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def made(**settings: Any) -> Path:
        asked.update(settings)
        return write_radiopaedia(tmp_path / "data", patients=3, size=(64, 64), slices=2)

    monkeypatch.setattr("common.phantoms.phantom_dir", made)
    found = datalist("phantom", "image labels", "phantom")
    assert asked == {"layout": "radiopaedia", "patients": 20, "size": (128, 128), "slices": 24, "seed": 7}
    assert [case["source"] for case in found] == ["phantom"] * 3 and all(case["label"].is_file() for case in found)


def test_a_field_that_is_a_key_too_stays_a_tensor() -> None:
    volume = torch.arange(8.0).reshape(1, 2, 2, 2)
    case = {"image": "a", "label": 1, "case": "a", "diagnosis": "normal"}
    held = SliceDataset([case], lambda _: {"image": volume, "label": volume + 1}, fields=["label", "diagnosis", "age"])
    for index, item in enumerate(held.planes):
        assert torch.equal(item["label"], volume[..., index] + 1)
        assert set(item) == {"image", "label", "diagnosis", "case", "slice"} and item["diagnosis"] == "normal"


@pytest.mark.parametrize("shape", [(1, 2, 2), (1, 2, 2, 3)])
def test_what_lies_outside_the_lung_takes_one_value_and_the_inside_stays(shape: tuple[int, ...]) -> None:
    image = torch.rand(shape)
    lung = torch.zeros(shape, dtype=torch.uint8)
    lung[0, 1] = 1
    item = OutsideLungd(keys="image", value=-3.0)({"image": image, "lung": lung})
    assert torch.equal(item["image"][0, 1], image[0, 1]) and (item["image"][0, 0] == -3).all()
    assert (image >= 0).all(), "what came in is as it was"


@pytest.mark.parametrize(
    ("lung", "message"),
    [
        (torch.zeros(1, 4, 4), r"study_7: something must lie in the lung, got a lung mask of zeros, shape \(1, 4, 4\)"),
        (torch.ones(1, 2, 2), r"study_7: the lung mask must have the image's shape \(1, 4, 4\), got \(1, 2, 2\)"),
    ],
)
def test_nothing_in_the_lung_or_a_mask_of_another_shape_is_refused(lung: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OutsideLungd(keys="image")({"image": torch.ones(1, 4, 4), "lung": lung, "case": "study_7"})
