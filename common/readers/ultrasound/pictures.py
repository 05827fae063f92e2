"""Single ultrasound images: png, jpg, bmp, tif."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from ...files import reason
from .formats import Refused
from .lazy_frame import LazyFrame

DEEP = ("1", "I", "F")  # Pillow's modes of 1 bit, integers and floats; the 16-bit modes start with I


def picture_frame(path: Path) -> LazyFrame:
    """Read an image, turned upright by its EXIF orientation.

    Raises:
        Refused: for a depth other than 8 bits per sample, several pages, another kind of file, or a damaged one.
    """
    try:
        # By content: a JPEG named .png is harmless. Pillow's many other formats are not expected
        with Image.open(path, formats=("PNG", "JPEG", "BMP", "TIFF")) as picture:
            _refuse_other_than_8_bit(picture)
            pages = getattr(picture, "n_frames", 1)
            if pages > 1 and picture.format != "MPO":  # a JPEG followed by a preview, as some cameras write
                raise Refused(
                    f"an image file must hold one image, got {pages} pages. Save them as a clip or as single images."
                )
            has_opacity = picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info
            upright = ImageOps.exif_transpose(picture)
            if upright.mode != "L" or has_opacity:
                upright = upright.convert("RGBA" if has_opacity else "RGB")
            pixels = np.array(upright)
    except UnidentifiedImageError as error:
        raise Refused(
            f"a file of suffix {path.suffix} must hold a png, jpeg, bmp or tiff image, got other content. Rename or "
            "export it again."
        ) from error
    except Refused:
        raise
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error and others
        raise Refused(
            f"an image must be complete, got a damaged one: {reason(error)} Copy or export it again."
        ) from error
    return LazyFrame(0.0, lambda: pixels)


def _refuse_other_than_8_bit(picture: ImageFile) -> None:
    """Check the layout in the file as well, because Pillow silently reduces 16-bit colours to 8 bits."""
    arguments = picture.tile[0][3] if picture.tile else ""
    layout = arguments if isinstance(arguments, str) else str((arguments or ("",))[0])  # such as L;4 or RGB;16B
    bits = re.search(r";(\d+)", layout)
    indices = picture.mode in ("P", "PA")  # of any depth: their colours have 8 bits
    if picture.mode.startswith(DEEP) or (bits and not indices and bits[1] != "8"):
        got = layout if bits else picture.mode
        raise Refused(
            f"an image must have 8 bits per sample, got {got}. Convert it to 8-bit grey levels as the device shows "
            "them."
        )
