"""Small copies of pictures that a page holds."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

logger = logging.getLogger(__name__)

ALL, LARGEST = 3_000_000, 40_000  # bytes of all small copies, and of one: a page of 200 cases stays below 5 MB
WIDTHS = (640, 480, 400, 320, 240, 160)  # pixels; the first that is small enough


@dataclass(frozen=True)
class Small:
    """A small copy: its data as a URI, and its size in pixels."""

    uri: str
    width: int
    height: int


def small_copies(paths: Sequence[Path], most: int = ALL, largest: int = LARGEST) -> dict[Path, Small]:
    """JPEG copies of pictures, as wide as their number allows.

    A picture that is missing or cannot be read has none; the log names it.

    Args:
        paths: of the pictures.
        most: bytes of all copies together; exceeded only if even the narrowest copies do.
        largest: bytes of one copy.
    """
    found: dict[Path, Small] = {}
    for path in paths:
        try:
            with Image.open(path) as picture:
                found[path] = _small(picture.convert("RGB"), min(largest, most // len(paths)))
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            logger.warning("%s: it cannot be shown in the report: %s", path, error)
    return found


def _small(picture: Image.Image, budget: int) -> Small:
    content = b""
    for width in WIDTHS:
        if picture.width > width:
            height = max(1, round(picture.height * width / picture.width))
            picture = picture.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3)
        elif content and picture.width < width:
            continue  # as it was before
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=74, optimize=True)
        content = file.getvalue()
        if len(content) <= budget:
            break
    return Small(f"data:image/jpeg;base64,{base64.b64encode(content).decode()}", picture.width, picture.height)
