"""Clips, decoded by libav."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .formats import Refused
from .lazy_frame import LazyFrame

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# Only what the suffixes stand for: libav would also follow playlists to other files
DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,avi,gif,mpeg,mpegvideo,mpegts,m4v,matroska,webm"
GUESSED_RATE = 25.0  # frames per second of a file that states neither times nor rate
QUARTER = 100  # in the matrix of a quarter turn, two entries are larger than the others by more than this factor


class Damaged(Exception):
    """What is wrong with the rest of a clip."""


def clip_frames(path: Path) -> Iterator[LazyFrame]:
    """The frames of a clip, decoded once, front to back.

    Raises:
        Refused: when it cannot be opened, holds no pictures, or one only, and after the readable frames of a damaged
            clip.
    """
    convert = Converter()
    with _opened(path) as clip:
        stream = _pictures_of(clip)
        stated = 0 if clip.format.name == "gif" else stream.frames  # for gif, libav counts what is there
        held_back: LazyFrame | None = None  # the first, until there is a second
        count = 0
        try:
            for seconds, frame in _timed(_intact(clip, stream, path), stream):
                count += 1
                shot = LazyFrame(seconds, lambda frame=frame: convert(frame))  # type: ignore[misc]
                if count == 1:
                    held_back = shot
                    continue
                if held_back:
                    yield held_back
                    held_back = None
                yield shot
        except Damaged as error:
            if held_back:
                yield held_back
            share = f"{count} of {stated}" if stated > count else f"the first {count}"
            raise Refused(
                f"a clip must be whole, but only {share} frames could be read: {error} Copy or export it again."
            ) from error
        if count < 2:
            raise Refused(
                f"a clip has two frames or more, got {count}"
                + (
                    "; save it as png to have it read as a picture."
                    if count
                    else ". It may be cut short: copy it again."
                )
            )


def _opened(path: Path) -> InputContainer:
    import av

    try:
        # An absolute path has no colon that libav would take for a protocol
        return av.open(str(path.resolve()), options={"format_whitelist": DEMUXERS, "protocol_whitelist": "file"})
    except av.FFmpegError as error:
        raise Refused(
            f"a file of suffix {path.suffix} must hold a whole clip, got what cannot be opened ({error.strerror}): "
            "other content, or cut short. Copy or export it again."
        ) from error


def _pictures_of(clip: InputContainer) -> VideoStream:
    """The first video stream that is no cover picture."""
    for stream in clip.streams.video:
        if not stream.disposition & stream.disposition.attached_pic:
            return stream
    held = ", ".join(sorted({stream.type for stream in clip.streams})) or "nothing"
    raise Refused(f"a clip must hold moving pictures, got {held} only. It may be cut short: copy or export it again.")


def _intact(clip: InputContainer, stream: VideoStream, path: Path) -> Iterator[VideoFrame]:
    """Frames up to the first damage: those after it build on what is missing, and libav would make them up."""
    import av

    stream.thread_type = "AUTO"
    stream.codec_context.options = {"err_detect": "explode"}  # a bit error is an error, and is not painted over
    # The index leaves out what an edit list hides; chunks of size 0 are the dropped frames of an avi
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
                yield _whole(frame)
        if cut:
            for frame in stream.decode(None):  # what the decoder still holds
                yield _whole(frame)
    except av.FFmpegError as error:
        raise Damaged(f"{error.strerror}.") from error
    if not cut and packets < indexed:
        cut = f"{indexed - packets} are missing."
    if cut or _ends_early(path):
        raise Damaged(cut or "it ends early.")


def _whole(frame: VideoFrame) -> VideoFrame:
    if frame.is_corrupt:
        raise Damaged("a frame is corrupt.")
    return frame


def _ends_early(path: Path) -> bool:
    """Whether a gif, avi or Matroska file is shorter than it says; others tell by their index or not at all."""
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
    """A size as Matroska writes it and where it ends: the leading zeros of the first byte count the bytes to follow."""
    length = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + length], "big") & ((1 << 7 * length) - 1)
    unknown = value == (1 << 7 * length) - 1  # all bits set: written live
    return 0 if unknown else value, at + length


def _timed(frames: Iterator[VideoFrame], stream: VideoStream) -> Iterator[tuple[float, VideoFrame]]:
    """Seconds since the first frame; where time stamps are missing or run back, the average rate goes on."""
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
    """Makes upright RGB pixels of the frames of one clip.

    By way of RGB, since that minds limited and full range and the colour matrix. Only with full chroma interpolation
    is the result rounded, and equals the luma of grey clips; libav's default darkens by up to 3 grey levels.
    """

    def __init__(self) -> None:
        from av.video.reformatter import Interpolation, VideoReformatter

        self.exact = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
        self.reformatter = VideoReformatter()  # one for all frames: its tables are costly
        self.turn: Turn | None = None

    def __call__(self, frame: VideoFrame) -> np.ndarray:
        """uint8 (rows, columns, 3), or (rows, columns, 4) with opacity.

        Raises:
            Refused: for more than 8 bits a sample, or a frame turned by other than quarters.
        """
        deepest = max(component.bits for component in frame.format.components)
        if deepest > 8:
            raise Refused(
                f"a clip must have 8 bits per sample, got {deepest} ({frame.format.name}). Export it as 8-bit."
            )
        if self.turn is None:
            # Once a clip: a frame that was asked for its side data holds itself, and stays in memory
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
    """From the display matrix: (column, row) times the matrix is where a pixel is shown."""
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return Turn(False, 1, 1)
    a, b, _, c, d = np.frombuffer(data, np.int32)[:5].tolist()
    if min(abs(b), abs(c)) > QUARTER * max(abs(a), abs(d)):
        return Turn(True, 1 if b > 0 else -1, 1 if c > 0 else -1)
    if min(abs(a), abs(d)) > QUARTER * max(abs(b), abs(c)):
        return Turn(False, 1 if d > 0 else -1, 1 if a > 0 else -1)
    raise Refused(
        f"a clip must lie upright or be turned by quarters, got a rotation of {frame.rotation} degrees. Turn it."
    )
