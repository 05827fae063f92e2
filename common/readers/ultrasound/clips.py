"""Ultrasound clips, decoded by libav (PyAV)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from ..refused import Refused
from .lazy_frame import LazyFrame

# Only the formats of the suffixes: libav would also follow playlists to other files
DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,avi,gif,mpeg,mpegvideo,mpegts,m4v,matroska,webm"
GUESSED_RATE = 25.0  # frames per second, for a file that states neither times nor rate
QUARTER = 100  # in the matrix of a 90-degree rotation, two entries exceed the others by more than this factor


class Damaged(Exception):
    """The rest of a clip cannot be read; the message says why."""


def clip_frames(path: Path) -> Iterator[LazyFrame]:
    """Decode the frames of a clip once, from first to last.

    Raises:
        Refused: when the clip cannot be opened or holds fewer than two frames, and after the readable frames of a
            damaged clip.
    """
    convert = Converter()
    with _opened(path) as clip:
        stream = _video_stream(clip)
        stated = 0 if clip.format.name == "gif" else stream.frames  # for gif, libav counts the frames that are there
        held_back: LazyFrame | None = None  # the first, until there is a second
        count = 0
        try:
            for seconds, frame in _timed(_intact(clip, stream, path), stream):
                count += 1
                lazy = LazyFrame(seconds, lambda frame=frame: convert(frame))  # type: ignore[misc]
                if count == 1:
                    held_back = lazy
                    continue
                if held_back:
                    yield held_back
                    held_back = None
                yield lazy
        except Damaged as error:
            if held_back:
                yield held_back
            share = f"{count} of {stated}" if stated > count else f"the first {count}"
            raise Refused(
                f"a clip must be complete, but only {share} frames could be read: {error} Copy or export it again."
            ) from error
        if count < 2:
            raise Refused(
                f"a clip has two frames or more, got {count}"
                + (
                    "; save it as png to have it read as an image."
                    if count
                    else ". It may be truncated: copy it again."
                )
            )


def _opened(path: Path) -> InputContainer:
    try:
        # An absolute path has no colon that libav would take for a protocol
        return av.open(
            str(path.resolve()),
            options={"format_whitelist": DEMUXERS, "protocol_whitelist": "file"},
            metadata_errors="replace",
        )
    except av.FFmpegError as error:
        raise Refused(
            f"a file of suffix {path.suffix} must hold a complete clip, but it cannot be opened ({error.strerror}): it "
            "has other content, or is truncated. Copy or export it again."
        ) from error


def _video_stream(clip: InputContainer) -> VideoStream:
    """Return the first video stream that is not a cover image."""
    for stream in clip.streams.video:
        if not stream.disposition & stream.disposition.attached_pic:
            if stream.codec_context is None:
                raise Refused("a clip must be in a known codec, got an unknown one. Export it as H.264.")
            return stream
    held = ", ".join(sorted({stream.type for stream in clip.streams})) or "nothing"
    raise Refused(f"a clip must hold video, got {held} only. It may be truncated: copy or export it again.")


def _intact(clip: InputContainer, stream: VideoStream, path: Path) -> Iterator[VideoFrame]:
    """Yield the frames before the first damage: later ones depend on the missing data, and libav would invent them."""
    stream.thread_type = "AUTO"
    stream.codec_context.options = {"err_detect": "explode"}  # report bit errors instead of concealing them
    # The index omits frames that an edit list hides; chunks of size 0 are dropped frames of an avi
    indexed = sum(entry.size > 0 for entry in stream.index_entries) if stream.frames else 0
    packets = 0
    cut = ""
    try:
        for packet in clip.demux(stream):
            if packet.is_corrupt:
                cut = "it ends within a frame."
                break
            packets += packet.size > 0
            for frame in packet.decode():
                yield _checked(frame)
        if cut:
            for frame in stream.decode(None):  # frames that the decoder still holds
                yield _checked(frame)
    except av.FFmpegError as error:
        raise Damaged(f"{error.strerror}.") from error
    if not cut and packets < indexed:
        cut = f"{indexed - packets} are missing."
    if cut or _ends_early(path):
        raise Damaged(cut or "it ends early.")


def _checked(frame: VideoFrame) -> VideoFrame:
    if frame.is_corrupt:
        raise Damaged("a frame is corrupt.")
    return frame


def _ends_early(path: Path) -> bool:
    """Whether a gif, avi or Matroska file is shorter than it states. Other formats show this in their index, or not."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(256)
        file.seek(max(0, size - 64))
        tail = file.read().rstrip(b"\0")
    if head.startswith(b"GIF8"):
        return not tail.endswith(b";")  # the trailer
    if head.startswith(b"RIFF"):
        return size < 8 + struct.unpack("<I", head[4:8])[0]
    if head.startswith(b"\x1a\x45\xdf\xa3"):  # EBML header
        header, start = _ebml_size(head, 4)
        at = start + header
        if head[at : at + 4] == b"\x18\x53\x80\x67":  # Segment, which holds everything
            segment, start = _ebml_size(head, at + 4)
            return 0 < segment > size - start
    return False


def _ebml_size(data: bytes, at: int) -> tuple[int, int]:
    """Read a Matroska size: the leading zeros of its first byte count the bytes that follow. Return it and its end."""
    length = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + length], "big") & ((1 << 7 * length) - 1)
    unknown = value == (1 << 7 * length) - 1  # all bits set: written live
    return 0 if unknown else value, at + length


def _timed(frames: Iterator[VideoFrame], stream: VideoStream) -> Iterator[tuple[float, VideoFrame]]:
    """Add the seconds since the first frame. The average rate replaces stamps that are missing or run backwards."""
    step = 1 / float(stream.average_rate or stream.guessed_rate or GUESSED_RATE)
    first: float | None = None
    seconds = -step
    for frame in frames:
        stamp = frame.time
        if first is None and stamp is not None:
            first = stamp - (seconds + step)
        stamped = stamp - first if stamp is not None and first is not None else seconds
        seconds = stamped if stamped > seconds else seconds + step
        yield seconds, frame


class Converter:
    """Convert the frames of one clip to upright RGB pixels.

    Conversion to RGB respects limited and full range and the colour matrix. Only full chroma interpolation rounds the
    result, which then equals the luma of grey clips; libav's default darkens by up to 3 grey levels.
    """

    def __init__(self) -> None:
        self.exact = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
        self.reformatter = VideoReformatter()  # one for all frames, because its tables are costly
        self.turn: Turn | None = None

    def __call__(self, frame: VideoFrame) -> np.ndarray:
        """uint8 (rows, columns, 3), or (rows, columns, 4) with opacity.

        Raises:
            Refused: for more than 8 bits per sample, or a rotation that is not a multiple of 90 degrees.
        """
        deepest = max(component.bits for component in frame.format.components)
        if deepest > 8:
            raise Refused(
                f"a clip must have 8 bits per sample, got {deepest} ({frame.format.name}). Export it as 8-bit."
            )
        if self.turn is None:
            # Once per clip: a frame whose side data were read stays in memory
            self.turn = _turn(frame)
        opacity = any(component.is_alpha for component in frame.format.components)
        layout = "rgba" if opacity else "rgb24"
        pixels = self.reformatter.reformat(frame, format=layout, interpolation=self.exact).to_ndarray()
        if self.turn.transposed:
            pixels = pixels.swapaxes(0, 1)
        return pixels[:: self.turn.rows, :: self.turn.columns]


class Turn(NamedTuple):
    """How to make a frame upright: transpose it, then step through rows and columns forwards (1) or backwards (-1)."""

    transposed: bool
    rows: int
    columns: int


def _turn(frame: VideoFrame) -> Turn:
    """Read the display matrix: (column, row) times the matrix is where a pixel is shown."""
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return Turn(False, 1, 1)
    a, b, _, c, d = np.frombuffer(data, np.int32)[:5].tolist()
    if min(abs(b), abs(c)) > QUARTER * max(abs(a), abs(d)):
        return Turn(True, 1 if b > 0 else -1, 1 if c > 0 else -1)
    if min(abs(a), abs(d)) > QUARTER * max(abs(b), abs(c)):
        return Turn(False, 1 if d > 0 else -1, 1 if a > 0 else -1)
    raise Refused(
        f"a clip must be upright or rotated by a multiple of 90 degrees, got {frame.rotation} degrees. Rotate it."
    )
