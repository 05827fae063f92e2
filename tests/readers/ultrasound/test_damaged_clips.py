"""Truncated and damaged clips give their readable frames, then an error with the file's name."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from ultrasound_files import FIRST, assert_near, pixels_of, ramp, read_until_error, write_clip, write_gif

from common.readers.ultrasound.frames import frames


def test_clips_of_10_bits_are_refused(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mkv", [ramp()] * 2, "ffv1", "gray10le", options={})
    with pytest.raises(ValueError, match=r"a\.mkv: a clip must have 8 bits per sample, got 10"):
        pixels_of(path)


def test_playlists_are_not_followed(tmp_path: Path) -> None:
    write_clip(tmp_path / "other.mp4", [ramp()] * 3)
    (tmp_path / "a.mp4").write_text("ffconcat version 1.0\nfile other.mp4\n")
    with pytest.raises(ValueError, match=r"a\.mp4: a file of suffix \.mp4 must hold a complete clip"):
        pixels_of(tmp_path / "a.mp4")


def test_a_clip_of_one_frame_is_refused(tmp_path: Path) -> None:
    write_gif(tmp_path / "a.gif", [100])
    write_clip(tmp_path / "a.mp4", [ramp()])
    for name in ("a.gif", "a.mp4"):
        with pytest.raises(ValueError, match=rf"{name}: a clip has two frames or more, got 1; save it as png to have"):
            next(frames(tmp_path / name))


def test_a_clip_without_video_is_refused(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as clip:
        stream: Any = clip.add_stream("aac", rate=16000)
        stream.layout = "mono"
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16000
        clip.mux(stream.encode(sound))
        clip.mux(stream.encode(None))
    with pytest.raises(ValueError, match=r"a\.mp4: a clip must hold video, got audio only"):
        pixels_of(tmp_path / "a.mp4")


def test_a_clip_whose_frame_size_changes_is_refused(tmp_path: Path) -> None:
    first = write_clip(tmp_path / "first.mpg", [ramp()] * 5, "mpeg2video", format="mpeg2video").read_bytes()
    small = [ramp()[:32, :48]] * 5
    second = write_clip(tmp_path / "second.mpg", small, "mpeg2video", format="mpeg2video").read_bytes()
    (tmp_path / "a.mpg").write_bytes(first + second)
    with pytest.raises(
        ValueError, match=r"a\.mpg: all frames of a clip must have the same size, got 96 x 64, then 48 x 32"
    ):
        pixels_of(tmp_path / "a.mpg")


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
    assert message.startswith(f"{path}: a clip must be complete, but ")
    assert re.search(share, message), message
    assert capfd.readouterr().err == "", "libav is silent"


def test_an_mp4_without_its_index_cannot_be_opened(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", [ramp(step) for step in range(20)])  # the index, moov, comes last
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"moov") - 4])
    with pytest.raises(ValueError, match=r"a\.mp4: a file of suffix \.mp4 must hold a complete clip, but it cannot be"):
        pixels_of(path)
    path.write_bytes(content[:-700])  # the index is there in part
    with pytest.raises(ValueError, match=r"a\.mp4: a clip .* It may be truncated"):
        pixels_of(path)


def test_a_frame_that_cannot_be_decoded_ends_the_clip(tmp_path: Path) -> None:
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


def test_gaps_in_a_recording_are_accepted(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.avi", [ramp(step) for step in range(12)], times=[*range(6), *range(10, 16)])
    seconds = [frame.seconds for frame in frames(path)]
    np.testing.assert_allclose(seconds, np.array([*range(6), *range(10, 16)]) / 25, atol=1e-6)


def test_frames_hidden_by_an_edit_list_are_skipped_without_an_error(tmp_path: Path) -> None:
    """A clip trimmed on a phone: the file holds all frames, and the first eight are not shown."""
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


def test_a_matroska_file_without_a_stated_size_is_read(tmp_path: Path) -> None:
    """A live recording states no size; it is complete wherever it ends."""
    path = write_clip(tmp_path / "a.mkv", [ramp(step) for step in range(8)], container={"live": "1"})
    assert len(pixels_of(path)) == 8
    assert struct.unpack(">I", path.read_bytes()[:4])[0] == 0x1A45DFA3
