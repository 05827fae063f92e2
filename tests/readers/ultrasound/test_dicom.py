"""Ultrasound DICOM of every transfer syntax reads back; damaged files are refused by name."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)
from ultrasound_files import (
    COLUMNS,
    GREY,
    RGB,
    ROWS,
    assert_near,
    by_pillow,
    dicom,
    luma,
    pixels_of,
    read_until_error,
    save_dicom,
)

from common.readers.ultrasound.frames import frames


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
@pytest.mark.parametrize("kind", ["MONOCHROME2", "MONOCHROME1", "RGB", "planar"])
def test_uncompressed_dicom_reads_back(tmp_path: Path, kind: str, syntax: pydicom.uid.UID, count: int) -> None:
    if kind.startswith("MONO"):
        stored, expected = (GREY if kind == "MONOCHROME2" else 255 - GREY), GREY.astype(float)
        dataset = dicom(stored[:count], kind, syntax)
    else:
        stored, expected = (RGB if kind == "RGB" else RGB.transpose(0, 3, 1, 2)), luma(RGB)
        dataset = dicom(RGB[:count], "RGB", syntax, PlanarConfiguration=int(kind == "planar"))
        dataset.PixelData = np.ascontiguousarray(stored[:count]).tobytes()
    found = pixels_of(save_dicom(dataset, tmp_path / "a.dcm"))
    assert len(found) == count
    for pixels, level in zip(found, expected, strict=False):
        assert_near(pixels, level, mean=0.5, most=0.0 if kind.startswith("MONO") else 0.51)


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("colours", [False, True])
@pytest.mark.parametrize(
    "syntax",
    [RLELossless, JPEGLSLossless, JPEGLSNearLossless, JPEGLosslessSV1, JPEG2000Lossless, JPEG2000, JPEGBaseline8Bit],
)
def test_compressed_dicom_reads_back(tmp_path: Path, syntax: pydicom.uid.UID, colours: bool, count: int) -> None:
    pixels = (RGB if colours else GREY)[:count]
    interpretation = "RGB" if colours else "MONOCHROME2"
    expected = luma(pixels) if colours else pixels.astype(float)
    tolerance = {"mean": 0.5, "most": 0.51 if colours else 0.0}
    path = tmp_path / "a.dcm"
    if syntax in (RLELossless, JPEGLSLossless, JPEGLSNearLossless):
        dataset = dicom(pixels, interpretation)
        dataset.compress(syntax, jls_error=2 if syntax == JPEGLSNearLossless else None)
        save_dicom(dataset, path)
        if syntax == JPEGLSNearLossless:
            tolerance = {"mean": 2, "most": 3}
    elif syntax == JPEGLosslessSV1:
        transcode(save_dicom(dicom(pixels, interpretation), tmp_path / "native.dcm"), path)
    elif syntax == JPEGBaseline8Bit:
        streams = by_pillow(pixels, format="JPEG", quality=95, **({"subsampling": "4:2:2"} if colours else {}))
        save_dicom(dicom(pixels, "YBR_FULL_422" if colours else interpretation, JPEGBaseline8Bit, streams), path)
        tolerance = {"mean": 1.5, "most": 40 if colours else 16}
    else:
        lossy = syntax == JPEG2000
        options = {"irreversible": lossy, "mct": int(colours), "no_jp2": True}
        streams = by_pillow(pixels, format="JPEG2000", **options, **({"quality_layers": [4]} if lossy else {}))
        code = ("YBR_ICT" if lossy else "YBR_RCT") if colours else interpretation
        save_dicom(dicom(pixels, code, syntax, streams), path)
        tolerance = {"mean": 2, "most": 30} if lossy else tolerance
    found = pixels_of(path)
    assert len(found) == count
    for picture, level in zip(found, expected, strict=True):
        assert_near(picture, level, **tolerance)


def transcode(source: Path, target: Path) -> None:
    """To JPEG Lossless, which only GDCM writes."""
    gdcm = pytest.importorskip("gdcm")
    reader = gdcm.ImageReader()
    reader.SetFileName(str(source))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(target))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


@pytest.mark.parametrize("bits", [8, 16])
def test_palette_dicom_becomes_luminance(tmp_path: Path, bits: int, rng: np.random.Generator) -> None:
    palette = rng.integers(0, 256, (3, 256)).astype(np.uint8)
    dataset = dicom(GREY, "PALETTE COLOR")
    for name, values in zip(("Red", "Green", "Blue"), palette, strict=True):
        stored = values.tobytes() if bits == 8 else (values.astype("<u2") * 257).tobytes()
        setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [256, 0, bits])
        setattr(dataset, f"{name}PaletteColorLookupTableData", stored)
    found = pixels_of(save_dicom(dataset, tmp_path / "a.dcm"))
    for pixels, indices in zip(found, GREY, strict=True):
        assert_near(pixels, luma(palette.T[indices]), mean=0.5, most=0.51)


@pytest.mark.parametrize("interpretation", ["YBR_FULL", "YBR_FULL_422"])
def test_uncompressed_ybr_becomes_luminance(tmp_path: Path, interpretation: str) -> None:
    ybr = np.stack([np.asarray(Image.fromarray(picture).convert("YCbCr")) for picture in RGB])
    dataset = dicom(RGB, interpretation)
    if interpretation == "YBR_FULL_422":  # Y Y Cb Cr
        pairs = ybr.reshape(5, ROWS, COLUMNS // 2, 2, 3)
        ybr = np.stack([pairs[..., 0, 0], pairs[..., 1, 0], pairs[..., 0, 1], pairs[..., 0, 2]], -1)
    dataset.PixelData = np.ascontiguousarray(ybr).tobytes()
    for pixels, level in zip(pixels_of(save_dicom(dataset, tmp_path / "a.dcm")), luma(RGB), strict=True):
        assert_near(pixels, level, mean=1, most=2)


@pytest.mark.parametrize(
    ("tags", "seconds"),
    [
        ({"FrameTimeVector": [0, 40, 40, 100, 20], "FrameTime": 1}, [0, 0.04, 0.08, 0.18, 0.2]),
        ({"FrameTime": 50, "CineRate": 1}, [0, 0.05, 0.1, 0.15, 0.2]),
        ({"CineRate": 10, "RecommendedDisplayFrameRate": 99}, [0, 0.1, 0.2, 0.3, 0.4]),
        ({"RecommendedDisplayFrameRate": 20}, [0, 0.05, 0.1, 0.15, 0.2]),
    ],
)
def test_dicom_frames_have_the_times_that_are_stated(
    tmp_path: Path, tags: dict[str, Any], seconds: list[float]
) -> None:
    path = save_dicom(dicom(GREY, **tags), tmp_path / "a.dcm")
    np.testing.assert_allclose([frame.seconds for frame in frames(path)], seconds, atol=1e-9)
    due, expected = 0.0, []
    for index, second in enumerate(seconds):
        if second >= due - 1e-6:
            expected.append(index)
            due = (math.floor(second * 10 + 1e-6) + 1) / 10
    assert [frame.index for frame in frames(path, 10)] == expected


def test_dicom_without_a_rate_gives_every_frame_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    found = list(frames(save_dicom(dicom(GREY), tmp_path / "a.dcm"), 1))
    assert [frame.index for frame in found] == list(range(5))
    assert all(math.isnan(frame.seconds) for frame in found)
    (record,) = caplog.records
    assert "states no frame rate" in record.getMessage()


def region(top: int, bottom: int, left: int, right: int, spatial: int = 1, data: int = 1) -> pydicom.Dataset:
    """An ultrasound region; bottom and right belong to it."""
    item = pydicom.Dataset()
    item.RegionSpatialFormat, item.RegionDataType = spatial, data
    item.RegionLocationMinX0, item.RegionLocationMaxX1 = left, right
    item.RegionLocationMinY0, item.RegionLocationMaxY1 = top, bottom
    return item


def test_dicom_is_cropped_to_its_tissue_regions_unless_the_user_crops(tmp_path: Path) -> None:
    regions = [region(10, 29, 5, 40), region(12, 39, 30, 59), region(50, 63, 0, 95, spatial=3, data=3)]
    path = save_dicom(dicom(GREY, SequenceOfUltrasoundRegions=regions), tmp_path / "a.dcm")
    for pixels, stored in zip(pixels_of(path), GREY, strict=True):
        assert_near(pixels, stored[10:40, 5:60])
    for pixels, stored in zip(pixels_of(path, crop=[1, 2, 3, 4]), GREY, strict=True):
        assert_near(pixels, stored[1:-2, 3:-4])
    assert pixels_of(path, crop=[0, 0, 0, 0])[0].shape == (ROWS, COLUMNS)
    doppler = save_dicom(dicom(GREY, SequenceOfUltrasoundRegions=regions[2:]), tmp_path / "doppler.dcm")
    assert pixels_of(doppler)[0].shape == (ROWS, COLUMNS)


def test_regions_outside_the_image_are_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = save_dicom(dicom(GREY, SequenceOfUltrasoundRegions=[region(100, 200, 100, 200)]), tmp_path / "a.dcm")
    assert pixels_of(path)[0].shape == (ROWS, COLUMNS)
    assert "lie outside the image" in caplog.text


def test_eight_bits_in_sixteen_are_read(tmp_path: Path) -> None:
    dataset = dicom(GREY, BitsAllocated=16)
    dataset.PixelData = GREY.astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    for pixels, stored in zip(pixels_of(save_dicom(dataset, tmp_path / "a.dcm")), GREY, strict=True):
        assert_near(pixels, stored)


def test_other_modalities_missing_pixels_and_video_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.dcm: an ultrasound bundle reads DICOM of modality US, got CT\. Leave"):
        pixels_of(save_dicom(dicom(GREY, Modality="CT"), tmp_path / "a.dcm"))
    header = dicom(GREY)
    del header.PixelData
    with pytest.raises(ValueError, match=r"b\.dcm: an image must hold pixels, got a header only"):
        pixels_of(save_dicom(header, tmp_path / "b.dcm"))
    deep = dicom(GREY, BitsAllocated=16, BitsStored=12, HighBit=11)
    with pytest.raises(ValueError, match=r"c\.dcm: ultrasound must have 8 bits per sample, got BitsStored 12"):
        pixels_of(save_dicom(deep, tmp_path / "c.dcm"))
    video = dicom(GREY, syntax=pydicom.uid.MPEG4HP41, encoded=[b"1234"])
    with pytest.raises(ValueError, match=r"d\.dcm: video inside DICOM is not supported, .*Export it as mp4"):
        pixels_of(save_dicom(video, tmp_path / "d.dcm"))


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless, JPEGBaseline8Bit])
@pytest.mark.parametrize("part", [0.5, 0.97])
def test_truncated_dicom_is_refused(
    tmp_path: Path, syntax: pydicom.uid.UID, part: float, capfd: pytest.CaptureFixture[str]
) -> None:
    encoded = by_pillow(GREY, format="JPEG") if syntax == JPEGBaseline8Bit else None
    dataset = dicom(GREY, syntax=ExplicitVRLittleEndian if syntax == RLELossless else syntax, encoded=encoded)
    if syntax == RLELossless:
        dataset.compress(syntax)
    path = save_dicom(dataset, tmp_path / "a.dcm")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(ValueError, match=r"a\.dcm: the pixel data must be complete, got \d+ of \d+ bytes"):
        pixels_of(path)
    assert capfd.readouterr().err == ""


def test_missing_or_broken_frames_are_reported(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    streams = by_pillow(GREY, format="JPEG")
    few = save_dicom(dicom(GREY, syntax=JPEGBaseline8Bit, encoded=streams[:3]), tmp_path / "few.dcm")
    found, message = read_until_error(few)
    assert message.startswith(f"{few}: ") and " 5 frames" in message, message
    broken = save_dicom(
        dicom(GREY, syntax=JPEGBaseline8Bit, encoded=[*streams[:2], b"no jpeg at all", *streams[3:]]),
        tmp_path / "b.dcm",
    )
    found, message = read_until_error(broken)
    assert len(found) == 2
    assert message.startswith(f"{broken}: only 2 of 5 frames could be read: "), message
    assert "\n" not in message
    assert "Traceback" not in capfd.readouterr().err
