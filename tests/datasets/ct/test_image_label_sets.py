"""Sets of slices with image-level labels are split by patient, and only the test set has lesion masks."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from labelled_slices import picture
from monai.transforms import Compose, Orientationd, Resized, ScaleIntensityRanged
from PIL import Image

from common.datasets.ct import image_labels
from common.datasets.ct.image_label_sets import image_label_sets, scored_slices
from common.datasets.slices import SliceDataset
from common.phantoms.ct.layouts import write_coronacases, write_mosmed, write_radiopaedia
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


def test_slices_with_lung_are_labelled_by_the_mask_and_split_by_patient() -> None:
    sets = image_label_sets(volumes(), masks)
    patients = {name: {item["patient"] for item in items} for name, items in sets.items()}
    assert [len(patients[name]) for name in ("training", "validation", "test")] == [7, 1, 2]
    assert len(set.union(*patients.values())) == 10, "each patient in one set"
    for items in sets.values():
        for patient in {item["patient"] for item in items}:
            labels = {item["slice"]: item["label"] for item in items if item["patient"] == patient}
            assert labels == {0: 1, 1: 1, 2: 0, 3: 0, 4: 0, 5: 0, 6: 0}


def test_doubtful_slices_are_tested_but_not_trained_on() -> None:
    sets = image_label_sets(volumes(content="1131121110"), masks, smallest_lesion=4, normal_gap=1)
    taken = {name: {item["slice"]: item["label"] for item in items} for name, items in sets.items()}
    assert taken["training"] == taken["validation"] == {0: 0, 2: 1, 7: 0, 8: 0}
    assert taken["test"] == {0: 0, 1: 0, 2: 1, 3: 0, 4: 0, 5: 1, 6: 0, 7: 0, 8: 0}


def test_images_and_volumes_mix_and_only_volumes_have_ground_truth(tmp_path: Path) -> None:
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
        ({"shares": (7, 3)}, "Shares are three numbers"),
        ({"training_slices": (0, 870)}, r"training_slices is two numbers, .* each 1 or more, .*; got \(0, 870\)"),
        ({"training_slices": [2007]}, r"training_slices is two numbers, .*; got \[2007\]"),
        ({"training_slices": [1, "all"]}, r"training_slices is two numbers, .*; got \[1, 'all'\]"),
        ({"normal_gap": 9}, "got 14 slices and no normal slices. Add patients"),
        ({"smallest_lesion": 5}, "got 35 slices and no slices with lesions. Add patients"),
    ],
)
def test_impossible_sets_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        image_label_sets(volumes(), masks, **settings)


def drawn(numbers: tuple[int | None, int | None] | None, seed: int = 0, **settings: Any) -> dict[str, list[Any]]:
    """Patient, slice and label of what is chosen of ten volumes with 30 normal slices and 20 with lesions each."""
    sets = image_label_sets(volumes(content="1" * 30 + "3" * 20), masks, seed=seed, training_slices=numbers, **settings)
    return {name: [(item["patient"], item["slice"], item["label"]) for item in items] for name, items in sets.items()}


def test_the_requested_number_of_training_slices_is_drawn_and_other_sets_do_not_change(
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


def test_the_seed_decides_the_draw_and_every_patient_is_in_it() -> None:
    for label, number, part in ((0, 72, {10, 11}), (1, 10, {1, 2})):  # of seven patients
        slices = [(patient, index) for patient, index, each in drawn((72, 10))["training"] if each == label]
        assert len(slices) == number
        assert set(Counter(patient for patient, _ in slices).values()) == part
    assert drawn((72, 10)) == drawn((72, 10))
    assert drawn((72, 10))["training"] != drawn((72, 10), seed=1)["training"]


def test_doubtful_slices_are_not_drawn() -> None:
    assert not {index for _, index, _ in drawn((1000, 1000), normal_gap=5)["training"]} & set(range(25, 30))


def test_images_without_lung_are_left_out_of_all_sets_and_logged_once(
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
        f"10 of 30 images hold no lung and are left out: {named}, ..."
    ]
    with pytest.raises(
        ValueError, match=r"Images with lung are needed, got 10 without \(.*p0_2\.png, .*, \.\.\.\)\. Give"
    ):
        image_label_sets(bare, masks)


def test_a_given_lung_mask_decides_whether_an_image_contains_lung(tmp_path: Path) -> None:
    cases = pictures(tmp_path, {f"p{number}": [0, 1] for number in range(10)})
    full, empty = (tmp_path / name for name in ("full.png", "empty.png"))
    for path, value in ((full, 255), (empty, 0)):
        Image.fromarray(np.full((24, 24), value, dtype=np.uint8)).save(path)
    picture(cases[0]["image"], lungs=False)
    cases[0]["lung"], cases[1]["lung"] = full, empty
    taken = {item["case"] for items in image_label_sets(cases, masks).values() for item in items}
    assert taken == {case["case"] for case in cases} - {cases[1]["case"]}


def test_lung_is_searched_only_in_images_that_are_drawn(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cases = pictures(tmp_path, {f"p{number}": [0, 1] * 5 for number in range(10)})
    for number, case in enumerate(cases[::5]):
        picture(case["image"], number, lungs=False)
    with caplog.at_level(logging.INFO):
        sets = image_label_sets(cases, masks, training_slices=(8, 4))
    assert [item["label"] for item in sets["training"]].count(0) == 8 and len(sets["training"]) == 12
    (message,) = [each for each in caplog.messages if "no lung" in each]
    bare, looked = map(int, re.findall(r"\d+", message)[:2])
    assert looked == 12 + 30 + bare - 6, "what was drawn, 10 and 20 to validate and test with 2 and 4 without, no more"


def test_unreadable_images_are_named_before_training(tmp_path: Path) -> None:
    cases = pictures(tmp_path, {f"p{number}": [0, 1] for number in range(10)})
    for number in (3, 8):
        cases[number]["image"].write_bytes(b"no picture %d" % number)
    with pytest.raises(
        ValueError, match=r"2 of 20 images cannot be used:\s+.*\.png: a file of suffix .*\n.*\.png: a file of"
    ):
        image_label_sets(cases, masks)


@pytest.mark.parametrize("label", [2, -1, None, 0.5])
def test_labels_are_zero_or_one(label: Any, tmp_path: Path) -> None:
    cases = pictures(tmp_path, {"p": [0, label], "q": [0, 1], "r": [0, 1]})
    with pytest.raises(ValueError, match=rf"Labels are 0 .* 1 are not: .*a_p_1\.png has {label}\. Correct them"):
        image_label_sets(cases, masks)


def test_the_same_image_with_two_labels_is_refused_with_both_files(tmp_path: Path) -> None:
    cases = pictures(tmp_path, {name: [0, 1] for name in "pqrst"})
    cases[3]["image"].write_bytes(cases[0]["image"].read_bytes())
    with pytest.raises(ValueError, match=r"1 have two: .*a_p_0\.png has 0, .*a_q_1\.png has 1\. Remove one of each"):
        image_label_sets(cases, masks)


def test_copies_of_an_image_under_another_patient_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cases = pictures(tmp_path, {name: [0, 1, 1] for name in "pqrst"})
    for index in (0, 1):
        cases[3 + index]["image"].write_bytes(cases[index]["image"].read_bytes())
    sets = image_label_sets(cases, masks)
    taken = [item["case"] for items in sets.values() for item in items]
    assert sorted(taken) == sorted(case["case"] for case in cases if case["case"] not in ("a_q_0", "a_q_1"))
    assert "2 images are copies of others and are left out" in caplog.text


def test_images_without_patient_count_as_one_patient_each_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cases = [{**case, "patient": None} for case in pictures(tmp_path, {"p": [0, 1] * 10})]
    sets = image_label_sets(cases, masks)
    assert [len(items) for items in sets.values()] == [14, 2, 4]
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == 1 and warned[0].startswith("20 cases name no patient (a_p_0, a_p_1, a_p_2, ...)")


def test_slices_for_testing_alone_keep_their_patients_out_of_training(tmp_path: Path) -> None:
    cases = pictures(tmp_path, {f"p{number}": [0, 1] for number in range(10)})
    outlined = pictures(tmp_path, {"p3": [1], "x": [1], "y": [1]}, source="outlined")
    outlined[2]["image"].write_bytes(cases[11]["image"].read_bytes())  # a copy of a slice of p5
    outlined = [{**case, "only_tested": True, "truth": f"{case['case']}_mask.png"} for case in outlined]
    for seed in range(4):
        sets = image_label_sets([*cases, *outlined], masks, seed=seed)
        seen = {item["patient"] for name in ("training", "validation") for item in sets[name]}
        assert not seen & {"p3", "p5", "x", "y"} and len(seen) == 6  # of the other eight
        assert not any("truth" in item for name in ("training", "validation") for item in sets[name])
        tested = {item["case"]: item.get("truth") for item in sets["test"]}
        assert {name: tested[name] for name in tested if "outlined" in name} == {
            case["case"]: case["truth"] for case in outlined
        }
        assert "a_p5_1" not in tested and tested["a_p5_0"] is None, "the copy with the mask is kept"


def test_what_is_scored_has_a_mask_or_is_normal(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cases = pictures(tmp_path, {f"p{number}": [0, 1, 1] for number in range(10)})
    with pytest.raises(ValueError, match=r"none of the 6 test slices has one\. CC-CCII has them in image/ and mask/"):
        image_label_sets(cases, masks, scored=True)
    for case in cases[1::3]:
        case["truth"] = tmp_path / f"{case['case']}_mask.png"
    test = image_label_sets(cases, masks, scored=True)["test"]
    assert sorted((item["label"], "truth" in item) for item in test) == [(0, False)] * 2 + [
        *[(1, False)] * 2,
        *[(1, True)] * 2,
    ]
    caplog.clear()
    assert scored_slices(test) == [item for item in test if item["label"] == 0 or "truth" in item]
    assert caplog.messages == ["2 test slices with lesions have no mask and are not scored."]


def test_of_another_source_every_slice_is_tested(tmp_path: Path) -> None:
    cases = [*volumes(3, content="0231"), *pictures(tmp_path, {"p": [1, 1]})]
    cases[-1]["patient"] = None  # as in MedSeg's
    sets = image_label_sets(cases, masks, all_tested=True, training_slices=(1, 1))
    assert not sets["training"] and not sets["validation"]
    assert [item["label"] for item in sets["test"]] == [1, 1, 1, 1, 0] + [1, 1, 0] * 2


def test_a_warning_names_sources_that_coincide_with_labels(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    normal = pictures(tmp_path, {f"n{number}": [0, 0] for number in range(20)}, source="north")
    ill = pictures(tmp_path, {f"i{number}": [1, 1] for number in range(20)}, source="south")
    mixed = pictures(tmp_path, {f"m{number}": [0, 1] for number in range(20)}, source="south")
    caplog.set_level(logging.WARNING)
    image_label_sets(normal + ill + mixed, masks)
    assert not caplog.text
    image_label_sets(normal + ill, masks)
    assert [record.getMessage() for record in caplog.records] == [
        "All normal slices come from north, all slices with lesions from south. A network may learn to tell the "
        "sources apart instead of the disease."
    ]


@pytest.mark.parametrize("key", ["lung", "image"])
def test_a_lesion_mask_cannot_enter_training_under_another_name(key: str) -> None:
    cases = volumes()
    cases[4][key] = cases[4]["label"]
    with pytest.raises(
        ValueError, match=rf"4: a lesion mask is for testing only, got 4_mask\.nii\.gz as {key} as well"
    ):
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
        assert set(item) == {"image", "label", "case", "patient", "slice", "pixel"}
        assert torch.equal(item["image"], again["image"])
        assert item["label"] == again["label"]
        assert (item["label"], item["slice"]) == (case["label"], case["slice"])
    with pytest.raises(ValueError, match="cannot be used"):
        SliceDataset(sets["test"], Compose([LoadScand(keys=["image", "truth"])]), keys=["image", "truth"])
