"""Single pictures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...files import reason
from .formats import Refused
from .lazy_frame import LazyFrame

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

DEEP = ("1", "I", "F")  # Pillow's modes of one bit, of integers, of real numbers; I;16 and its kin start with I


def picture_frame(path: Path) -> LazyFrame:
    """The one frame of a picture, upright as its EXIF orientation says.

    Raises:
        Refused: for other than 8 bits a sample, for several pages, when it is no picture, or truncated.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        # By content: JPEG named .png is harmless; of the many other formats of Pillow none is expected
        with Image.open(path, formats=("PNG", "JPEG", "BMP", "TIFF")) as picture:
            _refuse_other_than_8_bit(picture)
            pages = getattr(picture, "n_frames", 1)
            if pages > 1 and picture.format != "MPO":  # JPEG with a preview behind it, as some cameras write
                raise Refused(
                    f"a picture file must hold one picture, got {pages} pages. Save them as a clip or as single "
                    "pictures."
                )
            has_opacity = picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info
            upright = ImageOps.exif_transpose(picture)
            if upright.mode != "L" or has_opacity:
                upright = upright.convert("RGBA" if has_opacity else "RGB")
            pixels = np.array(upright)
    except UnidentifiedImageError as error:
        raise Refused(
            f"a file of suffix {path.suffix} must hold a png, jpeg, bmp or tiff picture, got other content. Rename or "
            "export it again."
        ) from error
    except Refused:
        raise
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error and others
        raise Refused(
            f"a picture must be whole, got a damaged one: {reason(error)} Copy or export it again."
        ) from error
    return LazyFrame(0.0, lambda: pixels)


def _refuse_other_than_8_bit(picture: ImageFile) -> None:
    """Pillow cuts 16-bit colours to 8 without a word, so the layout of the file is asked too."""
    arguments = picture.tile[0][3] if picture.tile else ""
    layout = arguments if isinstance(arguments, str) else str((arguments or ("",))[0])  # such as L;4 or RGB;16B
    bits = re.search(r";(\d+)", layout)
    indices = picture.mode in ("P", "PA")  # of any depth: the colours they stand for are of 8 bits
    if picture.mode.startswith(DEEP) or (bits and not indices and bits[1] != "8"):
        got = layout if bits else picture.mode
        raise Refused(
            f"a picture must have 8 bits per sample, got {got}. Convert it to 8-bit grey levels as the device shows "
            "them."
        )
