"""Folders of images, clips and DICOM are listed as cases; one bad file affects no other."""

from __future__ import annotations

import json
import logging
import zipfile
from pathlib import Path

import pydicom
import pytest
from PIL import Image
from ultrasound_files import GREY, dicom, pixels_of, ramp, save_dicom, write_clip, write_gif

from common.datasets.ultrasound.folder import inference_cases


def test_a_mixed_folder_is_listed(tmp_path: Path) -> None:
    for name in ("b/x.png", "b/x.mp4", "b/x.PNG", "a.mpeg", ".hidden.png", ".git/y.png", "notes.txt", "b/._x.mp4"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    save_dicom(dicom(GREY), tmp_path / "c" / "1.2.840.1")
    save_dicom(dicom(GREY), tmp_path / "c" / "1.2.840.2")
    save_dicom(dicom(GREY[:1]), tmp_path / "c" / "IM0001")
    save_dicom(dicom(GREY[:1], Modality="CT"), tmp_path / "ct.dcm")
    (tmp_path / "text.dcm").write_text("text")
    (tmp_path / "no_dicom").write_text("text")
    listed = inference_cases(tmp_path)
    assert [case["case"] for case in listed] == sorted(case["case"] for case in listed)
    found = {case["case"]: (case["image"].relative_to(tmp_path).as_posix(), case["kind"]) for case in listed}
    assert found == {
        "a": ("a.mpeg", "clip"),
        "b/x": ("b/x.PNG", "picture"),
        "b/x_mp4": ("b/x.mp4", "clip"),
        "b/x_png": ("b/x.png", "picture"),
        "c/1.2.840.1": ("c/1.2.840.1", "dicom"),
        "c/1.2.840.2": ("c/1.2.840.2", "dicom"),
        "c/IM0001": ("c/IM0001", "dicom"),
        "text": ("text.dcm", "dicom"),
    }
    errors = {case["case"]: case["error"] for case in listed if "error" in case}
    assert set(errors) == {"text"}
    assert errors["text"].startswith("text.dcm: cannot be read: ")


def test_case_names_are_unique(tmp_path: Path) -> None:
    for name in ("x.mp4", "x.png", "x_png.jpg", "x_png.bmp"):
        (tmp_path / name).write_bytes(b"x")
    names = [case["case"] for case in inference_cases(tmp_path)]
    assert len(set(names)) == 4


def test_cases_are_included_and_excluded_by_pattern_or_given_as_one_file(tmp_path: Path) -> None:
    for name in ("convex/a.mp4", "convex/b.png", "linear/a.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    names = lambda **options: [case["case"] for case in inference_cases(tmp_path, **options)]  # noqa: E731
    assert names(include="convex/*") == ["convex/a", "convex/b"]
    assert names(exclude="*/b,linear/*") == ["convex/a"]
    assert names(include=["*/b", "linear/*"]) == ["convex/b", "linear/a"]
    (case,) = inference_cases(tmp_path / "convex" / "a.mp4")
    assert case == {"case": "a", "image": tmp_path / "convex" / "a.mp4", "kind": "clip"}
    with pytest.raises(FileNotFoundError, match=r"3 files, 3 of them images or clips, none left by include='z'.*\.mp4"):
        inference_cases(tmp_path, include="z")
    with pytest.raises(FileNotFoundError, match="No such folder"):
        inference_cases(tmp_path / "none")


def test_a_dicomdir_file_is_not_listed(tmp_path: Path) -> None:
    save_dicom(dicom(GREY), tmp_path / "IM1")
    listing = dicom(GREY)
    del listing.PixelData, listing.Modality
    listing.SOPClassUID = listing.file_meta.MediaStorageSOPClassUID = pydicom.uid.MediaStorageDirectoryStorage
    save_dicom(listing, tmp_path / "DICOMDIR")
    assert [case["case"] for case in inference_cases(tmp_path)] == ["IM1"]


def test_one_bad_file_affects_no_other(tmp_path: Path) -> None:
    Image.fromarray(ramp(1)).save(tmp_path / "a.png")
    (tmp_path / "b.mp4").write_text("text")
    write_clip(tmp_path / "c.avi", [ramp(step) for step in range(4)])
    save_dicom(dicom(GREY, Modality="MR"), tmp_path / "d.dcm")
    save_dicom(dicom(GREY), tmp_path / "e")
    (tmp_path / "f.gif").touch()
    write_gif(tmp_path / "g.gif", [50, 50])
    counts: dict[str, int] = {}
    failed = set()
    for case in inference_cases(tmp_path):
        try:
            if "error" in case:
                raise ValueError(case["error"])
            counts[case["case"]] = len(pixels_of(case["image"]))
        except ValueError as error:
            assert case["image"].name in str(error)
            failed.add(case["case"])
    assert counts == {"a": 1, "c": 4, "e": 5, "g": 2}
    assert failed == {"b", "f"}, "d is of another modality, and not listed"


def test_every_file_is_a_case_or_is_counted_and_named_in_the_record(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scans, out = tmp_path / "scans", tmp_path / "out"
    for name in ("US.1.2.840.55", "slice.001", "deep/IM0001"):
        save_dicom(dicom(GREY[:2]), scans / name)
    save_dicom(dicom(GREY[:1], Modality="CT"), scans / "CT.1.2.840.7")
    listing = dicom(GREY)
    del listing.PixelData, listing.Modality
    listing.SOPClassUID = listing.file_meta.MediaStorageSOPClassUID = pydicom.uid.MediaStorageDirectoryStorage
    save_dicom(listing, scans / "DICOMDIR")
    for name in ("a.png", "a_mask.png", "@eaDir/thumb.jpg", "._a.png", "b.webp"):
        (scans / name).parent.mkdir(exist_ok=True)
        Image.fromarray(ramp()).save(scans / name, format="png")
    (scans / "clip.wmv").write_bytes(b"x")
    (scans / "gone.dcm").symlink_to(scans / "nowhere")
    with zipfile.ZipFile(scans / "more.zip", "w") as archive:
        archive.write(scans / "a.png", "inside/c.png")
    caplog.set_level(logging.INFO)
    names = [case["case"] for case in inference_cases(scans, output_dir=out)]
    assert names == ["US.1.2.840.55", "a", "b", "deep/IM0001", "more/inside/c", "slice.001"]
    line = next(record.getMessage() for record in caplog.records if "not read" in record.getMessage())
    assert line.startswith("6 files not read: ") and "1 wmv" in line and "1 modality CT is not US" in line
    assert json.loads((out / "run.json").read_text())["not_read"] == {
        "._a.png": "system file",
        "CT.1.2.840.7": "modality CT is not US",
        "DICOMDIR": "DICOMDIR",
        "a_mask.png": "mask beside a scan",
        "clip.wmv": "unknown format",
        "gone.dcm": "broken link",
    }


def test_outputs_of_an_earlier_run_are_no_cases(tmp_path: Path) -> None:
    Image.fromarray(ramp()).save(tmp_path / "a.png")
    out = tmp_path / "out"
    out.mkdir()
    (out / "run.json").write_text(json.dumps({"command": "python -m monai.bundle run"}))
    Image.fromarray(ramp()).save(out / "b_overlay.png")
    assert [case["case"] for case in inference_cases(tmp_path)] == ["a"]


def test_dicom_without_preamble_is_read_as_with_it(tmp_path: Path) -> None:
    whole = save_dicom(dicom(GREY), tmp_path / "whole" / "a.dcm")
    for name, start in (("US.1.2.3", 132), ("bare.001", None)):
        content = whole.read_bytes()
        if start is None:  # neither preamble nor file header
            header = pydicom.dcmread(whole)
            start = 132 + 12 + header.file_meta.FileMetaInformationGroupLength
        (tmp_path / name).write_bytes(content[start:])
        pixels = pixels_of(tmp_path / name)
        assert len(pixels) == len(GREY) and all((a == b).all() for a, b in zip(pixels, GREY, strict=True))
    assert [case["case"] for case in inference_cases(tmp_path)] == ["US.1.2.3", "bare.001", "whole/a"]


def test_a_corrupt_header_loses_one_case(tmp_path: Path) -> None:
    content = save_dicom(dicom(GREY), tmp_path / "good").read_bytes()
    at = content.index(b"\x08\x00\x60\x00CS")  # Modality
    (tmp_path / "bad").write_bytes(content[: at + 4] + b"\xff\x01" + content[at + 6 :])
    cases = {case["case"]: case.get("error", "") for case in inference_cases(tmp_path)}
    assert cases["good"] == "" and "bad: cannot be read" in cases["bad"]
