"""Folders of scans are listed as cases; one bad file affects no other."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from ct_files import write_dicom, write_series
from PIL import Image

from common.datasets.ct.folder import inference_cases


def test_missing_and_empty_folders_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"No such folder: .*--dataset_dir"):
        inference_cases(tmp_path / "nothing")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(FileNotFoundError, match=r"No scan in .*: 1 files, 0 of them scans"):
        inference_cases(tmp_path)


def test_a_mixed_folder_is_listed_case_by_case(tmp_path: Path, hu: np.ndarray) -> None:
    nibabel.save(nibabel.Nifti1Image(hu, np.eye(4)), tmp_path / "a.nii.gz")
    nibabel.save(nibabel.Nifti1Image(hu, np.eye(4)), tmp_path / "a_mask.nii.gz")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    write_series(tmp_path / "patient" / "scan", hu)
    write_dicom(tmp_path / "single.dcm", hu[0], series="1.2.9", z=0, instance=1)
    write_dicom(tmp_path / "other", hu[0], series="1.2.10", z=0, instance=1)  # PACS exports often have no suffix
    write_dicom(tmp_path / "patient" / "plan.dcm", hu[0], series="1.2.8", z=0, instance=1, modality="RTSTRUCT")
    (tmp_path / "notes.txt").write_text("")
    cases = inference_cases(tmp_path, exclude="*mask*")
    assert [case["case"] for case in cases] == sorted(["a", "a_png", "patient/scan", "single", "other"])
    assert {case["case"]: case["intensity"] for case in cases}["a_png"] == "8bit"
    assert {case["case"]: len(case["image"]) for case in cases}["patient/scan"] == 4


def test_two_series_in_one_folder_are_named_and_refused(tmp_path: Path, hu: np.ndarray) -> None:
    write_series(tmp_path / "both", hu, series="1.2.5")
    for index, pixels in enumerate(hu[:2]):
        write_dicom(tmp_path / "both" / f"b{index}.dcm", pixels, series="1.2.6", z=2.5 * index, instance=index)
    (case,) = inference_cases(tmp_path)
    assert case["case"] == "both"
    assert "must hold one series, got 2: 4 slices 'chest' (1.2.5); 2 slices 'chest' (1.2.6)" in case["error"]


def test_an_unreadable_dicom_file_affects_no_other(tmp_path: Path, hu: np.ndarray) -> None:
    write_dicom(tmp_path / "good.dcm", hu[0], series="1.2.9", z=0, instance=1)
    (tmp_path / "bad.dcm").write_text("no DICOM")
    cases = {case["case"].rsplit("/")[-1]: case for case in inference_cases(tmp_path)}
    assert "error" not in cases["good"]
    assert "bad.dcm: cannot be read" in cases["bad"]["error"]
