"""Slices labelled as a whole are read as downloaded, split by patient, and lesion masks reach the test alone."""

from __future__ import annotations

import csv
import logging
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from monai.transforms import Compose, Orientationd, Resized, ScaleIntensityRanged
from PIL import Image

from common.datasets.ct import image_labels
from common.datasets.ct.cut import main
from common.datasets.ct.image_label_sets import image_label_sets
from common.datasets.slices import SliceDataset
from common.phantoms.ct.layouts import write_coronacases, write_medseg_pictures, write_mosmed, write_radiopaedia
from common.transforms.ct import LoadScand, WindowCTd
from common.transforms.masks import LesionMaskd, LungMaskd, OutsideLungd

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


def picture(path: Path, seed: int = 0, lungs: bool = True) -> Path:
    """A body on black, of a brightness that the seed decides, with or without two dark lungs, where it is noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    row, column = np.mgrid[-1:1:24j, -1:1:24j]
    grey = np.clip(600 * (1 - np.hypot(column, row)), 0, 180 + seed % 71)
    if lungs:
        inside = ((np.abs(column) - 0.4) / 0.3) ** 2 + (row / 0.5) ** 2 < 1
        grey[inside] = np.random.default_rng(seed).integers(50, 70, inside.sum())
    Image.fromarray(grey.astype(np.uint8)).save(path)
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
    assert image_labels(tmp_path, "table") == [
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
        image_labels(write_table(tmp_path, rows))


def test_a_table_needs_its_columns(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"labels\.csv, line 1: the columns image and label are needed, got file, class"
    ):
        image_labels(write_table(tmp_path, [], "file,class"), "table")


@pytest.mark.parametrize("heading", [[], ["imgpath"]])
@pytest.mark.parametrize("before", ["", "data/CC-CCII/", "D:\\CC-CCII\\"])
def test_slices_of_covid_without_lesions_are_not_taken(before: str, heading: list[str], tmp_path: Path) -> None:
    listed = ["NCP/3/100/0001.jpg", "NCP/4/100/0000.png", "CP/4/100/0002.jpg", "NCP/999/1/0000.png"]
    lines = [before + (name.replace("/", "\\") if "\\" in before else name) for name in listed]
    (write_consortium(tmp_path) / "lesions_slices.csv").write_text("\n".join([*heading, *lines]))
    found = image_labels(tmp_path)
    assert [case["case"] for case in found if case["label"] == 1] == ["NCP/3/100/0001", "NCP/4/100/0000"]
    assert [case["patient"] for case in found if case["label"] == 0] == ["1"] * 3 + ["2"] * 3
    assert all(case["image"].is_file() and case["intensity"] == "8bit" for case in found)
    assert {case["picture_axes"] for case in found} == {"PL"} and {case["source"] for case in found} == {"cc_ccii"}


def test_without_a_list_every_slice_of_covid_counts_and_a_warning_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        found = image_labels(write_consortium(tmp_path), "cc_ccii")
    assert [case["label"] for case in found] == [0] * 6 + [1] * 6
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == 1 and "no lesions_slices.csv: all 6 slices of NCP count as slices with lesions" in warned[0]
    assert sum("CP (common pneumonia)" in record.getMessage() for record in caplog.records) == 1


def test_a_list_of_another_download_is_refused(tmp_path: Path) -> None:
    (write_consortium(tmp_path) / "lesions_slices.csv").write_text("imgpath\nNCP/77/1/0000.png\n")
    with pytest.raises(ValueError, match=r"lesions_slices\.csv: .*got none of the 6 in .*such as NCP/3/100/0000\.png"):
        image_labels(tmp_path)


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
        ({"training_slices": (0, 870)}, r"training_slices is two numbers, .* each 1 or more, .*; got \(0, 870\)"),
        ({"training_slices": [2007]}, r"training_slices is two numbers, .*; got \[2007\]"),
        ({"training_slices": [1, "all"]}, r"training_slices is two numbers, .*; got \[1, 'all'\]"),
        ({"normal_gap": 9}, "got 14 slices and no normal slices. Add patients"),
        ({"smallest_lesion": 5}, "got 35 slices and no slices with lesions. Add patients"),
    ],
)
def test_sets_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        image_label_sets(volumes(), masks, **settings)


def drawn(numbers: tuple[int | None, int | None] | None, seed: int = 0, **settings: Any) -> dict[str, list[Any]]:
    """Patient, slice and label of what is chosen of ten volumes with 30 normal slices and 20 with lesions each."""
    sets = image_label_sets(volumes(content="1" * 30 + "3" * 20), masks, seed=seed, training_slices=numbers, **settings)
    return {name: [(item["patient"], item["slice"], item["label"]) for item in items] for name, items in sets.items()}


def test_as_many_slices_are_drawn_to_train_on_as_are_asked_for_and_the_others_stay(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        few = drawn((72, 10))
    assert "Drawn to train on: 72 of 210 normal slices, 10 of 140 with lesions." in caplog.messages
    everything, more = drawn(None), drawn((90, None))
    labels = [label for _, _, label in few["training"]]
    assert (labels.count(0), labels.count(1)) == (72, 10)
    assert set(few["training"]) < set(more["training"]) < set(everything["training"]) and len(more["training"]) == 230
    for name in ("validation", "test"):
        assert few[name] == more[name] == everything[name]
    assert drawn((1000, 1000)) == everything, "no more than there are"


def test_the_draw_is_the_seeds_and_every_patient_gives_its_part() -> None:
    for label, number, part in ((0, 72, {10, 11}), (1, 10, {1, 2})):  # of seven patients
        slices = [(patient, index) for patient, index, each in drawn((72, 10))["training"] if each == label]
        assert len(slices) == number
        assert set(Counter(patient for patient, _ in slices).values()) == part
    assert drawn((72, 10)) == drawn((72, 10))
    assert drawn((72, 10))["training"] != drawn((72, 10), seed=1)["training"]


def test_slices_in_doubt_are_not_drawn() -> None:
    assert not {index for _, index, _ in drawn((1000, 1000), normal_gap=5)["training"]} & set(range(25, 30))


def test_pictures_without_lung_are_left_out_of_all_sets_and_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cases = pictures(tmp_path, {f"p{number}": [0, 1, 0] for number in range(10)})
    bare = cases[2::3]
    for number, case in enumerate(bare):
        picture(case["image"], number, lungs=False)
    with caplog.at_level(logging.INFO):
        sets = image_label_sets(cases, masks)
    assert [len(items) for items in sets.values()] == [14, 2, 4]
    assert {item["case"] for items in sets.values() for item in items} == {
        case["case"] for case in cases if case not in bare
    }
    named = ", ".join(str(case["image"]) for case in bare[:5])
    assert [each for each in caplog.messages if "no lung" in each] == [
        f"10 of 30 pictures hold no lung and are left out: {named}, ..."
    ]
    with pytest.raises(
        ValueError, match=r"Pictures with lung are needed, got 10 without \(.*p0_2\.png, .*, \.\.\.\)\. Give"
    ):
        image_label_sets(bare, masks)


def test_a_lung_mask_that_is_given_decides_whether_a_picture_holds_lung(tmp_path: Path) -> None:
    cases = pictures(tmp_path, {f"p{number}": [0, 1] for number in range(10)})
    full, empty = (tmp_path / name for name in ("full.png", "empty.png"))
    for path, value in ((full, 255), (empty, 0)):
        Image.fromarray(np.full((24, 24), value, dtype=np.uint8)).save(path)
    picture(cases[0]["image"], lungs=False)
    cases[0]["lung"], cases[1]["lung"] = full, empty
    taken = {item["case"] for items in image_label_sets(cases, masks).values() for item in items}
    assert taken == {case["case"] for case in cases} - {cases[1]["case"]}


def test_lung_is_looked_for_in_no_more_pictures_than_a_draw_takes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cases = pictures(tmp_path, {f"p{number}": [0, 1] * 5 for number in range(10)})
    for number, case in enumerate(cases[::5]):
        picture(case["image"], number, lungs=False)
    with caplog.at_level(logging.INFO):
        sets = image_label_sets(cases, masks, training_slices=(8, 4))
    assert [item["label"] for item in sets["training"]].count(0) == 8 and len(sets["training"]) == 12
    (message,) = [each for each in caplog.messages if "no lung" in each]
    bare, looked = map(int, re.findall(r"\d+", message)[:2])
    assert looked == 12 + 30 + bare - 6, "what was drawn, 10 and 20 to validate and test with 2 and 4 without, no more"


def test_pictures_that_cannot_be_read_are_named_before_training(tmp_path: Path) -> None:
    cases = pictures(tmp_path, {f"p{number}": [0, 1] for number in range(10)})
    for number in (3, 8):
        cases[number]["image"].write_bytes(b"no picture %d" % number)
    with pytest.raises(ValueError, match=r"2 of 20 pictures cannot be used: .*\.png: cannot be read: .*\.png: cannot"):
        image_label_sets(cases, masks)


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
    cases = image_labels(root, source)
    sets = image_label_sets(cases, MASKS, shares=(3, 1, 1), training_slices=(3, 4))
    assert sorted(item["label"] for item in sets["training"]) == [0, 0, 0, 1, 1, 1, 1]
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

    monkeypatch.setattr("common.datasets.ct.phantom_dir", made)
    found = image_labels("phantom", "phantom")
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


def cut_phantoms(root: Path, output_dir: Path, *words: str) -> list[dict[str, str]]:
    """Rows of the table after cutting volumes with masks of lung and lesions."""
    given = ["--dataset_dir", "rp_im", "--lung_masks", "rp_lung_msk", "--lesion_masks", "rp_msk"]
    main(
        [str(root / word) if word.startswith("rp_") else word for word in given]
        + ["--output_dir", str(output_dir), *words]
    )
    with (output_dir / "labels.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_cut_slices_are_upright_windowed_and_chosen_by_their_lesions(tmp_path: Path) -> None:
    root, out = write_radiopaedia(tmp_path / "data", patients=2, size=(64, 48), slices=12), tmp_path / "mix"
    volumes = {  # (Z, Y, X): rows run to posterior, columns to the left
        (number, name): np.asarray(nibabel.as_closest_canonical(nibabel.load(path)).dataobj)[::-1, ::-1].T
        for name in ("im", "msk", "lung_msk")
        for number, path in enumerate(sorted((root / f"rp_{name}").iterdir()), start=1)
    }
    window = ("--window", "-1000", "200")
    cut_phantoms(root, out, "--label", "1", "--source", "north", *window)
    for _ in range(2):  # the second time changes nothing
        rows = cut_phantoms(root, out, "--label", "0", "--source", "south", "--gap", "1", *window)
    expected = []
    for number in (1, 2):
        ill, lung = (volumes[number, name].reshape(12, -1) > 0 for name in ("msk", "lung_msk"))
        for index in np.flatnonzero(lung.mean(1) >= 0.02):
            if ill[index].any():
                expected.append(("north", "1", f"north/{number}", f"{number}_{index:03d}"))
            elif not ill[max(0, index - 1) : index + 2].any():
                expected.append(("south", "0", f"south/{number}", f"{number}_{index:03d}"))
    found = [(row["source"], row["label"], row["patient"], Path(row["image"]).stem) for row in rows]
    assert found == sorted(expected) and {label for _, label, _, _ in found} == {"0", "1"}
    for row in rows:
        number, index = map(int, Path(row["image"]).stem.split("_"))
        grey = (np.clip(volumes[number, "im"][index], -1000.0, 200.0) + 1000) / 1200 * 255
        np.testing.assert_allclose(np.asarray(Image.open(out / row["image"])), grey, atol=0.51)
        lung = volumes[number, "lung_msk"][index] > 0
        np.testing.assert_array_equal(np.asarray(Image.open(out / row["lung"])), 255 * lung)
    assert len(image_labels(out, "table")) == len(rows)


def test_pictures_that_lie_otherwise_are_turned_and_keep_their_grey(tmp_path: Path) -> None:
    root = write_medseg_pictures(tmp_path / "data", slices=3, size=(64, 64))
    words = ["--picture_axes", "LP", "--label", "1", "--source", "s", "--patients", "unknown"]
    main(["--dataset_dir", str(root / "Imgs"), "--output_dir", str(tmp_path / "mix"), *words])
    found = image_labels(tmp_path / "mix", "table")
    assert len(found) == 3 and {case["patient"] for case in found} == {None}
    for case, path in zip(found, sorted((root / "Imgs").iterdir()), strict=True):
        with Image.open(path) as before, Image.open(case["image"]) as after:
            np.testing.assert_array_equal(np.asarray(after), np.asarray(before.convert("L")).T)


def test_what_cannot_be_cut_is_refused(tmp_path: Path) -> None:
    root = write_radiopaedia(tmp_path / "data", patients=2, size=(64, 64), slices=4)
    with pytest.raises(ValueError, match=r"the window from low to high; got 0, 0, 'scan', \(150\.0, -1350\.0\)"):
        cut_phantoms(root, tmp_path, "--label", "0", "--source", "s", "--window", "150", "-1350")
    (root / "rp_msk" / "2.nii.gz").unlink()
    with pytest.raises(ValueError, match=r"Each scan needs its mask in .*rp_msk, 1 have none: 2\."):
        cut_phantoms(root, tmp_path, "--label", "0", "--source", "s")
    write_table(tmp_path, [])
    with pytest.raises(ValueError, match=r"labels\.csv: the columns are image,label,patient,lung,source, got image,"):
        cut_phantoms(root, tmp_path, "--label", "0", "--source", "s", "--include", "1")
