"""Images and clips with a diagnosis are read in their layouts; folds keep patients or clips together."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from monai.transforms import Compose
from ultrasound_files import save_clip, save_image

from common.datasets.frames import FrameDataset
from common.datasets.splits import split
from common.datasets.ultrasound import diagnoses, pixel_labels
from common.transforms.ultrasound import LoadFramed, NameIndexd


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
    save_image(tmp_path / "pocus_images" / "linear" / "Cov_alone.png", np.zeros((8, 8)))
    with (tmp_path / "dataset_metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["Filename", "Label", "Patient ID / Name"], *rows])
    return tmp_path


def test_file_names_of_pocus_give_the_diagnosis_and_its_table_the_patient(pocus: Path) -> None:
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


def test_all_frames_of_a_clip_are_in_one_fold_and_sampled_at_the_given_rate(pocus: Path) -> None:
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


def test_folders_may_be_named_by_class(tmp_path: Path) -> None:
    save_clip(tmp_path / "normal" / "anna" / "left.mp4")
    save_image(tmp_path / "normal" / "anna" / "right.png", np.zeros((8, 8)))
    save_clip(tmp_path / "COVID-19" / "clip.mp4")
    (tmp_path / "pneumonia").mkdir()
    with pytest.raises(FileNotFoundError, match=r"pneumonia holds no image and no clip. Add files"):
        diagnoses(tmp_path)
    (tmp_path / "pneumonia").rmdir()
    found = {case["case"]: (case["label"], case["patient"]) for case in diagnoses(tmp_path)}
    assert found == {
        "normal/anna/left.mp4": ("normal", "normal/anna"),
        "normal/anna/right.png": ("normal", "normal/anna"),
        "COVID-19/clip.mp4": ("COVID-19", None),
    }


def test_a_manifest_is_checked_for_missing_files_labels_and_columns(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png", np.zeros((4, 4)))
    table = tmp_path / "manifest.csv"
    table.write_text("file,label,patient\na.png,covid,7\nb.png,regular,8\n")
    with pytest.raises(FileNotFoundError, match=r"names 1 files that are not there: b\.png"):
        diagnoses(tmp_path)
    table.write_text("file,label,patient\na.png,flu,7\n")
    with pytest.raises(ValueError, match=r"unknown label 'flu' of a\.png"):
        diagnoses(tmp_path)
    table.write_text("file,diagnosis\na.png,covid\n")
    with pytest.raises(ValueError, match=r"label and patient are needed, got file, diagnosis\. Add label and patient"):
        diagnoses(tmp_path)
    save_image(tmp_path / "other" / "videos" / "convex" / "Patient.png", np.zeros((4, 4)))
    with pytest.raises(ValueError, match=r"must begin with Cov, Pneu, Vir or Reg"):
        diagnoses(tmp_path / "other")


def test_a_class_with_too_few_patients_is_named(tmp_path: Path) -> None:
    for diagnosis, patients in (("normal", "abc"), ("covid", "de")):
        for patient in patients:
            save_image(tmp_path / diagnosis / patient / "1.png", np.zeros((4, 4)))
    with pytest.raises(
        ValueError, match=r"3 folds need as many patients of every class; COVID-19 has 2. Lower --folds"
    ):
        split(diagnoses(tmp_path), "patient", folds=3, stratify="label")


def test_an_unknown_layout_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    for dataset, known in ((pixel_labels, "images/<patient>_"), (diagnoses, "manifest.csv with")):
        with pytest.raises(FileNotFoundError, match=rf"none of the known layouts: .*{re.escape(known)}.*holds: scans"):
            dataset(tmp_path)


def test_real_pocus_splits_by_the_patients_of_both_manifests(tmp_path: Path, real_data: Callable[[str], Path]) -> None:
    """The two folders are one collection: a patient that is in both lies on one side."""
    for name in ("lus_pocus_ccby", "lus_pocus_nc"):
        (tmp_path / name).symlink_to(real_data(name))
    cases = diagnoses(tmp_path)
    assert Counter(case["label"] for case in cases) == {"normal": 69, "COVID-19": 29, "pneumonia": 57}
    folders: dict[str, set[str]] = {}
    for case in cases:
        folders.setdefault(case["patient"], set()).add(Path(case["case"]).parts[0])
    assert len(folders) == 105 and {len(each) for each in folders.values()} == {1}
    held_out = []
    for fold in range(3):
        sides = split(cases, "patient", fold=fold, folds=3, stratify="label")
        patients = [{case["patient"] for case in sides[side]} for side in ("training", "validation")]
        assert not patients[0] & patients[1]
        assert Counter(case["label"] for case in sides["validation"]).keys() == {"normal", "COVID-19", "pneumonia"}
        held_out += sorted(patients[1])
    assert len(held_out) == len(set(held_out)) == 105


def test_a_patient_of_two_manifests_is_one_patient(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        for patient in "123":
            save_image(tmp_path / folder / f"{patient}.png", np.zeros((4, 4)))
        rows = "".join(f"{patient}.png,regular,{patient}\n" for patient in "123")
        (tmp_path / folder / "manifest.csv").write_text(f"file,label,patient\n{rows}")
    cases = diagnoses(tmp_path)
    assert [case["case"] for case in cases] == [f"{folder}/{patient}.png" for folder in "ab" for patient in "123"]
    for fold in range(3):
        sides = split(cases, "patient", fold=fold, folds=3)
        assert len({case["patient"] for case in sides["validation"]}) == 1 and len(sides["validation"]) == 2


def test_no_folder_beside_manifests_is_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for folder in ("a", "b"):
        save_image(tmp_path / folder / "1.png", np.zeros((4, 4)))
    (tmp_path / "a" / "manifest.csv").write_text("file,label,patient\n1.png,regular,1\n")
    (tmp_path / "notes").mkdir()  # holds no image
    with pytest.raises(FileNotFoundError, match=r"b holds 1 images or clips but no manifest\.csv, which a"):
        diagnoses(tmp_path)
    (tmp_path / "manifest.csv").write_text("file,label,patient\nb/1.png,covid,2\n")
    assert [case["case"] for case in diagnoses(tmp_path)] == ["b/1.png"]
    assert "the tables in its sub-folders are not: a." in caplog.text


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1252", "utf-16"])
def test_tables_of_a_spreadsheet_program_are_read(tmp_path: Path, encoding: str) -> None:
    save_image(tmp_path / "a" / "müller.png", np.zeros((4, 4)))
    (tmp_path / "manifest.csv").write_bytes("file;label;patient\r\na\\müller.png;Regular;7\r\n".encode(encoding))
    (case,) = diagnoses(tmp_path)
    assert (case["case"], case["label"], case["patient"]) == ("a/müller.png", "normal", "7")
    save_image(tmp_path / "pocus" / "pocus_images" / "Cov_müller.png", np.zeros((4, 4)))
    table = "Filename\tPatient ID / Name\r\nCov-müller.png\tÅsa\r\n"
    (tmp_path / "pocus" / "dataset_metadata.csv").write_bytes(table.encode(encoding))
    (case,) = diagnoses(tmp_path / "pocus")
    assert case["patient"] == "Åsa"


def test_thumbnails_and_system_files_are_not_trained_on(tmp_path: Path) -> None:
    for name in ("p/a.png", "p/@eaDir/a.png/thumb.png", "p/._a.png"):
        save_image(tmp_path / "normal" / name, np.zeros((4, 4)))
    assert [case["case"] for case in diagnoses(tmp_path)] == ["normal/p/a.png"]
