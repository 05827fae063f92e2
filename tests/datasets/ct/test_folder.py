"""A folder of scans: each file becomes a case, or is named with the reason."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from ct_files import ct_slice, save_slice, write_dicom, write_series
from PIL import Image
from pydicom.fileset import FileSet

from common.datasets import archives
from common.datasets.ct.folder import inference_cases
from common.run.record import record

HU = np.zeros((4, 8, 9), np.int16)


def volume(path: Path) -> Path:
    """A NIfTI file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(HU, np.eye(4)), path)
    return path


def listed(root: Path, **options: Any) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Cases by name, and what run.json says of the others."""
    output = root.parent / "output"
    output.mkdir(exist_ok=True)
    cases = {case["case"]: case for case in inference_cases(root, output_dir=output, **options)}
    return cases, json.loads((output / "run.json").read_text())


def test_dicom_is_found_by_content_whatever_its_name(tmp_path: Path) -> None:
    root = tmp_path / "in"
    for folder, pattern in {
        "uid": "1.2.826.0.1.{}",
        "dotted": "CT.1.2.840.{}",
        "numbered": "slice.{:03d}",
        "plain": "IM{:06d}",
        "upper": "I{}.DCM",
        "siemens": "PAT.CT.{}.2020.IMA",
    }.items():
        for index, path in enumerate(write_series(root / folder, HU, series=f"1.2.{len(folder)}.{ord(folder[0])}")):
            path.rename(path.with_name(pattern.format(index)))
    (root / "plain" / "notes.txt").write_text("no scan, and longer than a preamble of 132 bytes" * 4)
    (root / "plain" / "zeros").write_bytes(bytes(500))
    cases, run = listed(root)
    assert {name: len(case["image"]) for name, case in cases.items()} == dict.fromkeys(
        ("uid", "dotted", "numbered", "plain", "upper", "siemens"), 4
    )
    assert run["not_read"] == {"plain/notes.txt": "unknown format", "plain/zeros": "unknown format"}


def test_a_series_is_one_case_however_its_files_are_spread(tmp_path: Path) -> None:
    root = tmp_path / "in"
    for index, path in enumerate(write_series(root / "philips" / "DICOM", HU, series="1.2.1")):
        if index > 2:
            (path.parent / "00000001").mkdir()
            path.rename(path.parent / "00000001" / path.name)
    for index, path in enumerate(write_series(root / "pacs", HU, series="1.2.2", StudyInstanceUID="1.2.33")):
        (path.parent / f"{index:08X}").mkdir()
        path.rename(path.parent / f"{index:08X}" / "00000000")
    cases, _ = listed(root)
    assert {name: len(case["image"]) for name, case in cases.items()} == {"philips/DICOM": 4, "pacs": 4}


def test_a_patients_disc_is_read_without_its_index(tmp_path: Path) -> None:
    disc = FileSet()
    for index, pixels in enumerate(HU):
        disc.add(
            ct_slice(
                pixels,
                position=(0, 0, 3 * index),
                instance=index,
                PatientBirthDate="",
                PatientSex="",
                StudyDate="20200101",
                StudyTime="120000",
                StudyID="1",
                AccessionNumber="",
                SeriesNumber=2,
            )
        )
    disc.write(tmp_path / "disc")
    (tmp_path / "disc" / "AUTORUN.INF").write_text("[autorun]")
    (tmp_path / "disc" / "VIEWER.EXE").write_bytes(b"MZ" + bytes(200))
    cases, run = listed(tmp_path / "disc")
    ((_, case),) = cases.items()
    assert len(case["image"]) == 4 and "error" not in case
    assert run["not_read"] == {
        "AUTORUN.INF": "system file",
        "DICOMDIR": "DICOMDIR",
        "VIEWER.EXE": "unknown format",
    }


def study(folder: Path) -> None:
    """A scout, a thick and two thin reconstructions, a coronal one, and a dose report."""
    scout = ct_slice(np.zeros((8, 9), int), series="1.2.50", SeriesNumber=1, SeriesDescription="Topogram")
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    save_slice(scout, folder / "scout")
    for number, step, kernel, text in (
        (2, 5.0, "B30f", "thick"),
        (3, 2.0, "B30f", "thin soft"),
        (4, 2.0, "B70f", "thin lung"),
    ):
        for index in range(round(40 / step)):
            save_slice(
                ct_slice(
                    np.full((8, 9), number),
                    series=f"1.2.5{number}",
                    position=(0, 0, step * index),
                    instance=index,
                    SeriesNumber=number,
                    SeriesDescription=text,
                    ConvolutionKernel=kernel,
                ),
                folder / f"{number}_{index}",
            )
    for index in range(9):
        save_slice(
            ct_slice(
                np.zeros((8, 9), int),
                series="1.2.55",
                position=(0, 5 * index, 0),
                orientation=(1, 0, 0, 0, 0, -1),
                instance=index,
                SeriesNumber=5,
                SeriesDescription="coronal",
            ),
            folder / f"c_{index}",
        )
    report = ct_slice(np.zeros((2, 2), int), series="1.2.56", Modality="SR", PixelData=None)
    save_slice(report, folder / "dose")


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ({}, ["1.2.53"]),
        ({"kernel": "lung"}, ["1.2.54"]),
        ({"series": "2"}, ["1.2.52"]),
        ({"series": "1.2.55"}, ["1.2.55"]),
        ({"series": "*LUNG*"}, ["1.2.54"]),
        ({"series": "thin*"}, ["1.2.53", "1.2.54"]),
        ({"series": "all"}, ["1.2.52", "1.2.53", "1.2.54"]),
    ],
)
def test_the_series_of_a_study_are_chosen(tmp_path: Path, options: dict[str, str], chosen: list[str]) -> None:
    study(tmp_path / "in" / "study")
    cases, run = listed(tmp_path / "in", **options)
    assert sorted(case["series"] for case in cases.values()) == chosen
    assert run["not_read"]["study/scout"] == "scout"
    assert run["not_read"]["study/dose"] == "modality SR is not CT"
    if not options:
        reasons = {run["not_read"][f"study/{name}"] for name in ("2_0", "4_0", "c_0")}
        assert reasons == {
            "series: thicker slices (5.00 mm)",
            "series: kernel B70f, soft is preferred",
            "series: not axial",
        }
        (line,) = run["series"]
        assert line.startswith("study: series used: 'thin soft' (20 slices, 2.00 mm); left out: ")


def test_a_coronal_volume_alone_is_taken(tmp_path: Path) -> None:
    for index in range(4):
        dataset = ct_slice(HU[0], position=(0, 5 * index, 0), orientation=(1, 0, 0, 0, 0, -1), instance=index)
        save_slice(dataset, tmp_path / "in" / "patient" / f"{index}.dcm")
    cases, _ = listed(tmp_path / "in")
    assert list(cases) == ["patient"] and "error" not in cases["patient"]


def test_an_unknown_kernel_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path / "in", HU)
    with pytest.raises(ValueError, match="--kernel is soft or lung, got 'sharp'"):
        inference_cases(tmp_path / "in", kernel="sharp")


def test_gaps_and_tilt_are_recorded(tmp_path: Path) -> None:
    root = tmp_path / "in"
    write_series(root / "gap", np.zeros((6, 8, 9), int), series="1.2.1")[2].unlink()
    for index in range(4):
        cosine, sine = np.cos(np.deg2rad(15)), np.sin(np.deg2rad(15))
        dataset = ct_slice(
            HU[0],
            series="1.2.2",
            StudyInstanceUID="1.2.22",
            position=(0, 0, 5 * index),
            orientation=(1, 0, 0, 0, cosine, -sine),
            instance=index,
        )
        save_slice(dataset, root / "tilted" / f"{index}.dcm")
    cases, run = listed(root)
    assert "gap: 1 slice is missing: 5.0 mm between 001.dcm and 003.dcm" in cases["gap"]["error"]
    assert run["series"] == ["tilted: gantry tilt of 15.0 degrees."]
    cases, run = listed(root, gaps="resample")
    assert "error" not in cases["gap"] and cases["gap"]["gaps"] == "resample"
    assert run["series"][0] == "gap: missing slices are interpolated."


def test_links_are_followed_and_broken_ones_named(tmp_path: Path) -> None:
    store, root = tmp_path / "store", tmp_path / "in"
    volume(store / "p1" / "scan.nii.gz")
    paths = write_series(store / "p2", HU)
    root.mkdir()
    (root / "p1").symlink_to(store / "p1", target_is_directory=True)
    (root / "loop").symlink_to(root, target_is_directory=True)
    (root / "p2").mkdir()
    for path in paths:
        (root / "p2" / path.name).symlink_to(path)
    (root / "gone.nii.gz").symlink_to(store / "nowhere.nii.gz")
    cases, run = listed(root)
    assert sorted(cases) == ["p1/scan", "p2"] and "error" not in cases["p2"]
    assert run["not_read"] == {"gone.nii.gz": "broken link"}
    paths[-1].unlink()
    cases, _ = listed(root)
    assert cases["p2"]["error"].startswith(
        "p2: the series is incomplete: 003.dcm is a broken link. Copy the files again."
    )


def test_system_files_masks_and_outputs_are_left_out(tmp_path: Path) -> None:
    root = tmp_path / "in"
    volume(root / "scan.nii.gz")
    volume(root / "scan_mask.nii.gz")
    volume(root / "scan-seg.nii.gz")
    volume(root / "lesion.nii.gz")
    for name in ("._scan.nii.gz", ".DS_Store", "Thumbs.db", "~$scan.png"):
        (root / name).write_bytes(b"x" * 200)
    for name in ("@eaDir/scan.png", "__MACOSX/other.png"):
        (root / name).parent.mkdir()
        Image.fromarray(HU[0].astype(np.uint8)).save(root / name)
    out = root / "out"
    out.mkdir()
    record(out, "run", None, {})
    for name in ("scan_mask.nii.gz", "sub/scan_heatmap.nii.gz", "scan_normal.nii.gz"):
        volume(out / name)
    for name in ("scan_overlay.png", "slice_mask.png"):
        Image.fromarray(HU[0].astype(np.uint8)).save(out / name)
    (out / "lesions.csv").write_text("")
    volume(out / "added.nii.gz")  # a user's own file
    cases, run = listed(root)
    assert sorted(cases) == ["lesion", "out/added", "scan"]
    assert run["not_read"] == {
        **dict.fromkeys(("scan_mask.nii.gz", "scan-seg.nii.gz"), "mask beside a scan"),
        **dict.fromkeys(("._scan.nii.gz", ".DS_Store", "Thumbs.db", "~$scan.png"), "system file"),
        **dict.fromkeys(
            (
                "out/scan_mask.nii.gz",
                "out/sub/scan_heatmap.nii.gz",
                "out/scan_normal.nii.gz",
                "out/scan_overlay.png",
                "out/slice_mask.png",
                "out/lesions.csv",
                "out/run.json",
                "out/config.json",
            ),
            "output of an earlier run",
        ),
    }


def test_one_line_counts_what_is_not_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "in"
    volume(root / "scan.nii.gz")
    for name in ("a.wmv", "b.wmv", "c.gif", "nothing"):
        (root / name).write_bytes(b"x" * 200)
    with caplog.at_level("INFO"):
        listed(root)
    assert "4 files not read: 2 wmv, 1 gif, 1 without suffix. run.json names each with its reason." in caplog.text


def test_zip_files_are_read_safely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "in"
    root.mkdir()
    paths = write_series(tmp_path / "series", HU)
    outside = volume(tmp_path / "outside.nii.gz")
    with zipfile.ZipFile(root / "study.zip", "w") as archive:
        for path in paths:
            archive.write(path, f"patient/{path.name}")
        archive.write(outside, "nifti/scan.nii.gz")
        archive.write(outside, "../escaped.nii.gz")
        archive.writestr(zipfile.ZipInfo("/tmp/absolute.nii.gz"), outside.read_bytes())
        archive.write(outside, "__MACOSX/._scan.nii.gz")
        link = zipfile.ZipInfo("link.nii.gz")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, str(outside))
    (root / "broken.zip").write_bytes((root / "study.zip").read_bytes()[:500])
    with zipfile.ZipFile(root / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.nii", bytes(5_000_000))
    cases, run = listed(root)
    assert {name: len(case["image"]) for name, case in cases.items()} == {"study/patient": 4, "study/nifti/scan": 1}
    assert run["not_read"]["bomb.zip"].startswith("zip that would unpack to")
    assert run["not_read"]["broken.zip"].startswith("damaged zip")
    assert not (tmp_path / "escaped.nii.gz").exists() and not (root / "escaped.nii.gz").exists()
    assert not os.path.exists("/tmp/absolute.nii.gz")
    monkeypatch.setattr(archives, "LARGEST", 1000)
    with pytest.raises(
        FileNotFoundError, match=r"3 files not read: 2 zip that would unpack to 0\.0 GiB, 1 damaged zip"
    ):
        inference_cases(root)


def test_a_corrupt_header_loses_no_other_file(tmp_path: Path) -> None:
    root = tmp_path / "in"
    for name, series in (("good", "1.2.1"), ("bad", "1.2.2")):
        write_dicom(root / name / "one.dcm", HU[0], series=series, z=0, instance=1)
    raw = (root / "bad" / "one.dcm").read_bytes()
    place = raw.index(b"\x20\x00\x0d\x00UI")  # StudyInstanceUID with an unknown value representation
    (root / "bad" / "one.dcm").write_bytes(raw[: place + 4] + b"\xff\xfe" + raw[place + 6 :])
    cases, _ = listed(root)
    assert sorted(cases) == ["bad/one", "good/one"] and "error" not in cases["good/one"]


@pytest.mark.parametrize(("stray", "noted"), [(0, True), (5, True), (9, False)])
def test_a_slice_under_another_uid_is_noted_where_it_would_be_the_next(tmp_path: Path, stray: int, noted: bool) -> None:
    root = tmp_path / "in"
    write_series(root / "scan", np.zeros((6, 8, 9), int), series="1.2.1")
    for index, series in ((0, "1.2.1"), (5, "1.2.1"), (stray, "1.2.7")):
        pixels = np.zeros((8, 9), int)
        dataset = ct_slice(pixels, series=series, position=(-100, -80, 2.5 * index), instance=6 - index)
        save_slice(dataset, root / "scan" / f"{index:03d}.dcm")
    _, run = listed(root)
    text = f"{stray:03d}.dcm lies where the next slice would, but has another SeriesInstanceUID"
    assert any(text in line for line in run.get("series", [])) == noted


def test_a_name_too_long_for_its_outputs_is_refused_by_name(tmp_path: Path) -> None:
    volume(tmp_path / "in" / ("n" * 240 + ".nii.gz"))
    volume(tmp_path / "in" / "usual.nii.gz")
    cases, _ = listed(tmp_path / "in")
    assert "error" not in cases["usual"]
    assert "a name of 240 bytes leaves no room for the names of its outputs" in cases["n" * 240]["error"]


def test_headers_and_their_data_are_one_case(tmp_path: Path) -> None:
    root = tmp_path / "in"
    root.mkdir()
    nibabel.save(nibabel.Nifti1Pair(HU, np.eye(4)), root / "pair.img")
    head = "ObjectType = Image\nNDims = 3\nDimSize = 4 8 9\nElementType = MET_SHORT\nElementDataFile = {}\n"
    (root / "scan.mhd").write_text(head.format("scan.raw"))
    (root / "scan.raw").write_bytes(HU.tobytes())
    (root / "other.raw").write_bytes(b"x" * 300)
    cases, run = listed(root)
    assert sorted(cases) == ["pair", "scan"]
    assert run["not_read"] == {"other.raw": "unknown format"}


def test_files_of_other_modalities_are_no_cases(tmp_path: Path) -> None:
    root = tmp_path / "in"
    write_series(root / "ct", HU)
    shutil.copy(root / "ct" / "000.dcm", root / "mr.dcm")
    other = pydicom.dcmread(root / "mr.dcm")
    other.Modality, other.SeriesInstanceUID = "MR", "1.2.99"
    save_slice(other, root / "mr.dcm")
    cases, run = listed(root)
    assert list(cases) == ["ct"] and run["not_read"] == {"mr.dcm": "modality MR is not CT"}


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


def test_of_two_series_in_one_folder_the_longer_is_taken_and_the_other_named(
    tmp_path: Path, hu: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    write_series(tmp_path / "both", hu, series="1.2.5")
    for index, pixels in enumerate(hu[:2]):
        write_dicom(tmp_path / "both" / f"b{index}.dcm", pixels, series="1.2.6", z=2.5 * index, instance=index)
    with caplog.at_level("INFO"):
        (case,) = inference_cases(tmp_path)
    assert case["case"] == "both" and len(case["image"]) == 4
    assert "series used: 'chest' (4 slices, 2.50 mm); left out: 'chest' (2 slices): covers 5 of 10 mm." in caplog.text
    assert {case["case"] for case in inference_cases(tmp_path, series="all")} == {"both_1.2.5", "both_1.2.6"}


def test_an_unreadable_dicom_file_affects_no_other(tmp_path: Path, hu: np.ndarray) -> None:
    write_dicom(tmp_path / "good.dcm", hu[0], series="1.2.9", z=0, instance=1)
    (tmp_path / "bad.dcm").write_text("no DICOM")
    cases = {case["case"].rsplit("/")[-1]: case for case in inference_cases(tmp_path)}
    assert "error" not in cases["good"]
    assert "bad.dcm: cannot be read" in cases["bad"]["error"]


def test_a_number_chooses_the_case_of_that_name(tmp_path: Path) -> None:
    """The command line turns 14 into a number."""
    for name in ("14", "15", "140"):
        volume(tmp_path / "in" / f"{name}.nii.gz")
    assert listed(tmp_path / "in", include=14)[0].keys() == {"14"}
    assert listed(tmp_path / "in", include=[14, "15"], exclude=15)[0].keys() == {"14"}
