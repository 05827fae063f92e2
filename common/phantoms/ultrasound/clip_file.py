"""Writer of grey images as an mp4 file that keeps their grey levels."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

# Video stores brightness as 16..235 ("limited range", ITU-R BT.601), and no colour as 128.
BLACK, WHITE, NO_COLOUR = 16, 235, 128


def write_mp4(path: Path, images: Sequence[NDArray[np.uint8]], rate: float) -> None:
    """Write images as an H.264 clip.

    The file's bytes depend only on the images and the encoder's version: one thread, no time stamp.

    Args:
        path: file to write.
        images: uint8 (rows, columns), all of the same, even size.
        rate: frames per second.
    """
    rows, columns = images[0].shape
    with av.open(str(path), "w", container_options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1000))
        stream.width, stream.height, stream.pix_fmt = columns, rows, "yuv420p"
        # No macroblock tree: it reads uninitialised memory, which makes the bytes differ between runs.
        stream.options = {"crf": "18", "preset": "veryfast", "threads": "1", "x264-params": "mbtree=0"}
        stream.thread_count = 1
        for image in images:
            brightness = np.rint(BLACK + image * ((WHITE - BLACK) / 255)).astype(np.uint8)
            colour = np.full((rows // 2, columns), NO_COLOUR, np.uint8)
            frame = av.VideoFrame.from_ndarray(np.concatenate([brightness, colour]), format="yuv420p")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
