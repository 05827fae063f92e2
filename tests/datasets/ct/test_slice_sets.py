"""Sources of infection masks, and the slices to train, validate and test on (Maganaris et al., table 1)."""

from __future__ import annotations

import csv
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from monai.transforms import Compose, Orientationd

from common.datasets.ct import infection
from common.datasets.ct.patients_record import record_sets, warn_of_shared_patients
from common.datasets.ct.slice_sets import slice_sets
from common.phantoms.ct.layouts import write_coronacases, write_mosmed, write_radiopaedia
from common.transforms.ct import LoadScand
from common.transforms.masks import LesionMaskd, LungMaskd

MASKS = Compose(
    [
        LoadScand(keys=["image", "label", "lung"]),
        Orientationd(keys=["image", "label", "lung"], axcodes="LPS", labels=None, allow_missing_keys=True),
        LesionMaskd(keys="label"),
        LungMaskd(keys="lung"),
    ]
)


def cases(volumes: int, with_infection: int, without: int, empty: int = 3) -> list[dict[str, Any]]:
    """Volumes whose first slices hold infection, the next lung alone, the last nothing."""
    slices = [2] * with_infection + [1] * without + [0] * empty
    return [
        {"image": f"{number}.nii.gz", "case": f"{number}", "patient": f"{number}", "source": "made", "slices": slices}
        for number in range(volumes)
    ]


def masks(case: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    content = torch.tensor(case["slices"])[None, None, None]  # (1, 1, 1, Z)
    return {"lung": content > 0, "label": content > 1}


def names(members: list[dict[str, Any]]) -> set[tuple[str, int]]:
    return {(case["patient"], case["slice"]) for case in members}


def test_patients_lie_on_one_side_and_half_of_the_slices_hold_infection() -> None:
    sets = slice_sets(cases(10, with_infection=60, without=50), masks, training=440, validation=60)
    patients = {name: {case["patient"] for case in members} for name, members in sets.items()}
    assert [len(patients[name]) for name in ("training", "validation", "test")] == [6, 2, 2]
    assert len(set.union(*patients.values())) == 10
    assert [len(members) for members in sets.values()] == [440, 60, 220], "the test is all slices with lung"
    assert sum(case["infected"] for case in sets["training"]) == 220
    assert sum(case["infected"] for case in sets["validation"]) == 30
    assert all(case["slice"] < 110 for members in sets.values() for case in members), "slices without lung are left out"


def test_the_papers_split_has_the_papers_numbers() -> None:
    """CT 1-9: 713 slices with lung, 373 with infection, table 1: 440, 60, and 213 to test (printed 214)."""
    last = {**cases(1, 373 - 8 * 41, 340 - 8 * 37)[0], "patient": "8", "image": "8.nii.gz"}
    volumes = [*cases(8, 41, 37), last]
    sets = slice_sets(volumes, masks, kind="paper")
    assert [len(sets[name]) for name in ("training", "validation", "test")] == [440, 60, 213]
    assert [sum(case["infected"] for case in sets[name]) for name in sets] == [220, 30, 123]
    assert len(set.union(*map(names, sets.values()))) == 713, "no slice twice"
    assert {case["patient"] for case in sets["training"]} & {case["patient"] for case in sets["test"]}, "it leaks"


def test_fewer_training_slices_are_a_subset_of_more_with_the_same_test_set() -> None:
    few, more = (slice_sets(cases(10, 60, 50), masks, training=count) for count in (50, 200))
    assert names(few["training"]) < names(more["training"]) and len(few["training"]) == 50
    assert names(few["test"]) == names(more["test"]) and names(few["validation"]) == names(more["validation"])


def test_every_patient_is_tested_once_over_the_folds() -> None:
    tested = [{case["patient"] for case in slice_sets(cases(10, 4, 4), masks, fold=fold)["test"]} for fold in range(5)]
    assert sorted(patient for each in tested for patient in each) == sorted(str(number) for number in range(10))


def test_slices_of_one_kind_replace_missing_slices_of_the_other() -> None:
    sets = slice_sets(cases(5, with_infection=20, without=2), masks, training=40, validation=10)
    assert len(sets["training"]) == 40
    assert sum(not case["infected"] for case in sets["training"]) == 6


def test_too_few_slices_are_split_in_the_papers_proportions() -> None:
    sets = slice_sets(cases(3, with_infection=40, without=20), masks, kind="paper")
    assert [len(sets[name]) for name in sets] == [120 * 440 // 714 + 60 * 440 // 714, 10 + 5, 180 - 109 - 15]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "slice"}, "Unknown split 'slice'"),
        ({"training": 0}, "are 1 or more, got 0 and 60"),
        ({"folds": 2}, "Folds are 3 or more"),
        ({"folds": 11}, "Got 10 patients, 11 folds"),
        ({"fold": 5}, "fold 5"),
    ],
)
def test_impossible_splits_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        slice_sets(cases(10, 4, 4), masks, **settings)


def test_no_slice_with_lung_is_an_error() -> None:
    with pytest.raises(ValueError, match="Slices with lung are needed, got none in 5 volumes"):
        slice_sets(cases(5, 0, 0), masks)


def test_split_all_takes_every_slice_with_lung_of_a_target_and_is_refused_elsewhere() -> None:
    sets = slice_sets(cases(2, 4, 4), masks, kind="all", all_may_be_test=True)
    assert {name: len(members) for name, members in sets.items()} == {"training": 0, "validation": 0, "test": 16}
    with pytest.raises(ValueError, match=r"--split all .* not for a training or the source itself\. Evaluate with an"):
        slice_sets(cases(2, 4, 4), masks, kind="all")


def test_numbers_of_slices_are_those_of_table_1(tmp_path: Path) -> None:
    """Five volumes of 7 + 5 slices with lung and 3 without; in one of them infection is marked where no lung is."""
    volumes = cases(5, with_infection=7, without=5)
    volumes[0] = {**volumes[0], "slices": [2] * 7 + [1] * 5 + [-2, 0, 0]}

    def marked(case: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        content = torch.tensor(case["slices"])[None, None, None]
        return {"lung": content > 0, "label": content.abs() > 1}

    slice_sets(volumes, marked, training=20, validation=6, numbers=tmp_path / "slices.csv")
    with (tmp_path / "slices.csv").open(newline="") as file:
        found = {row.pop("row"): {key: int(value) for key, value in row.items()} for row in csv.DictReader(file)}
    columns = ("volumes", "patients", "slices", "with_lung", "with_infection")
    assert found == {
        "all": dict(zip(columns, (5, 5, 75, 60, 36), strict=True)),
        "training": dict(zip(columns, (3, 3, 20, 20, 10), strict=True)),
        "validation": dict(zip(columns, (1, 1, 6, 6, 3), strict=True)),
        "test": dict(zip(columns, (1, 1, 12, 12, 7), strict=True)),
    }


def test_coronacases_are_read_and_grey_levels_refused_by_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_coronacases(tmp_path / "data", patients=3, size=(64, 64), slices=4)
    for folder in ("COVID-19-CT-Seg_20cases", "Infection_Mask", "Lung_Mask"):
        shutil.copy(root / folder / "coronacases_001.nii.gz", root / folder / "radiopaedia_4_85506_1.nii.gz")
    with caplog.at_level(logging.WARNING):
        found = infection(root, "coronacases")
    assert [case["case"] for case in found] == [f"coronacases_00{number}" for number in (1, 2, 3)]
    assert "0..255" in caplog.text and "radiopaedia_4_85506_1" in caplog.text
    item = MASKS(found[1])
    assert set(torch.unique(item["lung"]).tolist()) == {0, 1}, "right and left lung are one"
    assert item["lung_from"] == "given"
    (root / "Lung_Mask" / "coronacases_002.nii.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"coronacases_002.nii.gz has no mask in Lung_Mask/"):
        infection(root, "coronacases")


def test_mosmed_gives_the_studies_with_masks_and_their_lungs_are_found(tmp_path: Path) -> None:
    root = write_mosmed(tmp_path / "data", patients=3, size=(128, 128), slices=6)
    found = infection(root, "mosmed")
    assert [case["case"] for case in found] == ["study_0255", "study_0256"]
    assert all(case["severity"].startswith("CT-") and case["source"] == "mosmed" for case in found)
    item = MASKS(found[0])
    assert item["lung_from"] == "threshold" and item["lung"].any()
    (root / "masks" / "study_0999_mask.nii.gz").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"study_0999_mask.nii.gz has no study_0999.nii.gz"):
        infection(root, "mosmed")


@pytest.mark.parametrize(
    ("root", "source", "message"),
    [
        ("phantom", "ct", "Unknown source 'ct'. Choose one of radiopaedia, coronacases, mosmed, phantom"),
        ("phantom", "mosmed", "The source mosmed is read from a folder"),
        ("/data", "phantom", "The source phantom needs no folder, got /data"),
    ],
)
def test_sources_that_do_not_fit_their_folder_are_refused(root: str, source: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        infection(root, source)


def test_bad_cases_are_all_named(tmp_path: Path) -> None:
    root = write_radiopaedia(tmp_path / "data", patients=5, size=(64, 64), slices=4)
    lung = nibabel.load(root / "rp_lung_msk" / "1.nii.gz")
    values = np.asarray(lung.dataobj)
    nibabel.save(nibabel.Nifti1Image(values[:, :, :3], lung.affine), root / "rp_msk" / "1.nii.gz")
    nibabel.save(nibabel.Nifti1Image(values * 0, nibabel.load(root / "rp_im" / "2.nii.gz").affine),
                 root / "rp_lung_msk" / "2.nii.gz")  # fmt: skip
    nibabel.save(nibabel.Nifti1Image(values * 7, lung.affine), root / "rp_msk" / "3.nii.gz")
    with pytest.raises(ValueError, match="3 of 5 cases cannot be used") as error:
        slice_sets(infection(root, "radiopaedia"), MASKS)
    for part in ("1.nii.gz: the lung mask", "2: a lung mask must be positive", "3.nii.gz: a lesion mask must hold"):
        assert part in str(error.value), part


def test_the_same_scan_under_another_name_is_the_same_patient(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_radiopaedia(tmp_path / "data", patients=5, size=(64, 64), slices=4)
    volumes = infection(root, "radiopaedia")
    sets = slice_sets(volumes, MASKS, training=6, validation=2)
    record_sets(sets, tmp_path / "models")
    with (tmp_path / "models" / "patients.csv").open() as file:
        assert {row["set"] for row in csv.DictReader(file)} == {"training", "validation"}
    weights = tmp_path / "models" / "model.pt"
    assert warn_of_shared_patients(sets["test"], weights) == []

    seen = sets["training"][0]
    copy = tmp_path / "coronacases_007.nii.gz"
    shutil.copy(seen["image"], copy)
    other = {**sets["test"][0], "image": copy, "patient": "coronacases_007", "source": "coronacases"}
    with caplog.at_level(logging.WARNING):
        shared = warn_of_shared_patients([other, *sets["test"]], weights)
    assert shared == [f"coronacases/coronacases_007 (there radiopaedia/{seen['patient']})"]
    assert "have seen 1 patients" in caplog.text and "coronacases_007" in caplog.text

    record_sets({**sets, "training": [other]}, tmp_path / "retrained", start=weights)
    again = warn_of_shared_patients([seen], tmp_path / "retrained" / "model.pt")
    assert again, "what the first training saw is remembered"
