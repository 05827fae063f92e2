"""Frames of a clip with their classes in colour, as an mp4."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .canvas import FILL
from .styles import ClassStyle

LEGEND = 26  # pixels, for the names of the classes below the frames
TICKS = 1000  # per second
UNTIMED = 10  # frames per second of a clip without times, such as some DICOM files


def painted(pixels: np.ndarray, mask: np.ndarray, styles: Sequence[ClassStyle]) -> np.ndarray:
    """A frame with its classes in colour.

    Args:
        pixels: uint8 grey levels (rows, columns).
        mask: values of the classes, same shape.
        styles: of the classes; background is not drawn.

    Returns:
        uint8 (rows, columns, 3).
    """
    colour, opacity = np.zeros((256, 3), np.float32), np.zeros((256, 1), np.float32)
    for style in styles:
        if style.name != "background":
            colour[style.value], opacity[style.value] = style.colour, FILL
    # Looking up grey level and value in a table is faster than mixing images of floating-point numbers
    grey = np.arange(256, dtype=np.float32)[:, None, None]
    table = (grey * (1 - opacity) + colour * opacity).round().astype(np.uint8)  # (grey level, value, 3)
    return table[pixels, mask]


class Captions:
    """Writes a line of text onto painted frames, and the names of the classes below them.

    Args:
        shape: rows and columns of the frames.
        styles: of the classes.
    """

    def __init__(self, shape: tuple[int, int], styles: Sequence[ClassStyle]) -> None:
        self.rows, self.columns = shape
        # Colour is stored for blocks of two by two pixels, so sizes must be even
        self.shape = self.rows + LEGEND + self.rows % 2, self.columns + self.columns % 2
        self.legend = self._legend(styles)

    def __call__(self, picture: np.ndarray, caption: str) -> np.ndarray:
        """The frame (rows, columns, 3), uint8, with its caption and the legend, (*shape, 3)."""
        image = Image.fromarray(np.pad(picture, ((0, 0), (0, self.columns % 2), (0, 0))))
        pen = ImageDraw.Draw(image)
        pen.text((6, 4), caption, fill="white", font=ImageFont.load_default(14), stroke_width=2, stroke_fill="black")
        return np.concatenate([np.asarray(image), self.legend])

    def _legend(self, styles: Sequence[ClassStyle]) -> np.ndarray:
        strip = Image.new("RGB", (self.shape[1], self.shape[0] - self.rows))
        pen, font, left = ImageDraw.Draw(strip), ImageFont.load_default(13), 6.0
        for style in styles:
            if style.name != "background":
                pen.text((left, 5), style.name, fill=style.colour, font=font)
                left += pen.textlength(style.name, font) + 14
        return np.asarray(strip)


class OverlayClip:
    """An mp4 of frames. It is written beside its place and renamed when it is complete.

    Args:
        path: of the mp4.
        shape: rows and columns of the frames, even.
    """

    def __init__(self, path: Path, shape: tuple[int, int]) -> None:
        self.path, self.part = path, path.with_name(f".{path.name}.part")
        self.container = av.open(str(self.part), "w", format="mp4")
        options = {"crf": "20", "preset": "veryfast", "tune": "zerolatency"}  # zerolatency keeps no frames in memory
        self.stream: Any = self.container.add_stream("libx264", rate=TICKS, options=options)
        self.stream.height, self.stream.width = shape
        self.stream.pix_fmt = "yuv420p"
        self.ticks = -1

    def append(self, picture: np.ndarray, seconds: float) -> None:
        """Add a frame.

        Args:
            picture: uint8 (rows, columns, 3).
            seconds: since the start of the clip; NaN if it is unknown.
        """
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        next_untimed = self.ticks + TICKS // UNTIMED
        self.ticks = next_untimed if np.isnan(seconds) else max(self.ticks + 1, round(seconds * TICKS))
        frame.pts, frame.time_base = self.ticks, Fraction(1, TICKS)
        self.container.mux(self.stream.encode(frame))

    def close(self, complete: bool) -> None:
        """Finish the file, or remove it if the clip is not complete."""
        if complete:
            self.container.mux(self.stream.encode())
        self.container.close()
        if complete:
            self.part.replace(self.path)
        else:
            self.part.unlink(missing_ok=True)
