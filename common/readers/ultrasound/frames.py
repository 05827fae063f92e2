"""Read ultrasound images, clips and DICOM frame by frame, upright, as 8-bit grey levels."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# At the top, not inside functions: MONAI Label unloads a bundle's modules between steps, and later imports would fail
from ..images import coloured, luminance, read_image
from ..isolated import Isolated
from ..reasons import cause
from ..refused import Refused
from .clips import clip_frames
from .dicom_frames import dicom_frames
from .formats import FORMATS, existing, kind_of
from .lazy_frame import LazyFrame

logger = logging.getLogger(__name__)

TOLERANCE = 6e-4  # seconds, because Matroska rounds the time of a frame to milliseconds
NOTEWORTHY = 0.01  # share of coloured pixels


class Frame(NamedTuple):
    """One frame of an image or clip.

    Attributes:
        index: position in the file, from 0.
        seconds: time since the first frame; 0 for images, NaN where a multi-frame DICOM file states no rate.
        pixels: uint8 (rows, columns), grey levels 0 (black) to 255 (white); depth grows with the row.
    """

    index: int  # type: ignore[assignment]  # hides the method of tuples
    seconds: float
    pixels: np.ndarray


class Sampler:
    """Select frames: the first, then the first one at or after each step of 1 / rate.

    Args:
        rate: frames per second; None selects every frame.
    """

    def __init__(self, rate: float | None) -> None:
        self.rate = rate
        self.step = 0

    def __call__(self, seconds: float) -> bool:
        """Whether the frame at this time is selected. Frames come in order of time; those without a time always are."""
        if self.rate is None or math.isnan(seconds):
            return True
        passed = (seconds + TOLERANCE) * self.rate
        if passed < self.step:
            return False
        self.step = math.floor(passed) + 1
        return True


def frames(
    path: str | Path, frames_per_second: float | None = None, crop: Sequence[int] | None = None
) -> Iterator[Frame]:
    """Read an ultrasound image, clip or DICOM file frame by frame; a clip is decoded once, from first to last.

    Colours become luminance (ITU-R BT.601) and transparent pixels become black. Images and clips are turned upright by
    the rotation that they state. DICOM that states its tissue regions is cropped to the box around them.

    Args:
        path: the file; ``formats.py`` lists the suffixes.
        frames_per_second: sampling rate: the first frame, then the first at or after each step, by presentation time.
            None gives every frame, as does a rate above the file's own.
        crop: top, bottom, left, right: pixels to crop from each side, instead of the region that a DICOM file states.

    Yields:
        Frames in order of time, all of the same size.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when the file cannot be read, is not ultrasound, does not have 8 bits per sample, or ``crop`` leaves
            nothing. The message names the file. For a clip that is damaged part-way, it is raised after the frames
            before the damage.

    Example:
        >>> for frame in frames("clip.mp4", frames_per_second=3):
        ...     print(frame.index, frame.seconds, frame.pixels.shape)
    """
    path = existing(path)
    try:
        _check(path, frames_per_second, crop)
        lazy_frames, region = _open(path)
        yield from _convert(path, lazy_frames, Sampler(frames_per_second), crop if crop is not None else region)
    except Refused as error:
        raise ValueError(f"{path}: {error}") from error
    except Exception as error:  # decoders raise dozens of types; the user needs the file and the reason
        raise ValueError(
            f"{path}: cannot be read: {cause(error)} Check that it opens in a viewer, and that its suffix states "
            "its format."
        ) from error


def isolated_frames(
    reader: Isolated, path: str | Path, frames_per_second: float | None = None, crop: Sequence[int] | None = None
) -> Iterator[tuple[Frame, list[str]]]:
    """Read as ``frames`` does, in a process of its own, so that a decoder that crashes or hangs loses one file.

    Args:
        reader: starts the process.
        path: the file.
        frames_per_second: see ``frames``.
        crop: see ``frames``.

    Yields:
        Frames, each with what libraries have warned of until then.

    Raises:
        FileNotFoundError: as ``frames`` does.
        ValueError: as ``frames`` does, and when the process crashed, hung or needed too much memory.
    """
    options = {"frames_per_second": frames_per_second, "crop": None if crop is None else [*crop]}
    try:
        for pixels, index, seconds, meta in reader.run(_sent.__module__, _sent.__name__, str(path), **options):
            for level, message in meta["logged"]:
                logger.log(level, message)
            yield Frame(index, seconds, pixels), meta.get("library_notes", [])
    except ValueError as error:
        raise ValueError(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from error


def _sent(path: str, **options: Any) -> Iterator[tuple[np.ndarray, int, float, dict[str, Any]]]:
    """Frames as the process sends them, with what this package has logged since the frame before."""
    log = logging.getLogger(__package__)
    handler = _Logged()
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        for frame in frames(path, **options):
            yield frame.pixels, frame.index, frame.seconds, {"logged": handler.messages}
            handler.messages = []
    finally:
        log.removeHandler(handler)


class _Logged(logging.Handler):
    """Keeps messages with their levels."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[tuple[int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        self.messages.append((record.levelno, record.getMessage()))


def _check(path: Path, rate: float | None, crop: Sequence[int] | None) -> None:
    if rate is not None and not 0 < rate < math.inf:
        raise Refused(f"frames_per_second must be above 0, got {rate}. Use None for every frame.")
    if crop is not None and (len(crop) != 4 or any(int(side) != side or side < 0 for side in crop)):
        raise Refused(f"crop is [top, bottom, left, right] in whole pixels from 0, got {list(crop)}.")
    if path.stat().st_size == 0:
        raise Refused("an image or clip must hold data, got 0 bytes. Copy or export it again.")


def _open(path: Path) -> tuple[Iterator[LazyFrame], tuple[int, int, int, int] | None]:
    """Return the frames of a file, and the margins that it states for cropping."""
    kind = kind_of(path)
    if kind == "picture":
        return iter([LazyFrame(0.0, partial(read_image, path))]), None
    if kind == "clip":
        return clip_frames(path), None
    if kind == "dicom":
        return dicom_frames(path)
    raise Refused(f"unknown format {path.suffix!r}. Use {FORMATS}.")


def _convert(
    path: Path, lazy_frames: Iterator[LazyFrame], selected: Sampler, crop: Sequence[int] | None
) -> Iterator[Frame]:
    size = None
    for index, (seconds, pixels) in enumerate(lazy_frames):
        if not selected(seconds):
            continue
        values = _cropped(pixels(), crop)
        if size is None:
            size = values.shape[:2]
            _log_colours(path, values)
        if values.shape[:2] != size:
            raise Refused(
                f"all frames of a clip must have the same size, got {size[1]} x {size[0]}, then {values.shape[1]} x "
                f"{values.shape[0]} from frame {index} on. Split the clip there."
            )
        yield Frame(index, seconds, luminance(values))


def _cropped(pixels: np.ndarray, crop: Sequence[int] | None) -> np.ndarray:
    if crop is None:
        return pixels
    rows, columns = pixels.shape[:2]
    top, bottom, left, right = map(int, crop)
    if top + bottom >= rows or left + right >= columns:
        raise Refused(
            f"crop must leave at least one pixel, got [{top}, {bottom}, {left}, {right}] for {rows} rows and {columns} "
            "columns. Crop less."
        )
    return pixels[top : rows - bottom, left : columns - right]


def _log_colours(path: Path, pixels: np.ndarray) -> None:
    """Log once per file that colours are reduced to grey."""
    share = coloured(pixels)
    if share > NOTEWORTHY:
        logger.info(
            "%s: %.0f %% of the pixels are coloured (colour Doppler or annotations?): converted to luminance.",
            path,
            100 * share,
        )
