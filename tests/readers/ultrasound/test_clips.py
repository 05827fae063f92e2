"""Clips of every format read back upright, as the grey levels that were written, at the times that were written."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from ultrasound_files import BEST, assert_near, corners, pixels_of, ramp, write_clip, write_gif

from common.datasets.ultrasound.folder import inference_cases
from common.readers.ultrasound.formats import CLIPS
from common.readers.ultrasound.frames import frames

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


def test_gif_reads_back_exactly_and_its_durations_count(tmp_path: Path) -> None:
    path = write_gif(tmp_path / "a.gif", [100, 300, 50, 50, 100])
    found = list(frames(path))
    for step, frame in enumerate(found):
        assert_near(frame.pixels, ramp(step))
    np.testing.assert_allclose([frame.seconds for frame in found], [0, 0.1, 0.4, 0.45, 0.5])
    assert [frame.index for frame in frames(path, 5)] == [0, 2], "at 0 s, and at or after 0.2 s"


@pytest.mark.parametrize("layout", ["yuv420p", "yuv422p", "yuv444p"])
def test_grey_levels_of_limited_range_clips_are_restored(tmp_path: Path, layout: str) -> None:
    """Lossless luma of limited range holds 219 steps, so half a step is all that may differ."""
    levels = np.rint(np.rint(ramp().astype(float) * 219 / 255) * 255 / 219)
    path = write_clip(tmp_path / "a.mkv", [ramp(), ramp()], "ffv1", layout, options={})
    pixels = pixels_of(path)[0]
    assert abs((pixels.astype(float) - levels).mean()) < 0.25
    assert_near(pixels, levels, mean=0.25, most=2)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotated_clips_are_read_upright(tmp_path: Path, degrees: int, mirrored: bool) -> None:
    path = write_clip(
        tmp_path / "a.mp4",
        [corners()] * 3,
        prepare=lambda stream: stream.set_display_rotation(degrees, mirrored, False),
    )
    expected = np.rot90(corners(), degrees // 90)  # counter-clockwise
    for pixels in pixels_of(path):
        assert_near(pixels, np.fliplr(expected) if mirrored else expected, mean=1, most=20)


def test_a_clip_rotated_by_45_degrees_is_refused(tmp_path: Path) -> None:
    path = write_clip(
        tmp_path / "a.mp4", [corners()] * 3, prepare=lambda stream: stream.set_display_rotation(45, False, False)
    )
    with pytest.raises(ValueError, match=r"a\.mp4: .*upright or rotated by a multiple of 90 degrees, got 45 degrees"):
        pixels_of(path)


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


def test_sampling_at_the_clips_own_rate_takes_every_frame_of_a_matroska_file(tmp_path: Path) -> None:
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
def test_frames_do_not_depend_on_the_number_of_threads(tmp_path: Path, threads: str) -> None:
    path = write_clip(tmp_path / "a.mp4", [ramp(step % 20) for step in range(50)], "libx264", options={"crf": "20"})
    with av.open(str(path)) as clip:
        clip.streams.video[0].thread_type = threads  # type: ignore[assignment]
        levels = [frame.to_ndarray(format="gray") for frame in clip.decode(video=0)]
    for level, pixels in zip(levels, pixels_of(path), strict=True):
        assert_near(pixels, level.astype(float), mean=0.1, most=1)


MEMORY = """
import sys
import av, psutil
from common.readers.ultrasound.frames import frames
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


@pytest.mark.slow
def test_real_clips_have_the_frames_of_their_manifest(real_data: Callable[[str], Path]) -> None:
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
    # The images were made by libav's default conversion, which is up to 1.2 grey levels darker on average
    assert max(differences) < 1.5
