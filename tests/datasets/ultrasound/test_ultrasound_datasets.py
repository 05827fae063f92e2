"""Ultrasound sources are read in their layouts; folds leak where the text's do, and nowhere else."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose
from PIL import Image

from common.datasets.frames import FrameDataset
from common.datasets.splits import split
from common.datasets.ultrasound import diagnoses, pixel_labels
from common.datasets.ultrasound.augmented_split import sixfold, split_augmented
from common.transforms.ultrasound import FlipAndGaind, LabelClassesd, LoadFramed, NameIndexd

DENSE = ["A-line", "B-line", "healthy pleural line", "unhealthy pleural line", "healthy region", "unhealthy region"]
DENSE += ["background"]
SPARSE = ["A-line", "B-line", "pleural line", "background"]
MERGE = {"healthy pleural line": "pleural line", "unhealthy pleural line": "pleural line"}
MERGE |= {"healthy region": "background", "unhealthy region": "background"}
VALUES = {name: index + 1 for index, name in enumerate(DENSE)}


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def save_clip(path: Path, frames: int = 6, rate: int = 10) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for index in range(frames):
            picture = np.full((32, 32, 3), 20 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture
def semantic_lung(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Four patients, A to D, with 38 tiny images each, as the text's data."""
    for patient in "ABCD":
        for view in range(38):
            name = f"{patient}_{view:02d}.png"
            save(tmp_path / "images" / name, rng.integers(0, 256, (6, 8)))
            save(tmp_path / "labels" / name, rng.integers(1, 8, (6, 8)))
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
def test_no_patient_is_on_both_sides_unless_the_text_is_followed(semantic_lung: Path, fold: int) -> None:
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


def test_a_copy_is_the_flipped_and_scaled_image() -> None:
    image = torch.tensor([[[0.0, 0.5, 1.0], [0.2, 0.4, 0.6]]])
    label = torch.tensor([[[0, 1, 2], [3, 4, 5]]])
    item = FlipAndGaind(["image", "label"])({"image": image, "label": label, "flip": True, "gain": 1.1})
    # 1.1 saturates at white, as an 8-bit picture does
    torch.testing.assert_close(item["image"], torch.tensor([[[1.0, 0.55, 0.0], [0.66, 0.44, 0.22]]]))
    assert item["label"].tolist() == [[[2, 1, 0], [5, 4, 3]]], "labels are flipped and not scaled"
    same = FlipAndGaind(["image"])({"image": image})
    assert torch.equal(same["image"], image)


def labels_of(tmp_path: Path, pixels: np.ndarray, names: list[str], **item: Any) -> list[list[int]]:
    path = save(tmp_path / "A_1.png", pixels)
    image = MetaTensor(torch.zeros(1, *pixels.shape))
    transform = LabelClassesd("label", names, VALUES, MERGE)
    return transform({"image": image, "label": path, **item})["label"][0].tolist()


def test_sparse_labels_are_derived_from_dense_ones(tmp_path: Path) -> None:
    pixels = np.array([[1, 2, 3, 4, 5, 6, 7]])
    assert labels_of(tmp_path, pixels, DENSE) == [[0, 1, 2, 3, 4, 5, 6]]
    assert labels_of(tmp_path, pixels, SPARSE) == [[0, 1, 2, 2, 3, 3, 3]]
    palette = Image.fromarray(pixels.astype(np.uint8)).convert("P")
    palette.save(tmp_path / "palette.png")
    item = {"image": torch.zeros(1, 1, 7), "label": tmp_path / "palette.png"}
    assert LabelClassesd("label", DENSE, VALUES, MERGE)(item)["label"][0].tolist() == [[0, 1, 2, 3, 4, 5, 6]]


def test_wrong_labels_are_refused_with_the_file_and_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"A_1\.png: labels hold 1 A-line.*7 background; got 0, 9.*label_values::back"):
        labels_of(tmp_path, np.array([[0, 1, 9]]), DENSE)
    with pytest.raises(ValueError, match=r"'pleural line' is none of .*Train with --labels sparse"):
        labels_of(tmp_path, np.array([[0, 1]]), DENSE, label_values={"background": 0, "pleural line": 1})
    with pytest.raises(ValueError, match=r"its image's shape \(2, 2\), got \(1, 2\)"):
        path = save(tmp_path / "B_1.png", np.array([[1, 2]]))
        LabelClassesd("label", DENSE, VALUES, MERGE)({"image": torch.zeros(1, 2, 2), "label": path})
    colours = save(tmp_path / "C_1.png", np.zeros((2, 2, 3)))
    with pytest.raises(ValueError, match=r"C_1\.png: a label picture holds one index a pixel, got mode RGB"):
        LabelClassesd("label", DENSE, VALUES, MERGE)({"image": torch.zeros(1, 2, 2), "label": colours})
    text = tmp_path / "D_1.png"
    text.write_text("no picture")
    with pytest.raises(ValueError, match=r"D_1\.png: cannot be read as a picture"):
        LabelClassesd("label", DENSE, VALUES, MERGE)({"image": torch.zeros(1, 2, 2), "label": text})


def test_an_image_without_label_and_a_name_without_patient_are_named(tmp_path: Path) -> None:
    save(tmp_path / "images" / "A_1.png", np.zeros((2, 2)))
    save(tmp_path / "labels" / "B_1.png", np.ones((2, 2)))
    with pytest.raises(FileNotFoundError, match=r"A_1\.png has no mask in labels/; .*B_1\.png has no image in images/"):
        pixel_labels(tmp_path)
    save(tmp_path / "two" / "images" / "one.png", np.zeros((2, 2)))
    save(tmp_path / "two" / "labels" / "one.png", np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"one\.png: a name begins with the patient and an underscore"):
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


@pytest.fixture
def pocus(tmp_path: Path) -> Path:
    """POCUS's layout: 4 patients a diagnosis, two clips each, and one file that the table does not name."""
    rows = []
    prefixes = [("Reg", "regular"), ("Pneu", "Bacterial pneumonia"), ("Vir", "Viral pneumonia"), ("Cov", "COVID-19")]
    for number, (prefix, label) in enumerate(prefixes):
        for patient in range(4):
            for clip in range(2):
                name = f"{prefix}_clinic_{patient}_{clip}"
                save_clip(tmp_path / "pocus_videos" / "convex" / f"{name}.mp4")
                rows.append([name.replace("_", "-"), label, f"{number}{patient}"])
    save(tmp_path / "pocus_images" / "linear" / "Cov_alone.png", np.zeros((8, 8)))
    with (tmp_path / "dataset_metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["Filename", "Label", "Patient ID / Name"], *rows])
    return tmp_path


def test_pocus_names_give_diagnosis_and_its_table_the_patient(pocus: Path) -> None:
    cases = diagnoses(pocus)
    assert Counter(case["label"] for case in cases) == {"normal": 8, "pneumonia": 16, "COVID-19": 9}
    alone = [case for case in cases if case["patient"] is None]
    assert [case["case"] for case in alone] == ["pocus_images/linear/Cov_alone.png"]
    with pytest.raises(ValueError, match=r"names none for 1 cases \(pocus_images/linear/Cov_alone.png.*--split paper"):
        split(cases, "patient", folds=3, stratify="label")


@pytest.mark.parametrize("fold", [0, 1, 2])
def test_folds_of_diagnoses_keep_patients_or_clips_together(pocus: Path, fold: int) -> None:
    cases = [case for case in diagnoses(pocus) if case["patient"]]
    sides = split(cases, "patient", fold=fold, folds=3, stratify="label")
    patients = [{case["patient"] for case in sides[side]} for side in ("training", "validation")]
    assert not patients[0] & patients[1]
    assert {case["label"] for case in sides["validation"]} == {"normal", "pneumonia", "COVID-19"}

    sides = split(cases, "paper", fold=fold, folds=3, stratify="label")
    clips = [{case["case"] for case in sides[side]} for side in ("training", "validation")]
    assert not clips[0] & clips[1] and len(clips[0] | clips[1]) == 32
    patients = [{case["patient"] for case in sides[side]} for side in ("training", "validation")]
    assert patients[0] & patients[1], "by clip, as the text did: a patient's clips lie on both sides"
    counts = Counter(case["label"] for case in sides["validation"])
    assert 2 <= counts["normal"] <= 3 and 5 <= counts["pneumonia"] <= 6 and 2 <= counts["COVID-19"] <= 3


def test_all_frames_of_a_clip_are_in_one_fold_and_sampled_as_told(pocus: Path) -> None:
    sides = split(diagnoses(pocus), "paper", folds=3, stratify="label")
    transform = Compose([LoadFramed("image"), NameIndexd("label", ["normal", "pneumonia", "COVID-19"])])
    frames = [
        FrameDataset([case for case in sides[side] if case["case"].endswith("mp4")], transform, frames_per_second=5)
        for side in ("training", "validation")
    ]
    clips = [{item["case"] for item in data} for data in frames]
    assert not clips[0] & clips[1]
    first = [item for item in frames[0] if item["case"] == frames[0][0]["case"]]
    assert [item["frame"] for item in first] == [0, 2, 4]
    assert [float(item["image"].mean()) for item in first] == pytest.approx([0, 40, 80], abs=3)


def test_folders_named_by_class(tmp_path: Path) -> None:
    save_clip(tmp_path / "normal" / "anna" / "left.mp4")
    save(tmp_path / "normal" / "anna" / "right.png", np.zeros((8, 8)))
    save_clip(tmp_path / "COVID-19" / "clip.mp4")
    (tmp_path / "pneumonia").mkdir()
    with pytest.raises(FileNotFoundError, match=r"pneumonia holds no picture and no clip. Fill the folder of a class"):
        diagnoses(tmp_path)
    (tmp_path / "pneumonia").rmdir()
    found = {case["case"]: (case["label"], case["patient"]) for case in diagnoses(tmp_path)}
    assert found == {
        "normal/anna/left.mp4": ("normal", "normal/anna"),
        "normal/anna/right.png": ("normal", "normal/anna"),
        "COVID-19/clip.mp4": ("COVID-19", None),
    }


def test_a_manifest_is_held_to_its_files_and_words(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.zeros((4, 4)))
    table = tmp_path / "manifest.csv"
    table.write_text("file,label,patient\na.png,covid,7\nb.png,regular,8\n")
    with pytest.raises(FileNotFoundError, match=r"names 1 files that are not there: b\.png"):
        diagnoses(tmp_path)
    table.write_text("file,label,patient\na.png,flu,7\n")
    with pytest.raises(ValueError, match=r"unknown label 'flu' of a\.png"):
        diagnoses(tmp_path)
    table.write_text("file,diagnosis\na.png,covid\n")
    with pytest.raises(ValueError, match=r"label, patient is missing, got file, diagnosis"):
        diagnoses(tmp_path)
    save(tmp_path / "other" / "videos" / "convex" / "Patient.png", np.zeros((4, 4)))
    with pytest.raises(ValueError, match=r"begins with Cov, Pneu, Vir or Reg"):
        diagnoses(tmp_path / "other")


def test_a_class_with_too_few_patients_is_named(tmp_path: Path) -> None:
    for diagnosis, patients in (("normal", "abc"), ("covid", "de")):
        for patient in patients:
            save(tmp_path / diagnosis / patient / "1.png", np.zeros((4, 4)))
    with pytest.raises(
        ValueError, match=r"3 folds need as many patients of every class; COVID-19 has 2. Lower --folds"
    ):
        split(diagnoses(tmp_path), "patient", folds=3, stratify="label")


def test_a_folder_of_no_known_layout_says_which_are_known(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    for dataset, known in ((pixel_labels, "images/<patient>_"), (diagnoses, "manifest.csv with")):
        with pytest.raises(FileNotFoundError, match=rf"none of the known layouts: .*{re.escape(known)}.*holds: scans"):
            dataset(tmp_path)


def test_real_pocus_splits_by_the_patients_of_its_manifest(real_data: Callable[[str], Path]) -> None:
    cases = diagnoses(real_data("lus_pocus_ccby"))
    assert Counter(case["label"] for case in cases) == {"normal": 32, "COVID-19": 14, "pneumonia": 6}
    held_out = []
    for fold in range(3):
        sides = split(cases, "patient", fold=fold, folds=3, stratify="label")
        patients = [{case["patient"] for case in sides[side]} for side in ("training", "validation")]
        assert not patients[0] & patients[1]
        assert Counter(case["label"] for case in sides["validation"]).keys() == {"normal", "COVID-19", "pneumonia"}
        held_out += sorted(patients[1])
    assert len(held_out) == len(set(held_out)) == 18


def test_real_cvat_frames_without_pleural_label_are_left_out(real_data: Callable[[str], Path]) -> None:
    cases = pixel_labels(real_data("lus_alines_cvat"))
    assert len(cases) == 17
    transform = Compose([LoadFramed("image"), LabelClassesd("label", SPARSE, VALUES, MERGE)])
    for item in FrameDataset(cases, transform):
        assert item["image"].shape == item["label"].shape == (1, 490, 154)
        rows = [torch.argwhere(item["label"][0] == SPARSE.index(name))[:, 0] for name in ("pleural line", "A-line")]
        assert rows[0].numel() and rows[0].max() < rows[1].min(), "the A-line lies below the pleural line"
