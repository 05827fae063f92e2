"""Grey pictures written as an mp4 file that keeps their grey levels."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

# Video stores brightness as 16..235 ("limited range", ITU-R BT.601); 128 is no colour.
BLACK, WHITE, NO_COLOUR = 16, 235, 128


def write_mp4(path: Path, pictures: Sequence[NDArray[np.uint8]], rate: float) -> None:
    """Writes pictures (rows, columns), uint8, even-sized and all alike, as H.264 with `rate` frames per second.

    The bytes depend on the pictures and on the encoder's version only: one thread, no time stamp.
    """
    rows, columns = pictures[0].shape
    with av.open(str(path), "w", container_options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1000))
        stream.width, stream.height, stream.pix_fmt = columns, rows, "yuv420p"
        # The encoder's macroblock tree reads memory that it has not set, so that the same pictures gave other bytes.
        stream.options = {"crf": "18", "preset": "veryfast", "threads": "1", "x264-params": "mbtree=0"}
        stream.thread_count = 1
        for picture in pictures:
            brightness = np.rint(BLACK + picture * ((WHITE - BLACK) / 255)).astype(np.uint8)
            colour = np.full((rows // 2, columns), NO_COLOUR, np.uint8)
            frame = av.VideoFrame.from_ndarray(np.concatenate([brightness, colour]), format="yuv420p")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
