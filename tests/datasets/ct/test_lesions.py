"""Public layouts are read as they are downloaded, split without leaks, and decoded once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from monai.transforms import Compose, Orientationd

from common.datasets.ct import lesions
from common.datasets.scored_set import scored_set
from common.datasets.slices import SliceDataset
from common.datasets.splits import split
from common.phantoms.ct.layouts import write_radiopaedia
from common.phantoms.ct.medseg_layouts import write_medseg, write_medseg_arrays, write_medseg_pictures
from common.transforms.ct import LoadScand, WindowCTd
from common.transforms.masks import ClassIndexd

CLASSES = ["ground-glass", "consolidation", "lung", "background"]
KEYS = ["image", "label", "lung"]


@pytest.fixture(scope="module")
def layouts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same synthetic patients in each public layout, small."""
    root = tmp_path_factory.mktemp("layouts")
    writers = {"medseg": write_medseg, "arrays": write_medseg_arrays, "pictures": write_medseg_pictures}
    for name, write in writers.items():
        write(root / name, slices=6, size=(64, 64))
    write_radiopaedia(root / "radiopaedia", patients=5, size=(64, 64), slices=4)
    return {name: root / name for name in (*writers, "radiopaedia")}


def preprocessing() -> Compose:
    return Compose(
        [
            LoadScand(KEYS),
            Orientationd(KEYS, axcodes="LPS", labels=None, allow_missing_keys=True),
            ClassIndexd("label", CLASSES),
            WindowCTd("image", (-1000, 100)),
        ]
    )


def test_layouts_are_recognised(layouts: dict[str, Path]) -> None:
    found = {name: lesions(root) for name, root in layouts.items()}
    assert {name: len(cases) for name, cases in found.items()} == {
        "medseg": 6,
        "arrays": 6,
        "pictures": 6,
        "radiopaedia": 5,
    }
    assert {case["intensity"] for case in found["pictures"]} == {"8bit"}
    assert {case["intensity"] for name in ("medseg", "arrays", "radiopaedia") for case in found[name]} == {"HU"}
    assert [case["patient"] for case in found["radiopaedia"]] == ["1", "2", "3", "4", "5"]
    assert all(case["patient"] is None for name in ("medseg", "arrays", "pictures") for case in found[name])


def test_nifti_and_arrays_give_the_same_slices(layouts: dict[str, Path]) -> None:
    nifti = SliceDataset(lesions(layouts["medseg"]), preprocessing())
    arrays = SliceDataset(lesions(layouts["arrays"]), preprocessing())
    for left, right in zip(nifti, arrays, strict=True):
        assert torch.equal(left["label"], right["label"])
        torch.testing.assert_close(left["image"], right["image"])


def lesions_cropped(label: torch.Tensor) -> torch.Tensor:
    """Class map (1, X, Y) cropped to its lesions, the same for an image and the slice that it was made from."""
    found = torch.argwhere(label[0] < 2)
    low, high = found.min(0).values, found.max(0).values + 1
    return label[0, low[0] : high[0], low[1] : high[1]].clamp(max=2)  # images do not separate lung and background


def test_images_have_the_orientation_of_the_volumes(layouts: dict[str, Path]) -> None:
    nifti = SliceDataset(lesions(layouts["medseg"]), preprocessing())
    pictures = SliceDataset(lesions(layouts["pictures"]), preprocessing())
    for volume, picture in zip(nifti, pictures, strict=True):
        assert torch.equal(lesions_cropped(volume["label"]), lesions_cropped(picture["label"]))


def test_real_images_have_the_declared_orientation(real_data: Callable[[str], Path]) -> None:
    """The spine is posterior: the brightest pixels of most chest slices lie in the posterior half."""
    root = real_data("ct_medseg_slices") / "train"
    data = SliceDataset(lesions(root), preprocessing())
    assert len(data) == 50
    posterior = 0
    for item in data:
        bone = item["image"][0] >= 100  # the upper end of the window
        posterior += bool(torch.argwhere(bone)[:, 1].double().median() > bone.shape[1] / 2) if bone.any() else 0
    assert posterior >= 35


def test_every_file_is_decoded_once(layouts: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    import common.transforms.ct

    original = common.readers.ct.read
    monkeypatch.setattr(
        common.transforms.ct,
        "read",
        lambda path, *rest, **more: reads.append(str(path)) or original(path, *rest, **more),
    )
    data = SliceDataset(lesions(layouts["medseg"]), preprocessing())
    for _ in range(2):
        assert len(list(data)) == 6
    assert len(reads) == 3 and len(set(reads)) == 3  # image, mask, lung


def test_files_are_read_in_parallel_and_slices_keep_their_order() -> None:
    threads, calls, most = torch.get_num_threads(), 0, 0
    meeting, lock = threading.Barrier(3, timeout=20), threading.Lock()

    def transform(case: dict[str, Any]) -> dict[str, torch.Tensor]:
        nonlocal calls, most
        number = int(case["image"])
        with lock:
            calls += 1
            most = max(most, calls)
        if number < 3:
            meeting.wait()  # the first three are on the way together, or this raises
        time.sleep(0.02 * (2 - number % 3))  # of three, the last is done first
        with lock:
            calls -= 1
        return {"image": torch.full((1, 2, 2, 4), float(number))}

    try:
        torch.set_num_threads(3)
        data = SliceDataset([{"image": str(number)} for number in range(9)], transform, keys=["image"])
    finally:
        torch.set_num_threads(threads)
    assert most == 3, "no more files on the way than threads"
    assert [(item["case"], item["slice"]) for item in data] == [(str(n), z) for n in range(9) for z in range(4)]
    assert all((item["image"] == int(item["case"])).all() for item in data)


def test_volumes_give_all_their_slices_in_one_orientation(layouts: dict[str, Path]) -> None:
    cases = lesions(layouts["radiopaedia"])
    stored = {nibabel.aff2axcodes(nibabel.load(case["image"]).affine) for case in cases}
    assert len(stored) == 2, "the phantoms' files lie in two orientations"
    data = SliceDataset(cases, preprocessing())
    assert len(data) == 20
    for item in data:
        bone = torch.argwhere(item["image"][0] >= 100).double()
        assert bone[:, 1].median() > 32, "the spine is posterior in every slice"


def test_no_patient_is_in_both_training_and_validation(layouts: dict[str, Path]) -> None:
    cases = lesions(layouts["radiopaedia"])
    held_out: list[str] = []
    for fold in range(5):
        sides = split(cases, "patient", fold=fold, folds=5)
        patients = {side: {case["patient"] for case in members} for side, members in sides.items()}
        assert not patients["training"] & patients["validation"]
        held_out += patients["validation"]
    assert sorted(held_out) == ["1", "2", "3", "4", "5"], "each patient is held out once"


def test_a_test_set_is_the_fold_and_the_validation_the_next_one(layouts: dict[str, Path]) -> None:
    cases = lesions(layouts["radiopaedia"])
    for fold in range(5):
        two, three = (split(cases, "auto", fold=fold, folds=5, test_set=wanted) for wanted in (False, "auto"))
        assert list(three) == ["training", "validation", "test"] and list(two) == ["training", "validation"]
        assert three["test"] == two["validation"], "what is scored stays the same"
        assert three["validation"] == split(cases, "auto", fold=(fold + 1) % 5, folds=5)["validation"]
        names = [case["case"] for members in three.values() for case in members]
        assert sorted(names) == sorted(case["case"] for case in cases)
    slices = lesions(layouts["medseg"])  # which name no patients: the published five folds stay
    assert split(slices, "auto", folds=3, test_set="auto") == split(slices, "auto", folds=3)
    assert [len(members) for members in split(slices, "auto", folds=3, test_set=True).values()] == [2, 2, 2]
    assert "test" not in split(cases, "auto", folds=2, test_set="auto")
    # A table's own sets win: test rows are the test and no further part is held out, numbered folds take turns
    named = [{**case, **({"set": "test"} if case["patient"] == "5" else {})} for case in cases]
    given = split(named, "auto", folds=3, test_set="auto")
    assert [case["patient"] for case in given["test"]] == ["5"]
    assert len({case["patient"] for case in given["training"]} | {case["patient"] for case in given["validation"]}) == 4
    numbered = [{**case, "set": int(case["patient"])} for case in cases]
    turns = split(numbered, fold=4, test_set="auto")
    assert [[case["patient"] for case in turns[name]] for name in ("validation", "test")] == [["1"], ["5"]]
    assert not split(numbered, fold=4)["test"]


def test_the_scored_set_is_the_test_and_the_log_says_what_it_has_decided(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    sides = {name: [{"case": name, "patient": name[:1]}] for name in ("training", "validation", "test")}
    scored = scored_set(sides)
    assert scored.name == "test" and scored.patients == {"test": "t"}
    assert "Scored: the test set, 1 cases of 1 patients. Neither training nor" in caplog.text
    caplog.clear()
    assert scored_set({**sides, "test": []}).name == "validation"
    assert "also chosen the best epoch, so its scores are slightly too high" in caplog.text
    caplog.clear()
    assert scored_set({"validation": [{"case": "a/003", "patient": "a", "slice": 3}]}, chosen=False).patients == {}
    assert "The last epoch was kept, so it has chosen nothing" in caplog.text


def test_split_by_slice_is_complete_and_disjoint_and_leaks_patients(layouts: dict[str, Path]) -> None:
    sides = split(lesions(layouts["radiopaedia"]), "slice", fold=0, folds=5)
    names = {side: {case["case"] for case in members} for side, members in sides.items()}
    assert len(names["training"]) == 16 and len(names["validation"]) == 4
    assert not names["training"] & names["validation"]
    assert {case["patient"] for case in sides["training"]} & {case["patient"] for case in sides["validation"]}


def test_split_is_by_slice_where_no_patients_are_named(
    layouts: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    sides = split(lesions(layouts["medseg"]), "auto", folds=3)
    assert [len(sides[side]) for side in ("training", "validation")] == [4, 2]
    assert "Split by slice: fold 0 of 3 held out" in caplog.text
    with pytest.raises(ValueError, match=r"names none for 6 cases.*--split slice"):
        split(lesions(layouts["medseg"]), "patient")


def test_split_depends_on_the_seed_alone(layouts: dict[str, Path]) -> None:
    cases = lesions(layouts["medseg"])
    assert split(cases, folds=3, seed=1) == split(cases, folds=3, seed=1)
    assert any(split(cases, folds=3, seed=1) != split(cases, folds=3, seed=seed) for seed in range(2, 6))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "volume"}, "Unknown split 'volume'"),
        ({"fold": 5, "folds": 5}, "got fold 5 of 5"),
        ({"folds": 1}, "Folds are 2 or more"),
        ({"folds": 2, "test_set": True}, "validation and test need 3 folds or more, got 2"),
        ({"test_set": "yes"}, "Unknown test_set 'yes'"),
        ({"kind": "patient", "folds": 9}, "9 folds need as many patients, got 5"),
    ],
)
def test_impossible_splits_are_refused(layouts: dict[str, Path], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split(lesions(layouts["radiopaedia"]), **settings)


def test_all_images_without_a_mask_are_named(tmp_path: Path) -> None:
    write_radiopaedia(tmp_path / "data", patients=2, size=(64, 64), slices=2)
    (tmp_path / "data" / "rp_msk" / "1.nii.gz").rename(tmp_path / "data" / "rp_msk" / "3.nii.gz")
    with pytest.raises(
        FileNotFoundError, match=r"rp_im/1\.nii\.gz has no mask in rp_msk/; .*rp_msk/3\.nii\.gz has no image"
    ):
        lesions(tmp_path / "data")


def test_unknown_layouts_list_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "scan_1.nii.gz").touch()
    with pytest.raises(
        FileNotFoundError, match=r"tr_im\.nii\.gz.*Imgs/\*\.jpg.*rp_im/N\.nii\.gz.*It holds: scan_1\.nii\.gz"
    ):
        lesions(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"No such folder: .*or 'phantom'"):
        lesions(tmp_path / "nothing")


def test_all_bad_cases_are_reported(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_radiopaedia(root, patients=5, size=(64, 64), slices=3)

    def rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
        image = nibabel.load(path)
        nibabel.save(nibabel.Nifti1Image(change(np.asarray(image.dataobj)).astype(np.int16), image.affine), path)

    (root / "rp_im" / "1.nii.gz").write_bytes((root / "rp_im" / "1.nii.gz").read_bytes()[:3000])
    rewrite(root / "rp_msk" / "2.nii.gz", lambda mask: mask[..., :2])
    rewrite(root / "rp_msk" / "3.nii.gz", lambda mask: np.full_like(mask, 7))
    rewrite(root / "rp_im" / "4.nii.gz", lambda hu: np.clip((hu + 1000) / 6, 0, 255))
    with pytest.raises(ValueError, match="4 of 5 cases cannot be used") as error:
        SliceDataset(lesions(root), preprocessing())
    for expected in (
        "1.nii.gz: cannot be read",
        "2.nii.gz: the lesion mask must have",
        "3.nii.gz: a lesion mask must hold",
    ):
        assert expected in str(error.value)
    assert "4: declared as HU" in str(error.value) and "--intensity 8bit" in str(error.value)
