"""Crops, rates, colours and unreadable files, equally for images, clips and DICOM."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import pytest
from PIL import Image
from ultrasound_files import GREY, assert_near, coloured, dicom, pixels_of, ramp, save_dicom, write_clip

from common.readers.ultrasound.formats import is_clip


def test_coloured_pixels_are_logged_once_per_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    pixels_of(write_clip(tmp_path / "grey.mp4", [ramp(0), ramp(1)]))
    assert not caplog.records
    pixels_of(write_clip(tmp_path / "doppler.mp4", [coloured(ramp(step)) for step in range(3)]))
    (record,) = caplog.records
    assert "doppler.mp4: 50 % of the pixels are coloured (colour Doppler or annotations?)" in record.getMessage()


@pytest.mark.parametrize("rate", [0, -1, math.inf, math.nan])
def test_impossible_rates_are_refused(tmp_path: Path, rate: float) -> None:
    Image.fromarray(ramp()).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png: frames_per_second must be above 0, got"):
        pixels_of(tmp_path / "a.png", frames_per_second=rate)


def test_images_and_clips_are_cropped(tmp_path: Path) -> None:
    Image.fromarray(ramp()).save(tmp_path / "a.png")
    (pixels,) = pixels_of(tmp_path / "a.png", crop=[4, 8, 16, 32])
    assert_near(pixels, ramp()[4:-8, 16:-32])
    write_clip(tmp_path / "a.mkv", [ramp(0), ramp(1)], "ffv1", "gray", options={})
    for step, pixels in enumerate(pixels_of(tmp_path / "a.mkv", crop=(4, 8, 16, 32))):
        assert_near(pixels, ramp(step)[4:-8, 16:-32])


@pytest.mark.parametrize("crop", [[32, 32, 0, 0], [0, 0, 96, 0], [0, 100, 0, 0]])
def test_a_crop_that_leaves_nothing_is_refused(tmp_path: Path, crop: list[int]) -> None:
    Image.fromarray(ramp()).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png: crop must leave at least one pixel, got .*64 rows and 96 columns"):
        pixels_of(tmp_path / "a.png", crop=crop)


@pytest.mark.parametrize("crop", [[1, 2, 3], [-1, 0, 0, 0], [0.5, 0, 0, 0], []])
def test_impossible_crops_are_refused(tmp_path: Path, crop: list[int]) -> None:
    Image.fromarray(ramp()).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png: crop is \[top, bottom, left, right\]"):
        pixels_of(tmp_path / "a.png", crop=crop)


@pytest.mark.parametrize("name", ["a.png", "a.mp4", "a.gif", "a.dcm", "a.avi"])
def test_empty_files_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(ValueError, match=rf"{name}: .*got 0 bytes"):
        pixels_of(tmp_path / name)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.mp4", "a.gif", "a.mpeg", "a.avi", "a.mkv", "a.dcm", "a.ima"])
def test_text_under_another_name_is_refused(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / name).write_text("hello world, this is text\n" * 40)
    with pytest.raises(ValueError, match=rf"{name}: (a file of suffix|cannot be read: .*DICOM)"):
        pixels_of(tmp_path / name)
    assert capfd.readouterr().err == ""


def test_missing_files_folders_and_unknown_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.mp4: no such file\. Give"):
        pixels_of(tmp_path / "none.mp4")
    with pytest.raises(FileNotFoundError, match=r"got a folder\. List its files with inference_cases"):
        pixels_of(tmp_path)
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(ValueError, match=r"a\.txt: unknown format '\.txt'\. Use \.png"):
        pixels_of(tmp_path / "a.txt")


def test_clips_and_images_are_distinguished(tmp_path: Path) -> None:
    names = ("a.png", "a.MP4", "a.gif", "a.txt")
    for name in names:
        (tmp_path / name).write_text("x")
    assert [is_clip(tmp_path / name) for name in names] == [False, True, True, False]
    assert is_clip(save_dicom(dicom(GREY), tmp_path / "many"))
    assert not is_clip(save_dicom(dicom(GREY[:1]), tmp_path / "1.2.840.1"))
    with pytest.raises(FileNotFoundError, match="no such file"):
        is_clip(tmp_path / "none.mp4")
    (tmp_path / "a.dcm").write_text("text")
    with pytest.raises(ValueError, match=r"a\.dcm: cannot be read"):
        is_clip(tmp_path / "a.dcm")
