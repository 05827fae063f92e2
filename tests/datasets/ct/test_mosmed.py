"""MosMedData is read as downloaded, or in a layout of one's own, and split 35/5/10 by patient."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from monai.transforms import Compose, Orientationd

from common.datasets.ct import mosmed_studies
from common.datasets.slices import SliceDataset
from common.datasets.splits import three_way_split
from common.phantoms.ct.layouts import write_mosmed
from common.transforms.ct import LoadScand
from common.transforms.masks import LesionMaskd

SETS = ["training", "validation", "test"]


def lay_out(root: Path, studies: dict[str, str], masks: list[str]) -> Path:
    """Empty files: ``studies`` are names to folders."""
    (root / "masks").mkdir(parents=True)
    for name, folder in studies.items():
        (root / "studies" / folder).mkdir(parents=True, exist_ok=True)
        (root / "studies" / folder / f"{name}.nii.gz").touch()
    for name in masks:
        (root / "masks" / f"{name}_mask.nii.gz").touch()
    return root


def cases(patients: int, each: int = 1) -> list[dict[str, Any]]:
    return [{"case": f"{p}/{scan}", "patient": f"{p:03d}"} for p in range(patients) for scan in range(each)]


def sizes(patients: int, **settings: Any) -> list[int]:
    return [len(members) for members in three_way_split(cases(patients), **settings).values()]


def test_severity_is_the_class_of_the_folder_if_it_has_one(tmp_path: Path) -> None:
    places = {"study_1": "CT-4", "study_2": "ours", "study_3": "."}
    found = mosmed_studies(lay_out(tmp_path, places, list(places)))
    assert {case["patient"]: case["severity"] for case in found} == {
        "study_1": "CT-4",
        "study_2": None,
        "study_3": None,
    }
    assert all(case["image"].is_file() and case["label"].is_file() for case in found)


@pytest.mark.parametrize(
    ("bare", "line"),
    [
        (7, "7 studies without mask are left out: study_01, study_02, study_03, study_04, study_05, ..."),
        (2, "2 studies without mask are left out: study_01, study_02"),
    ],
)
def test_studies_without_mask_are_named_in_the_log(
    bare: int, line: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    places = {f"study_{number:02d}": "CT-1" for number in range(bare + 1)}
    with caplog.at_level(logging.INFO):
        found = mosmed_studies(lay_out(tmp_path, places, ["study_00"]))
    assert [case["case"] for case in found] == ["study_00"]
    assert line in [record.getMessage() for record in caplog.records]


def test_nothing_is_logged_if_every_study_has_a_mask(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        mosmed_studies(lay_out(tmp_path, {"study_1": "."}, ["study_1"]))
    assert "without mask" not in caplog.text


def test_masks_without_study_are_all_named(tmp_path: Path) -> None:
    lay_out(tmp_path, {"study_1": "CT-1"}, ["study_1", "study_2", "study_3"])
    with pytest.raises(FileNotFoundError, match=r"2 have none: .*study_2_mask.nii.gz has no study_2.*study_3_mask"):
        mosmed_studies(tmp_path)


def test_studies_without_any_mask_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"needs masks, got 1 studies"):
        mosmed_studies(lay_out(tmp_path, {"study_1": "CT-1"}, []))


@pytest.mark.parametrize("copy", ["CT-2/study_1.nii.gz", "study_1.nii.gz", "CT-1/study_1.nii"])
def test_a_duplicate_study_is_refused_with_both_files(copy: str, tmp_path: Path) -> None:
    studies = lay_out(tmp_path, {"study_1": "CT-1", "study_2": "CT-2"}, ["study_1"]) / "studies"
    shutil.copy(studies / "CT-1" / "study_1.nii.gz", studies / copy)
    with pytest.raises(ValueError, match="Every study needs a unique name, 1 names occur twice") as error:
        mosmed_studies(tmp_path)
    assert str(studies / "CT-1" / "study_1.nii.gz") in str(error.value) and str(studies / copy) in str(error.value)


def test_a_mask_of_another_shape_is_refused_by_name(tmp_path: Path) -> None:
    root = write_mosmed(tmp_path / "data", patients=3, size=(64, 64), slices=4)
    path = root / "masks" / "study_0255_mask.nii.gz"
    mask = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(np.asarray(mask.dataobj)[..., :3], mask.affine), path)
    keys = ["image", "label"]
    preprocessing = Compose([LoadScand(keys), Orientationd(keys, axcodes="LPS", labels=None), LesionMaskd("label")])
    with pytest.raises(ValueError, match=r"1 of 2 cases cannot be used:\s+.*study_0255_mask\.nii\.gz: .*\(64, 64, 3\)"):
        SliceDataset(mosmed_studies(root), preprocessing)


def test_fifty_studies_are_split_35_5_10() -> None:
    sides = three_way_split(cases(50))
    assert list(sides) == SETS and sizes(50) == [35, 5, 10]
    everyone = [case["patient"] for members in sides.values() for case in members]
    assert sorted(everyone) == [case["patient"] for case in cases(50)], "disjoint and complete"


def test_all_cases_of_a_patient_lie_in_one_set() -> None:
    sides = three_way_split(cases(50, each=3))
    assert [len(members) for members in sides.values()] == [105, 15, 30]
    counts = [Counter(case["patient"] for case in members) for members in sides.values()]
    assert all(number == 3 for each in counts for number in each.values())


def test_the_split_depends_on_the_seed_alone() -> None:
    listed = cases(50)

    def tested(datalist: list[dict[str, Any]], seed: int) -> set[str]:
        return {case["patient"] for case in three_way_split(datalist, seed=seed)["test"]}

    assert tested(listed, 3) == tested(listed[::-1], 3)
    assert len({frozenset(tested(listed, seed)) for seed in range(5)}) == 5


def test_no_set_is_empty_and_no_patient_lost_for_any_shares(rng: np.random.Generator) -> None:
    assert [sizes(number) for number in (3, 4, 6, 19)] == [[1, 1, 1], [2, 1, 1], [4, 1, 1], [13, 2, 4]]
    for _ in range(200):
        patients, shares = int(rng.integers(3, 60)), rng.uniform(0.01, 10, 3).tolist()
        found = sizes(patients, shares=shares)
        assert min(found) >= 1 and sum(found) == patients
        exact = np.array(shares) * patients / sum(shares)
        if exact.min() >= 1:
            assert np.abs(np.array(found) - exact).max() < 1


@pytest.mark.parametrize(
    ("datalist", "shares", "message"),
    [
        (cases(2, each=4), (35, 5, 10), "need a patient each, got 2: 000, 001"),
        (cases(5), (35, 15), r"Shares are three numbers.*got \(35, 15\)"),
        (cases(5), (0, 5, 10), r"the first above 0; got \(0, 5, 10\)"),
        ([{"case": "a", "patient": None}, *cases(5)], (35, 5, 10), r"needs a patient for every case.*1 cases \(a"),
    ],
)
def test_impossible_splits_are_refused(datalist: list[dict[str, Any]], shares: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        three_way_split(datalist, shares)


def test_the_split_is_logged_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        three_way_split(cases(50, each=2))
    assert [record.getMessage() for record in caplog.records] == [
        "Split by patient: 35 training, 5 validation and 10 test patients."
    ]
