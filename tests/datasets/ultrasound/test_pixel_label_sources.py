"""Images with a class for each pixel are read in their layouts and split as a recipe says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.transforms import Compose
from ultrasound_classes import DENSE, MERGE, SPARSE, VALUES
from ultrasound_files import save_image

from common.datasets.frames import FrameDataset
from common.datasets.ultrasound import pixel_labels
from common.datasets.ultrasound.augmented_split import sixfold, split_augmented
from common.transforms.ultrasound import LabelClassesd, LoadFramed


@pytest.fixture
def semantic_lung(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Four patients, A to D, with 38 tiny images each, as in the paper."""
    for patient in "ABCD":
        for view in range(38):
            name = f"{patient}_{view:02d}.png"
            save_image(tmp_path / "images" / name, rng.integers(0, 256, (6, 8)))
            save_image(tmp_path / "labels" / name, rng.integers(1, 8, (6, 8)))
    return tmp_path


def originals(cases: list[dict[str, Any]]) -> set[str]:
    return {str(case["image"]) for case in cases}


def test_152_images_become_912_in_three_sets_of_304(semantic_lung: Path) -> None:
    cases = pixel_labels(semantic_lung)
    copies = sixfold(cases)
    assert (len(cases), len(copies)) == (152, 912)
    assert len({case["case"] for case in copies}) == 912
    assert Counter((case["flip"], case["gain"]) for case in copies) == {
        (flip, gain): 152 for flip in (False, True) for gain in (0.8, 1.0, 1.1)
    }
    folds = [split_augmented(cases, "paper", fold=fold)["validation"] for fold in range(3)]
    assert [len(fold) for fold in folds] == [304, 304, 304]
    assert {case["case"] for fold in folds for case in fold} == {case["case"] for case in copies}


@pytest.mark.parametrize("fold", [0, 1, 2])
def test_only_the_papers_split_has_patients_on_both_sides(semantic_lung: Path, fold: int) -> None:
    cases = pixel_labels(semantic_lung)
    sides = split_augmented(cases, "patient", fold=fold)
    patients = [{case["patient"] for case in sides[side]} for side in ("training", "validation")]
    assert not patients[0] & patients[1] and patients[0] | patients[1] == set("ABCD")
    assert len(sides["training"]) == 6 * 38 * len(patients[0]), "six copies to learn from"
    assert len(sides["validation"]) == 38 * len(patients[1]), "scored as they are"

    sides = split_augmented(cases, "image", fold=fold)
    assert not originals(sides["training"]) & originals(sides["validation"])

    sides = split_augmented(cases, "paper", fold=fold)
    leaked = originals(sides["training"]) & originals(sides["validation"])
    # A held-out copy has no copy among the other two thirds with probability (1/3)^5: almost every image leaks
    assert len(leaked) > 0.95 * len(originals(sides["validation"]))
    assert {case["patient"] for case in sides["training"]} & {case["patient"] for case in sides["validation"]} == set(
        "ABCD"
    )


def test_an_image_without_label_and_a_name_without_patient_are_named(tmp_path: Path) -> None:
    save_image(tmp_path / "images" / "A_1.png", np.zeros((2, 2)))
    save_image(tmp_path / "labels" / "B_1.png", np.ones((2, 2)))
    with pytest.raises(FileNotFoundError, match=r"A_1\.png has no mask in labels/; .*B_1\.png has no image in images/"):
        pixel_labels(tmp_path)
    save_image(tmp_path / "two" / "images" / "one.png", np.zeros((2, 2)))
    save_image(tmp_path / "two" / "labels" / "one.png", np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"one\.png: a name must begin with the patient and an underscore"):
        pixel_labels(tmp_path / "two")


def test_copies_of_an_image_share_its_tensors(semantic_lung: Path) -> None:
    read: list[str] = []

    def transform(case: Any) -> Any:
        read.append(str(case["label"]))
        return Compose([LoadFramed("image"), LabelClassesd("label", DENSE, VALUES, MERGE)])(case)

    data = FrameDataset(sixfold(pixel_labels(semantic_lung)[:5]), transform)
    assert len(data) == 30 and len(read) == 5
    assert data[0]["image"].data_ptr() == data[5]["image"].data_ptr()
    assert [data[index]["gain"] for index in range(3)] == [0.8, 1.0, 1.1]


def test_real_cvat_frames_without_pleural_label_are_left_out(real_data: Callable[[str], Path]) -> None:
    cases = pixel_labels(real_data("lus_alines_cvat"))
    assert len(cases) == 17
    transform = Compose([LoadFramed("image"), LabelClassesd("label", SPARSE, VALUES, MERGE)])
    for item in FrameDataset(cases, transform):
        assert item["image"].shape == item["label"].shape == (1, 490, 154)
        rows = [torch.argwhere(item["label"][0] == SPARSE.index(name))[:, 0] for name in ("pleural line", "A-line")]
        assert rows[0].numel() and rows[0].max() < rows[1].min(), "the A-line lies below the pleural line"
