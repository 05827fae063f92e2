"""Images as files: png, jpg, bmp, tif, webp."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from .reasons import cause
from .refused import Refused

DENSEST = 512  # pixels per byte that JPEG can hold; libjpeg fills what is lacking with grey
ORIENTATION = 0x0112  # tag of EXIF and tif
DEEP = ("1", "I", "F")  # Pillow's modes of 1 bit, integers and floats; the 16-bit modes start with I
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")


def read_image(path: Path) -> np.ndarray:
    """Read an image, turned upright by its EXIF orientation; palettes become their colours.

    Returns:
        uint8: grey (rows, columns), colours (rows, columns, 3), or colours and opacity (rows, columns, 4).

    Raises:
        Refused: for a depth other than 8 bits per sample, several pages, another kind of file, or a damaged one.
    """
    try:
        # By content: a JPEG named .png is harmless. Pillow's many other formats are not expected
        with Image.open(path, formats=FORMATS) as picture:
            _refuse_other_than_8_bit(picture)
            orientation = picture.getexif().get(ORIENTATION, 1)
            if picture.format == "TIFF" and orientation != 1:  # Pillow 13 mixes the pixels of such files
                raise Refused(f"a tif image must be stored upright, got orientation {orientation}. Save it upright.")
            pages = getattr(picture, "n_frames", 1)
            if pages > 1 and picture.format != "MPO":  # a JPEG followed by a preview, as some cameras write
                raise Refused(
                    f"an image file must hold one image, got {pages} pages. Save them as a clip or as single images."
                )
            if picture.format == "JPEG" and picture.width * picture.height > DENSEST * path.stat().st_size:
                raise Refused(
                    f"an image must hold all its pixels, got too few bytes for {picture.width} x {picture.height}. "
                    "Copy or export it again."
                )
            has_opacity = picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info
            upright = ImageOps.exif_transpose(picture)
            if upright.mode != "L" or has_opacity:
                upright = upright.convert("RGBA" if has_opacity else "RGB")
            pixels = np.array(upright)
    except UnidentifiedImageError as error:
        raise Refused(
            f"a file of suffix {path.suffix} must hold a png, jpeg, bmp, tiff or webp image, got other content. "
            "Rename or export it again."
        ) from error
    except Refused:
        raise
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error and others
        raise Refused(
            f"an image must be complete, got a damaged one: {cause(error)} Copy or export it again."
        ) from error
    return pixels


def luminance(pixels: np.ndarray) -> np.ndarray:
    """Convert colours to grey: 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), rounded.

    Args:
        pixels: uint8, grey (rows, columns), RGB (rows, columns, 3), or RGB and opacity (rows, columns, 4), over black.

    Returns:
        uint8 (rows, columns), a copy.
    """
    if pixels.ndim == 2:
        return np.array(pixels)
    # Pillow's conversion to grey is this formula
    grey = np.array(Image.fromarray(np.ascontiguousarray(pixels[..., :3])).convert("L"))
    if pixels.shape[2] == 4 and (pixels[..., 3] < 255).any():
        # Pixels below are arbitrary (white in gif) and no viewer shows them; black is the background of the images
        grey = np.rint(grey * (pixels[..., 3] / np.float32(255))).astype(np.uint8)
    return grey


def coloured(pixels: np.ndarray, difference: int = 40) -> float:
    """Return the share of pixels whose channels differ by more grey levels than lossy compression causes."""
    if pixels.ndim == 2:
        return 0.0
    colours = pixels[..., :3].astype(np.int16)
    return float((colours.max(-1) - colours.min(-1) > difference).mean())


def read_indices(path: Path) -> np.ndarray:
    """Read a label image as integers (rows, columns): grey levels or palette indices, as stored.

    Raises:
        Refused: when it is not an image, or holds colours.
    """
    try:
        with Image.open(path, formats=FORMATS) as picture:
            mode, pixels = picture.mode, np.asarray(picture)
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error and others
        what = (
            "it holds no png, jpeg, bmp, tiff or webp" if isinstance(error, UnidentifiedImageError) else "it is damaged"
        )
        raise Refused(f"cannot be read as an image: {what}. Copy it again, or save it again as png.") from error
    if mode not in ("L", "P", "1"):
        raise Refused(f"a label image must hold one index per pixel, got mode {mode}. Save indices instead of colours.")
    return pixels.astype(np.int64)


def _refuse_other_than_8_bit(picture: ImageFile) -> None:
    """Check the layout in the file as well, because Pillow silently reduces 16-bit colours to 8 bits."""
    arguments = picture.tile[0][3] if picture.tile else ""
    layout = arguments if isinstance(arguments, str) else str((arguments or ("",))[0])  # such as L;4 or RGB;16B
    bits = re.search(r";(\d+)", layout)
    if picture.mode == "CMYK":
        raise Refused("an image must hold grey levels or RGB, got CMYK, the colours of a printer. Convert it.")
    indices = picture.mode in ("P", "PA")  # of any depth: their colours have 8 bits
    if picture.mode.startswith(DEEP) or (bits and not indices and bits[1] != "8"):
        got = layout if bits else picture.mode
        raise Refused(
            f"an image must have 8 bits per sample, got {got}. Convert it to 8-bit grey levels as they are displayed."
        )
