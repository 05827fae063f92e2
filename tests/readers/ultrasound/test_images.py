"""Single images read back as the grey levels that were written; damaged ones are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from ultrasound_files import COLUMNS, ROWS, assert_near, corners, luma, pixels_of, ramp

from common.readers.ultrasound.frames import frames

LOSSLESS = [(suffix, mode) for suffix in ("png", "tif", "tiff") for mode in ("L", "P", "LA", "RGB", "RGBA")]
LOSSLESS += [("bmp", mode) for mode in ("L", "P", "RGB", "RGBA")]  # which has no grey with opacity


@pytest.mark.parametrize(("suffix", "mode"), LOSSLESS)
def test_lossless_images_read_back_exactly(tmp_path: Path, suffix: str, mode: str) -> None:
    Image.fromarray(ramp()).convert(mode).save(tmp_path / f"a.{suffix}")
    (frame,) = frames(tmp_path / f"a.{suffix}")
    assert (frame.index, frame.seconds) == (0, 0.0)
    assert_near(frame.pixels, ramp())
    assert frame.pixels.flags.writeable


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "JPG"])
def test_jpeg_images_keep_the_grey_range(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(ramp()).save(tmp_path / f"a.{suffix}", format="JPEG", quality=95)
    (pixels,) = pixels_of(tmp_path / f"a.{suffix}")
    assert_near(pixels, ramp(), mean=1, most=6)
    assert pixels[:40, 0].max() <= 2
    assert pixels[:40, -1].min() >= 253


def test_colours_become_luminance(tmp_path: Path, rng: np.random.Generator, caplog: pytest.LogCaptureFixture) -> None:
    rgb = rng.integers(0, 256, (ROWS, COLUMNS, 3)).astype(np.uint8)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    (pixels,) = pixels_of(tmp_path / "a.png")
    assert_near(pixels, luma(rgb), mean=0.3, most=0.51)
    palette = Image.fromarray(rgb).quantize(256)  # enough colours for the mean of what rounding makes of them
    palette.save(tmp_path / "palette.png")
    (pixels,) = pixels_of(tmp_path / "palette.png")
    assert_near(pixels, luma(np.asarray(palette.convert("RGB"))), mean=0.3, most=0.51)


def test_transparent_pixels_are_black(tmp_path: Path) -> None:
    rgba = np.full((ROWS, COLUMNS, 4), 255, np.uint8)
    rgba[:, 10:, :3], rgba[:, :10, 3] = 80, 0
    Image.fromarray(rgba).save(tmp_path / "a.png")
    (pixels,) = pixels_of(tmp_path / "a.png")
    assert (pixels[:, :10] == 0).all()
    assert (pixels[:, 10:] == 80).all()


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (2, np.fliplr),
        (3, lambda stored: np.rot90(stored, 2)),
        (4, np.flipud),
        (6, lambda stored: np.rot90(stored, -1)),
        (8, np.rot90),
    ],
)
def test_rotated_images_are_read_upright(
    tmp_path: Path, orientation: int, turn: Callable[[np.ndarray], np.ndarray]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(corners()).save(tmp_path / "a.jpg", exif=exif, quality=95)
    (pixels,) = pixels_of(tmp_path / "a.jpg")
    assert_near(pixels, turn(corners()), mean=1, most=20)


@pytest.mark.parametrize(
    ("name", "picture", "got"),
    [
        ("a.png", Image.fromarray(np.full((4, 4), 40000, np.uint16)), "I;16"),
        ("a.tif", Image.fromarray(np.full((4, 4), 40000, np.uint16)), "I;16"),
        ("a.tiff", Image.fromarray(np.full((4, 4), 0.5, np.float32)), "F"),
        ("a.tif", Image.fromarray(np.full((4, 4), 7, np.int32)), "I"),
        ("a.png", Image.fromarray(np.eye(4) > 0), "1"),
        ("a.bmp", Image.fromarray(np.eye(4) > 0), "1"),
    ],
)
def test_images_of_other_than_8_bits_are_refused(tmp_path: Path, name: str, picture: Image.Image, got: str) -> None:
    picture.save(tmp_path / name)
    with pytest.raises(ValueError, match=rf"{name}: an image must have 8 bits per sample, got {got}"):
        pixels_of(tmp_path / name)


def test_16_bit_colours_are_refused_although_pillow_would_reduce_them_to_8(tmp_path: Path) -> None:
    frame = av.VideoFrame.from_ndarray(np.full((8, 8, 3), 40000, np.uint16), format="rgb48le")
    coder: Any = av.CodecContext.create("png", "w")
    coder.width, coder.height, coder.pix_fmt, coder.time_base = 8, 8, "rgb48be", Fraction(1)
    (packet,) = coder.encode(frame.reformat(format="rgb48be"))
    (tmp_path / "a.png").write_bytes(bytes(packet))
    with pytest.raises(ValueError, match=r"a\.png: an image must have 8 bits per sample, got RGB;16B"):
        pixels_of(tmp_path / "a.png")


def test_images_of_several_pages_are_refused(tmp_path: Path) -> None:
    pages = [Image.fromarray(ramp(step)) for step in range(3)]
    for name in ("a.tif", "a.png"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
        with pytest.raises(ValueError, match=r"must hold one image, got 3 pages\. Save them as a clip or as single"):
            pixels_of(tmp_path / name)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.bmp"])
def test_truncated_images_are_refused(tmp_path: Path, name: str) -> None:
    Image.fromarray(ramp()).save(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=rf"{name}: (an image must be complete, got a damaged one|a file of suffix)"):
        pixels_of(tmp_path / name)
