"""Ultrasound of every format reads back as the grey levels that were written, and bad files are refused by name."""

from __future__ import annotations

import csv
import logging
import math
import re
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import pydicom
import pytest
from conftest import ROOT
from PIL import Image
from pydicom.encaps import encapsulate
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

from common.datasets.ultrasound.folder import inference_cases
from common.readers.ultrasound.formats import CLIPS, is_clip
from common.readers.ultrasound.frames import Frame, frames

ROWS, COLUMNS = 64, 96
BEST = {"qmin": "1", "qmax": "2"}


def ramp(step: int = 0) -> np.ndarray:
    """Grey levels 0 to 255 along the columns, below them a band whose level, 10 * ``step``, tells the frames apart."""
    pixels = np.tile(np.rint(np.linspace(0, 255, COLUMNS)).astype(np.uint8), (ROWS, 1))
    pixels[48:] = 10 * step
    return pixels


def corners() -> np.ndarray:
    """Four quarters of different levels, which tell every turn and mirroring apart."""
    pixels = np.zeros((ROWS, COLUMNS), np.uint8)
    pixels[:32, :48], pixels[:32, 48:], pixels[32:, :48] = 250, 170, 90
    return pixels


def coloured(grey: np.ndarray) -> np.ndarray:
    """RGB of the same rows and columns whose left half is red and whose right half is grey."""
    rgb = np.repeat(grey[..., None], 3, -1)
    rgb[:, : COLUMNS // 2] = [200, 30, 40]
    return rgb


def luma(rgb: np.ndarray) -> np.ndarray:
    """ITU-R BT.601 luminance, not rounded."""
    return rgb.astype(float) @ [0.299, 0.587, 0.114]


def pixels_of(path: Path, **options: Any) -> list[np.ndarray]:
    return [frame.pixels for frame in frames(path, **options)]


def assert_near(found: np.ndarray, expected: np.ndarray, mean: float = 0.0, most: float = 0.0) -> None:
    """Mean and largest difference in grey levels; 0 is exact."""
    assert found.dtype == np.uint8
    assert found.shape == expected.shape
    difference = np.abs(found.astype(float) - expected)
    assert difference.mean() <= mean, f"differs by {difference.mean():.2f} grey levels on average"
    assert difference.max() <= most, f"differs by up to {difference.max():.2f} grey levels"


def write_clip(
    path: Path,
    pictures: Iterable[np.ndarray],
    codec: str = "mpeg4",
    layout: str = "yuv420p",
    rate: int = 25,
    times: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    format: str | None = None,
    prepare: Callable[[Any], None] = lambda stream: None,
) -> Path:
    """A clip of grey or RGB pictures; ``times`` are in steps of 1 / ``rate`` s."""
    pictures = iter(pictures)
    first = next(pictures)
    with av.open(str(path), "w", options=container or {}, format=format) as clip:
        stream: Any = clip.add_stream(codec, rate=rate, options=BEST if options is None else options)
        stream.height, stream.width, stream.pix_fmt = first.shape[0], first.shape[1], layout
        stream.codec_context.time_base = Fraction(1, rate)
        prepare(stream)
        index = 0
        for index, picture in enumerate((first, *pictures)):
            rgb = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, -1)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
            frame.pts = times[index] if times else index
            clip.mux(stream.encode(frame))
        clip.mux(stream.encode(None))
    return path


def dicom(
    pixels: np.ndarray,
    interpretation: str = "MONOCHROME2",
    syntax: pydicom.uid.UID = ExplicitVRLittleEndian,
    encoded: Sequence[bytes] | None = None,
    **tags: Any,
) -> pydicom.Dataset:
    """Ultrasound of uint8 (frames, rows, columns) or (frames, rows, columns, 3); tags as keywords."""
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    multi = len(pixels) > 1
    storage = pydicom.uid.UltrasoundMultiFrameImageStorage if multi else pydicom.uid.UltrasoundImageStorage
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = storage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.UID("1.2.3.4")
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.PatientID = "1.2.3", "1.2.3.1", "1"
    dataset.Modality, dataset.PhotometricInterpretation = "US", interpretation
    dataset.Rows, dataset.Columns = pixels.shape[1:3]
    dataset.SamplesPerPixel = pixels.shape[3] if pixels.ndim == 4 else 1
    if pixels.ndim == 4:
        dataset.PlanarConfiguration = 0
    if multi:
        dataset.NumberOfFrames = len(pixels)
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = encapsulate(list(encoded)) if encoded else pixels.tobytes() + b"\0" * (pixels.size % 2)
    dataset["PixelData"].VR = "OB"
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    return dataset


def save(dataset: pydicom.Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def by_pillow(pixels: np.ndarray, **options: Any) -> list[bytes]:
    """Every frame as a JPEG or JPEG 2000 stream."""
    streams = []
    for picture in pixels:
        stream = BytesIO()
        Image.fromarray(picture).save(stream, **options)
        streams.append(stream.getvalue())
    return streams


# Pictures


LOSSLESS = [(suffix, mode) for suffix in ("png", "tif", "tiff") for mode in ("L", "P", "LA", "RGB", "RGBA")]
LOSSLESS += [("bmp", mode) for mode in ("L", "P", "RGB", "RGBA")]  # which has no grey with opacity


@pytest.mark.parametrize(("suffix", "mode"), LOSSLESS)
def test_lossless_pictures_read_back_exactly(tmp_path: Path, suffix: str, mode: str) -> None:
    Image.fromarray(ramp()).convert(mode).save(tmp_path / f"a.{suffix}")
    (frame,) = frames(tmp_path / f"a.{suffix}")
    assert (frame.index, frame.seconds) == (0, 0.0)
    assert_near(frame.pixels, ramp())
    assert frame.pixels.flags.writeable


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "JPG"])
def test_jpeg_pictures_keep_the_range(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(ramp()).save(tmp_path / f"a.{suffix}", format="JPEG", quality=95)
    (pixels,) = pixels_of(tmp_path / f"a.{suffix}")
    assert_near(pixels, ramp(), mean=1, most=6)
    assert pixels[:40, 0].max() <= 2
    assert pixels[:40, -1].min() >= 253


def test_colours_become_luminance(tmp_path: Path, rng: np.random.Generator, caplog: pytest.LogCaptureFixture) -> None:
    rgb = rng.integers(0, 256, (ROWS, COLUMNS, 3)).astype(np.uint8)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    (pixels,) = pixels_of(tmp_path / "a.png")
    assert_near(pixels, luma(rgb), mean=0.3, most=0.51)
    palette = Image.fromarray(rgb).quantize(64)
    palette.save(tmp_path / "palette.png")
    (pixels,) = pixels_of(tmp_path / "palette.png")
    assert_near(pixels, luma(np.asarray(palette.convert("RGB"))), mean=0.3, most=0.51)


def test_colours_are_told_once_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    pixels_of(write_clip(tmp_path / "grey.mp4", [ramp(0), ramp(1)]))
    assert not caplog.records
    pixels_of(write_clip(tmp_path / "doppler.mp4", [coloured(ramp(step)) for step in range(3)]))
    (record,) = caplog.records
    assert "doppler.mp4: 50 % of the pixels are coloured (colour Doppler or annotations?)" in record.getMessage()


def test_what_is_transparent_is_black(tmp_path: Path) -> None:
    rgba = np.full((ROWS, COLUMNS, 4), 255, np.uint8)
    rgba[:, 10:, :3], rgba[:, :10, 3] = 80, 0
    Image.fromarray(rgba).save(tmp_path / "a.png")
    (pixels,) = pixels_of(tmp_path / "a.png")
    assert (pixels[:, :10] == 0).all()
    assert (pixels[:, 10:] == 80).all()


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (2, np.fliplr),
        (3, lambda stored: np.rot90(stored, 2)),
        (4, np.flipud),
        (6, lambda stored: np.rot90(stored, -1)),
        (8, np.rot90),
    ],
)
def test_photographs_stand_upright(tmp_path: Path, orientation: int, turn: Callable[[np.ndarray], np.ndarray]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(corners()).save(tmp_path / "a.jpg", exif=exif, quality=95)
    (pixels,) = pixels_of(tmp_path / "a.jpg")
    assert_near(pixels, turn(corners()), mean=1, most=20)


# Clips

LOSSY = {"mean": 1.5, "most": 16}
FORMATS: list[tuple[str, str, str, dict[str, str], dict[str, float]]] = [
    ("mp4", "libx264", "yuv420p", {"crf": "1"}, LOSSY),
    ("mp4", "libx264", "yuvj420p", {"crf": "1"}, LOSSY),  # full range
    ("mp4", "libx265", "yuv420p", {"crf": "4", "x265-params": "log-level=none"}, LOSSY),
    ("m4v", "mpeg4", "yuv420p", BEST, LOSSY),
    ("mov", "mjpeg", "yuvj420p", BEST, LOSSY),
    ("mov", "png", "gray", {}, {}),
    ("avi", "mpeg4", "yuv420p", BEST, LOSSY),
    ("avi", "mjpeg", "yuvj420p", BEST, LOSSY),
    ("avi", "rawvideo", "bgr24", {}, {}),
    ("mkv", "ffv1", "gray", {}, {}),
    ("mkv", "ffv1", "bgr0", {}, {}),
    ("webm", "libvpx-vp9", "yuv420p", {"crf": "4", "deadline": "realtime", "cpu-used": "8"}, LOSSY),
    ("mpeg", "mpeg2video", "yuv420p", BEST, LOSSY),
    ("mpg", "mpeg1video", "yuv420p", BEST, LOSSY),
]


@pytest.mark.parametrize(("suffix", "codec", "layout", "options", "tolerance"), FORMATS)
def test_clips_read_back(
    tmp_path: Path, suffix: str, codec: str, layout: str, options: dict[str, str], tolerance: dict[str, float]
) -> None:
    path = write_clip(tmp_path / f"a.{suffix}", [ramp(step) for step in range(12)], codec, layout, options=options)
    found = list(frames(path))
    assert [frame.index for frame in found] == list(range(12))
    np.testing.assert_allclose([frame.seconds for frame in found], np.arange(12) / 25, atol=6e-4)
    for step, frame in enumerate(found):
        assert_near(frame.pixels, ramp(step), **tolerance)
        assert frame.pixels[:40, 0].mean() <= 3, "black stays black"
        assert frame.pixels[:40, -1].mean() >= 252, "white stays white"


def test_every_clip_suffix_is_read() -> None:
    assert {f".{suffix}" for suffix, *_ in FORMATS} | {".gif"} == set(CLIPS)


def write_gif(path: Path, milliseconds: Sequence[int], **options: Any) -> Path:
    pictures = [Image.fromarray(ramp(step % 20)) for step in range(len(milliseconds))]
    pictures[0].save(
        path, save_all=True, append_images=pictures[1:], duration=list(milliseconds) or 0, loop=0, **options
    )
    return path


def test_gif_reads_back_exactly_and_its_durations_count(tmp_path: Path) -> None:
    path = write_gif(tmp_path / "a.gif", [100, 300, 50, 50, 100])
    found = list(frames(path))
    for step, frame in enumerate(found):
        assert_near(frame.pixels, ramp(step))
    np.testing.assert_allclose([frame.seconds for frame in found], [0, 0.1, 0.4, 0.45, 0.5])
    assert [frame.index for frame in frames(path, 5)] == [0, 2], "at 0 s, and at or after 0.2 s"


@pytest.mark.parametrize("layout", ["yuv420p", "yuv422p", "yuv444p"])
def test_grey_of_a_clip_is_not_darkened(tmp_path: Path, layout: str) -> None:
    """Lossless luma of limited range holds 219 steps, so half a step is all that may differ."""
    levels = np.rint(np.rint(ramp().astype(float) * 219 / 255) * 255 / 219)
    path = write_clip(tmp_path / "a.mkv", [ramp(), ramp()], "ffv1", layout, options={})
    pixels = pixels_of(path)[0]
    assert abs((pixels.astype(float) - levels).mean()) < 0.25
    assert_near(pixels, levels, mean=0.25, most=2)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_turned_clips_stand_upright(tmp_path: Path, degrees: int, mirrored: bool) -> None:
    path = write_clip(
        tmp_path / "a.mp4",
        [corners()] * 3,
        prepare=lambda stream: stream.set_display_rotation(degrees, mirrored, False),
    )
    expected = np.rot90(corners(), degrees // 90)  # counter-clockwise
    for pixels in pixels_of(path):
        assert_near(pixels, np.fliplr(expected) if mirrored else expected, mean=1, most=20)


def test_a_clip_turned_askew_is_refused(tmp_path: Path) -> None:
    path = write_clip(
        tmp_path / "a.mp4", [corners()] * 3, prepare=lambda stream: stream.set_display_rotation(45, False, False)
    )
    with pytest.raises(ValueError, match=r"a\.mp4: .*upright or be turned by quarters, got a rotation of 45 degrees"):
        pixels_of(path)


# Sampling


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (None, range(50)),
        (25, range(50)),
        (100, range(50)),
        (5, range(0, 50, 5)),
        (10, [0, 3, 5, 8, 10, 13, 15, 18, 20, 23, 25, 28, 30, 33, 35, 38, 40, 43, 45, 48]),
        (1, [0, 25]),
        (0.1, [0]),
    ],
)
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_constant_rates_are_sampled(tmp_path: Path, suffix: str, rate: float | None, expected: Sequence[int]) -> None:
    path = write_clip(tmp_path / f"a.{suffix}", [ramp(step % 20) for step in range(50)])
    found = list(frames(path, rate))
    assert [frame.index for frame in found] == list(expected)
    np.testing.assert_allclose([frame.seconds for frame in found], np.array(expected) / 25, atol=6e-4)


def test_the_own_rate_takes_every_frame_although_matroska_rounds_times(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mkv", [ramp(step % 20) for step in range(40)], rate=30)
    assert len(pixels_of(path, frames_per_second=30)) == 40


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov"])
def test_variable_rates_are_sampled_by_time(tmp_path: Path, suffix: str) -> None:
    times = [0, 1, 2, 10, 11, 30, 31, 32, 33, 34, 35, 50]  # in hundredths of a second
    path = write_clip(tmp_path / f"a.{suffix}", [ramp(step) for step in range(12)], rate=100, times=times)
    found = list(frames(path))
    np.testing.assert_allclose([frame.seconds for frame in found], np.array(times) / 100, atol=6e-4)
    assert [frame.index for frame in frames(path, 10)] == [0, 3, 5, 11], "at or after 0, .1, .2 (at .3), .4 (at .5)"


def test_mpeg_without_time_stamps_runs_at_its_average_rate(tmp_path: Path) -> None:
    pictures = [ramp(step % 20) for step in range(30)]
    bare = write_clip(tmp_path / "bare.mpg", pictures, "mpeg2video", format="mpeg2video")
    assert len(pixels_of(bare)) == 30
    assert [frame.index for frame in frames(bare, 5)] == list(range(0, 30, 5))
    part = write_clip(tmp_path / "part.mpg", pictures, "mpeg2video").read_bytes()
    (tmp_path / "twice.mpg").write_bytes(part + part)  # time stamps start again half-way
    seconds = [frame.seconds for frame in frames(tmp_path / "twice.mpg")]
    np.testing.assert_allclose(seconds, np.arange(len(seconds)) / 25, atol=0.05)
    assert len(seconds) == 60


@pytest.mark.parametrize("rate", [0, -1, math.inf, math.nan])
def test_impossible_rates_are_refused(tmp_path: Path, rate: float) -> None:
    Image.fromarray(ramp()).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png: frames_per_second must be above 0, got"):
        pixels_of(tmp_path / "a.png", frames_per_second=rate)


def test_a_clip_is_opened_once_and_each_packet_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_clip(tmp_path / "a.mp4", [ramp(step % 20) for step in range(50)])
    opened, packets = [], []

    class Counting:
        def __init__(self, clip: Any) -> None:
            self.clip = clip

        def __getattr__(self, name: str) -> Any:
            assert name != "seek"
            return getattr(self.clip, name)

        def __enter__(self) -> Counting:
            return self

        def __exit__(self, *reason: object) -> None:
            self.clip.close()

        def demux(self, stream: Any) -> Iterable[Any]:
            for packet in self.clip.demux(stream):
                packets.append(packet.dts)
                yield packet

    real = av.open

    def counted(*arguments: Any, **options: Any) -> Any:
        opened.append(arguments)
        return Counting(real(*arguments, **options))

    monkeypatch.setattr(av, "open", counted)
    assert len(pixels_of(path, frames_per_second=5)) == 10
    assert len(opened) == 1
    assert len([dts for dts in packets if dts is not None]) == 50


@pytest.mark.parametrize("threads", ["NONE", "AUTO"])
def test_threads_give_the_frames_that_one_thread_gives(tmp_path: Path, threads: str) -> None:
    path = write_clip(tmp_path / "a.mp4", [ramp(step % 20) for step in range(50)], "libx264", options={"crf": "20"})
    with av.open(str(path)) as clip:
        clip.streams.video[0].thread_type = threads  # type: ignore[assignment]
        levels = [frame.to_ndarray(format="gray") for frame in clip.decode(video=0)]
    for level, pixels in zip(levels, pixels_of(path), strict=True):
        assert_near(pixels, level.astype(float), mean=0.1, most=1)


MEMORY = """
import sys
import av, psutil
from common.frames import frames
rss = psutil.Process().memory_info
idle = rss().rss
taken = [rss().rss for frame in frames(sys.argv[1], {rate}) if frame.pixels.shape == (1080, 1920)]
status = open("/proc/self/status").read()  # getrusage would count what the parent held when it forked
print(len(taken), status.split("VmHWM:")[1].split()[0], max(taken) - idle)
"""


@pytest.mark.slow
def test_a_minute_of_full_hd_streams_in_bounded_memory(tmp_path: Path) -> None:
    picture = np.tile(np.linspace(0, 255, 1920).astype(np.uint8), (1080, 1))
    stills = [av.VideoFrame.from_ndarray(np.roll(picture, 200 * step, 1), format="gray") for step in range(4)]
    path = tmp_path / "minute.mp4"
    with av.open(str(path), "w") as clip:
        stream: Any = clip.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = 1080, 1920, "yuv420p"
        frames_420 = [still.reformat(format="yuv420p") for still in stills]
        for index in range(600):
            frame = frames_420[index // 10 % 4]
            frame.pts, frame.time_base = index, Fraction(1, 10)
            clip.mux(stream.encode(frame))
        clip.mux(stream.encode(None))
    command = [sys.executable, "-c", MEMORY.format(rate=5), str(path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    count, kilobytes, grown = map(int, run.stdout.split())
    assert count == 300
    assert kilobytes < 2**20, f"{kilobytes / 2**20:.2f} GiB"
    assert grown < 200 * 2**20, f"{grown / 2**20:.0f} MiB: a frame is 3 MiB, and a few tens are in the decoder"


# DICOM

GREY = np.stack([ramp(step) for step in range(5)])
RGB = np.stack([coloured(ramp(step)) for step in range(5)])


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
    found = pixels_of(save(dataset, tmp_path / "a.dcm"))
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
        save(dataset, path)
        if syntax == JPEGLSNearLossless:
            tolerance = {"mean": 2, "most": 3}
    elif syntax == JPEGLosslessSV1:
        transcode(save(dicom(pixels, interpretation), tmp_path / "native.dcm"), path)
    elif syntax == JPEGBaseline8Bit:
        streams = by_pillow(pixels, format="JPEG", quality=95, **({"subsampling": "4:2:2"} if colours else {}))
        save(dicom(pixels, "YBR_FULL_422" if colours else interpretation, JPEGBaseline8Bit, streams), path)
        tolerance = {"mean": 1.5, "most": 40 if colours else 16}
    else:
        lossy = syntax == JPEG2000
        options = {"irreversible": lossy, "mct": int(colours), "no_jp2": True}
        streams = by_pillow(pixels, format="JPEG2000", **options, **({"quality_layers": [4]} if lossy else {}))
        code = ("YBR_ICT" if lossy else "YBR_RCT") if colours else interpretation
        save(dicom(pixels, code, syntax, streams), path)
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
    found = pixels_of(save(dataset, tmp_path / "a.dcm"))
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
    for pixels, level in zip(pixels_of(save(dataset, tmp_path / "a.dcm")), luma(RGB), strict=True):
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
    path = save(dicom(GREY, **tags), tmp_path / "a.dcm")
    np.testing.assert_allclose([frame.seconds for frame in frames(path)], seconds, atol=1e-9)
    due, expected = 0.0, []
    for index, second in enumerate(seconds):
        if second >= due - 1e-6:
            expected.append(index)
            due = (math.floor(second * 10 + 1e-6) + 1) / 10
    assert [frame.index for frame in frames(path, 10)] == expected


def test_dicom_without_a_rate_gives_every_frame_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    found = list(frames(save(dicom(GREY), tmp_path / "a.dcm"), 1))
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
    path = save(dicom(GREY, SequenceOfUltrasoundRegions=regions), tmp_path / "a.dcm")
    for pixels, stored in zip(pixels_of(path), GREY, strict=True):
        assert_near(pixels, stored[10:40, 5:60])
    for pixels, stored in zip(pixels_of(path, crop=[1, 2, 3, 4]), GREY, strict=True):
        assert_near(pixels, stored[1:-2, 3:-4])
    assert pixels_of(path, crop=[0, 0, 0, 0])[0].shape == (ROWS, COLUMNS)
    doppler = save(dicom(GREY, SequenceOfUltrasoundRegions=regions[2:]), tmp_path / "doppler.dcm")
    assert pixels_of(doppler)[0].shape == (ROWS, COLUMNS)


def test_regions_outside_the_picture_are_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = save(dicom(GREY, SequenceOfUltrasoundRegions=[region(100, 200, 100, 200)]), tmp_path / "a.dcm")
    assert pixels_of(path)[0].shape == (ROWS, COLUMNS)
    assert "lie outside the picture" in caplog.text


def test_crop_cuts_pictures_and_clips(tmp_path: Path) -> None:
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


def test_eight_bits_in_sixteen_are_read(tmp_path: Path) -> None:
    dataset = dicom(GREY, BitsAllocated=16)
    dataset.PixelData = GREY.astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    for pixels, stored in zip(pixels_of(save(dataset, tmp_path / "a.dcm")), GREY, strict=True):
        assert_near(pixels, stored)


# Refusals


@pytest.mark.parametrize(
    ("name", "picture", "got"),
    [
        ("a.png", Image.fromarray(np.full((4, 4), 40000, np.uint16)), "I;16"),
        ("a.tif", Image.fromarray(np.full((4, 4), 40000, np.uint16)), "I;16"),
        ("a.tiff", Image.fromarray(np.full((4, 4), 0.5, np.float32)), "F"),
        ("a.tif", Image.fromarray(np.full((4, 4), 7, np.int32)), "I"),
        ("a.png", Image.fromarray(np.eye(4) > 0), "1"),
        ("a.bmp", Image.fromarray(np.eye(4) > 0), "1"),
    ],
)
def test_pictures_of_other_than_8_bits_are_refused(tmp_path: Path, name: str, picture: Image.Image, got: str) -> None:
    picture.save(tmp_path / name)
    with pytest.raises(ValueError, match=rf"{name}: a picture must have 8 bits per sample, got {got}"):
        pixels_of(tmp_path / name)


def test_deep_colours_are_refused_although_pillow_would_cut_them_to_8_bits(tmp_path: Path) -> None:
    frame = av.VideoFrame.from_ndarray(np.full((8, 8, 3), 40000, np.uint16), format="rgb48le")
    coder: Any = av.CodecContext.create("png", "w")
    coder.width, coder.height, coder.pix_fmt, coder.time_base = 8, 8, "rgb48be", Fraction(1)
    (packet,) = coder.encode(frame.reformat(format="rgb48be"))
    (tmp_path / "a.png").write_bytes(bytes(packet))
    with pytest.raises(ValueError, match=r"a\.png: a picture must have 8 bits per sample, got RGB;16B"):
        pixels_of(tmp_path / "a.png")


def test_clips_of_10_bits_are_refused(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mkv", [ramp()] * 2, "ffv1", "gray10le", options={})
    with pytest.raises(ValueError, match=r"a\.mkv: a clip must have 8 bits per sample, got 10"):
        pixels_of(path)


def test_several_pages_are_refused(tmp_path: Path) -> None:
    pages = [Image.fromarray(ramp(step)) for step in range(3)]
    for name in ("a.tif", "a.png"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
        with pytest.raises(ValueError, match=r"must hold one picture, got 3 pages\. Save them as a clip or as single"):
            pixels_of(tmp_path / name)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.bmp"])
def test_truncated_pictures_are_refused(tmp_path: Path, name: str) -> None:
    Image.fromarray(ramp()).save(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=rf"{name}: (a picture must be whole, got a damaged one|a file of suffix)"):
        pixels_of(tmp_path / name)


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


def test_playlists_are_not_followed(tmp_path: Path) -> None:
    write_clip(tmp_path / "other.mp4", [ramp()] * 3)
    (tmp_path / "a.mp4").write_text("ffconcat version 1.0\nfile other.mp4\n")
    with pytest.raises(ValueError, match=r"a\.mp4: a file of suffix \.mp4 must hold a whole clip"):
        pixels_of(tmp_path / "a.mp4")


def test_missing_files_folders_and_unknown_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.mp4: no such file\. Give"):
        pixels_of(tmp_path / "none.mp4")
    with pytest.raises(FileNotFoundError, match=r"got a folder\. List its files with datalist"):
        pixels_of(tmp_path)
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(ValueError, match=r"a\.txt: unknown format '\.txt'\. Use \.png"):
        pixels_of(tmp_path / "a.txt")


def test_one_frame_is_no_clip(tmp_path: Path) -> None:
    write_gif(tmp_path / "a.gif", [100])
    write_clip(tmp_path / "a.mp4", [ramp()])
    for name in ("a.gif", "a.mp4"):
        with pytest.raises(ValueError, match=rf"{name}: a clip has two frames or more, got 1; save it as png to have"):
            next(frames(tmp_path / name))


def test_sound_alone_is_refused(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as clip:
        stream: Any = clip.add_stream("aac", rate=16000)
        stream.layout = "mono"
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16000
        clip.mux(stream.encode(sound))
        clip.mux(stream.encode(None))
    with pytest.raises(ValueError, match=r"a\.mp4: a clip must hold moving pictures, got audio only"):
        pixels_of(tmp_path / "a.mp4")


def test_a_size_that_changes_is_refused(tmp_path: Path) -> None:
    first = write_clip(tmp_path / "first.mpg", [ramp()] * 5, "mpeg2video", format="mpeg2video").read_bytes()
    small = [ramp()[:32, :48]] * 5
    second = write_clip(tmp_path / "second.mpg", small, "mpeg2video", format="mpeg2video").read_bytes()
    (tmp_path / "a.mpg").write_bytes(first + second)
    with pytest.raises(ValueError, match=r"a\.mpg: all frames of a clip must have one size, got 96 x 64, then 48 x 32"):
        pixels_of(tmp_path / "a.mpg")


def read_until_error(path: Path) -> tuple[list[Frame], str]:
    found: list[Frame] = []
    try:
        for frame in frames(path):
            found.append(frame)
    except ValueError as error:
        return found, str(error)
    return found, ""


FIRST = {"movflags": "faststart"}


@pytest.mark.parametrize(
    ("suffix", "codec", "container", "share"),
    [
        ("mp4", "mpeg4", FIRST, r"only 1\d of 50"),
        ("mov", "mjpeg", FIRST, r"only 2\d of 50"),
        ("avi", "mjpeg", {}, r"only 2\d of 50"),
        ("mkv", "mpeg4", {}, r"only the first 1?\d"),
        ("webm", "libvpx-vp9", {}, r"only the first \d+"),
        ("gif", "gif", {}, r"only the first 2\d"),
        ("mpeg", "mpeg2video", {}, r"only the first \d+"),
    ],
)
def test_truncated_clips_give_the_readable_frames_then_the_error(
    tmp_path: Path,
    suffix: str,
    codec: str,
    container: dict[str, str],
    share: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / f"a.{suffix}"
    pictures = [np.roll(ramp(step % 20), 3 * step, 0) for step in range(50)]
    if suffix == "gif":
        write_gif(path, [40] * 50)
    else:
        write_clip(
            path, pictures, codec, "yuvj420p" if codec == "mjpeg" else "yuv420p", options={}, container=container
        )
    whole = pixels_of(path)
    assert len(whole) == 50
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    capfd.readouterr()
    found, message = read_until_error(path)
    assert 1 <= len(found) < 50
    for frame in found:
        assert_near(frame.pixels, whole[frame.index])
    assert message.startswith(f"{path}: a clip must be whole, but ")
    assert re.search(share, message), message
    assert capfd.readouterr().err == "", "libav is silent"


def test_an_mp4_without_its_index_cannot_be_opened(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", [ramp(step) for step in range(20)])  # the index, moov, comes last
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"moov") - 4])
    with pytest.raises(ValueError, match=r"a\.mp4: a file of suffix \.mp4 must hold a whole clip, got what cannot be"):
        pixels_of(path)
    path.write_bytes(content[:-700])  # the index is there in part
    with pytest.raises(ValueError, match=r"a\.mp4: a clip .* It may be cut short"):
        pixels_of(path)


def test_a_decode_error_part_way_ends_the_clip(tmp_path: Path) -> None:
    path = write_clip(
        tmp_path / "a.mov", [ramp(step) for step in range(20)], "png", "gray", container=FIRST, options={}
    )
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as clip:
        entry = clip.streams.video[0].index_entries[12]
    content[entry.pos : entry.pos + 40] = bytes(40)
    path.write_bytes(content)
    found, message = read_until_error(path)
    assert len(found) == 12
    assert "only 12 of 20 frames could be read" in message


def test_frames_that_were_never_recorded_are_no_damage(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.avi", [ramp(step) for step in range(12)], times=[*range(6), *range(10, 16)])
    seconds = [frame.seconds for frame in frames(path)]
    np.testing.assert_allclose(seconds, np.array([*range(6), *range(10, 16)]) / 25, atol=1e-6)


def test_modality_and_missing_pixels_of_dicom(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.dcm: an ultrasound bundle reads DICOM of modality US, got CT\. Leave"):
        pixels_of(save(dicom(GREY, Modality="CT"), tmp_path / "a.dcm"))
    header = dicom(GREY)
    del header.PixelData
    with pytest.raises(ValueError, match=r"b\.dcm: a picture must hold pixels, got a header alone"):
        pixels_of(save(header, tmp_path / "b.dcm"))
    deep = dicom(GREY, BitsAllocated=16, BitsStored=12, HighBit=11)
    with pytest.raises(ValueError, match=r"c\.dcm: ultrasound must have 8 bits per sample, got BitsStored 12"):
        pixels_of(save(deep, tmp_path / "c.dcm"))
    video = dicom(GREY, syntax=pydicom.uid.MPEG4HP41, encoded=[b"1234"])
    with pytest.raises(ValueError, match=r"d\.dcm: video inside DICOM is not read, .*Export it as mp4"):
        pixels_of(save(video, tmp_path / "d.dcm"))


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless, JPEGBaseline8Bit])
@pytest.mark.parametrize("part", [0.5, 0.97])
def test_truncated_dicom_is_refused(
    tmp_path: Path, syntax: pydicom.uid.UID, part: float, capfd: pytest.CaptureFixture[str]
) -> None:
    encoded = by_pillow(GREY, format="JPEG") if syntax == JPEGBaseline8Bit else None
    dataset = dicom(GREY, syntax=ExplicitVRLittleEndian if syntax == RLELossless else syntax, encoded=encoded)
    if syntax == RLELossless:
        dataset.compress(syntax)
    path = save(dataset, tmp_path / "a.dcm")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(ValueError, match=r"a\.dcm: the pixel data must be whole, got \d+ of \d+ bytes"):
        pixels_of(path)
    assert capfd.readouterr().err == ""


def test_fewer_or_broken_frames_in_dicom_are_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    streams = by_pillow(GREY, format="JPEG")
    few = save(dicom(GREY, syntax=JPEGBaseline8Bit, encoded=streams[:3]), tmp_path / "few.dcm")
    found, message = read_until_error(few)
    assert message.startswith(f"{few}: ") and " 5 frames" in message, message
    broken = save(
        dicom(GREY, syntax=JPEGBaseline8Bit, encoded=[*streams[:2], b"no jpeg at all", *streams[3:]]),
        tmp_path / "b.dcm",
    )
    found, message = read_until_error(broken)
    assert len(found) == 2
    assert message.startswith(f"{broken}: only 2 of 5 frames could be read: "), message
    assert "\n" not in message
    assert "Traceback" not in capfd.readouterr().err


# Lists


def test_clips_are_told_from_pictures(tmp_path: Path) -> None:
    names = ("a.png", "a.MP4", "a.gif", "a.txt")
    for name in names:
        (tmp_path / name).write_text("x")
    assert [is_clip(tmp_path / name) for name in names] == [False, True, True, False]
    assert is_clip(save(dicom(GREY), tmp_path / "many"))
    assert not is_clip(save(dicom(GREY[:1]), tmp_path / "1.2.840.1"))
    with pytest.raises(FileNotFoundError, match="no such file"):
        is_clip(tmp_path / "none.mp4")
    (tmp_path / "a.dcm").write_text("text")
    with pytest.raises(ValueError, match=r"a\.dcm: cannot be read"):
        is_clip(tmp_path / "a.dcm")


def test_a_mixed_folder_is_listed(tmp_path: Path) -> None:
    for name in ("b/x.png", "b/x.mp4", "b/x.PNG", "a.mpeg", ".hidden.png", ".git/y.png", "notes.txt", "b/._x.mp4"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    save(dicom(GREY), tmp_path / "c" / "1.2.840.1")
    save(dicom(GREY), tmp_path / "c" / "1.2.840.2")
    save(dicom(GREY[:1]), tmp_path / "c" / "IM0001")
    save(dicom(GREY[:1], Modality="CT"), tmp_path / "ct.dcm")
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
        "ct": ("ct.dcm", "dicom"),
        "text": ("text.dcm", "dicom"),
    }
    errors = {case["case"]: case["error"] for case in listed if "error" in case}
    assert set(errors) == {"ct", "text"}
    assert errors["ct"].startswith(f"{tmp_path / 'ct.dcm'}: an ultrasound bundle reads DICOM of modality US, got CT.")
    assert errors["text"].startswith(f"{tmp_path / 'text.dcm'}: cannot be read: ")


def test_names_stay_unique_whatever_they_clash_with(tmp_path: Path) -> None:
    for name in ("x.mp4", "x.png", "x_png.jpg", "x_png.bmp"):
        (tmp_path / name).write_bytes(b"x")
    names = [case["case"] for case in inference_cases(tmp_path)]
    assert len(set(names)) == 4


def test_include_exclude_and_single_files(tmp_path: Path) -> None:
    for name in ("convex/a.mp4", "convex/b.png", "linear/a.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    names = lambda **options: [case["case"] for case in inference_cases(tmp_path, **options)]  # noqa: E731
    assert names(include="convex/*") == ["convex/a", "convex/b"]
    assert names(exclude="*/b,linear/*") == ["convex/a"]
    assert names(include=["*/b", "linear/*"]) == ["convex/b", "linear/a"]
    (case,) = inference_cases(tmp_path / "convex" / "a.mp4")
    assert case == {"case": "a", "image": tmp_path / "convex" / "a.mp4", "kind": "clip"}
    with pytest.raises(
        FileNotFoundError, match=r"3 files, 3 of them pictures or clips, none left by include='z'.*\.mp4"
    ):
        inference_cases(tmp_path, include="z")
    with pytest.raises(FileNotFoundError, match="No such folder"):
        inference_cases(tmp_path / "none")


def test_frames_that_an_edit_list_hides_are_no_damage(tmp_path: Path) -> None:
    """As phones trim: all frames are in the file, and the first eight are not shown."""
    source = write_clip(tmp_path / "whole.mp4", [ramp(step) for step in range(20)], "libx264", options={"crf": "5"})
    options = {"avoid_negative_ts": "disabled"}
    with av.open(str(source)) as whole, av.open(str(tmp_path / "a.mp4"), "w", options=options) as trimmed:
        stream = trimmed.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.dts is not None and packet.pts is not None and packet.time_base is not None:
                shift = int(8 / 25 / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, stream
                trimmed.mux(packet)
    found = list(frames(tmp_path / "a.mp4"))
    assert len(found) == 12
    assert found[0].seconds == 0
    assert abs(int(found[0].pixels[60, 48]) - 80) <= 2, "the band of the ninth"


def test_a_dicom_directory_is_no_case(tmp_path: Path) -> None:
    save(dicom(GREY), tmp_path / "IM1")
    listing = dicom(GREY)
    del listing.PixelData, listing.Modality
    listing.SOPClassUID = listing.file_meta.MediaStorageSOPClassUID = pydicom.uid.MediaStorageDirectoryStorage
    save(listing, tmp_path / "DICOMDIR")
    assert [case["case"] for case in inference_cases(tmp_path)] == ["IM1"]


def test_one_bad_file_harms_no_other(tmp_path: Path) -> None:
    Image.fromarray(ramp(1)).save(tmp_path / "a.png")
    (tmp_path / "b.mp4").write_text("text")
    write_clip(tmp_path / "c.avi", [ramp(step) for step in range(4)])
    save(dicom(GREY, Modality="MR"), tmp_path / "d.dcm")
    save(dicom(GREY), tmp_path / "e")
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
            assert str(error).startswith(f"{case['image']}: ")
            failed.add(case["case"])
    assert counts == {"a": 1, "c": 4, "e": 5, "g": 2}
    assert failed == {"b", "d", "f"}


# Real clips


@pytest.mark.slow
def test_real_clips_have_the_frames_they_are_known_to_have(real_data: Callable[[str], Path]) -> None:
    root = real_data("lus_pocus_ccby")
    with open(root / "manifest.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(inference_cases(root, include="videos/*,images/*")) == len(rows) == 52
    differences = []
    for row in rows:
        count, middle = 0, None
        for frame in frames(root / row["file"]):
            count += 1
            if frame.index == int(row["n_frames"]) // 2:
                middle = frame.pixels
            assert frame.pixels.shape == (int(row["height"]), int(row["width"]))
        assert count == int(row["n_frames"]), row["file"]
        if row["mid_frame"]:
            assert middle is not None
            expected = np.asarray(Image.open(root / row["mid_frame"])).astype(float)
            differences.append(np.abs(middle - expected).mean())
    # The pictures were made by libav's default conversion, which is up to 1.2 grey levels darker on average
    assert max(differences) < 1.5


def test_the_size_of_a_matroska_file_is_read_from_its_head(tmp_path: Path) -> None:
    """A clip that was written live states no size, and is whole wherever it ends."""
    path = write_clip(tmp_path / "a.mkv", [ramp(step) for step in range(8)], container={"live": "1"})
    assert len(pixels_of(path)) == 8
    assert struct.unpack(">I", path.read_bytes()[:4])[0] == 0x1A45DFA3
