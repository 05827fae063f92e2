"""CT images of every usual kind are read as they are displayed, or refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from common.readers.ct import read

GREY = np.arange(120, dtype=np.uint8).reshape(10, 12) * 2


def levels(path: Path, **options: Any) -> np.ndarray:
    """Grey levels (rows, columns)."""
    return read(path, **options)[0, :, :, 0].numpy()


def test_every_form_of_an_image_gives_the_grey_levels_that_are_displayed(tmp_path: Path) -> None:
    image = Image.fromarray(GREY)
    shuffled = np.random.default_rng(3).permutation(256).astype(np.uint8)  # index of each grey level
    palette = np.zeros((256, 3), np.uint8)
    palette[shuffled] = np.arange(256)[:, None]
    indexed = Image.fromarray(shuffled[GREY]).convert("P")
    indexed.putpalette(palette.tobytes())
    indexed.save(tmp_path / "palette.png")
    opaque = np.full_like(GREY, 255)
    Image.fromarray(np.dstack([GREY] * 3 + [opaque])).save(tmp_path / "rgba.png")
    Image.fromarray(np.dstack([GREY, opaque]), "LA").save(tmp_path / "la.png")
    tint = np.dstack([GREY, np.where(GREY > 0, GREY - 1, 0).astype(np.uint8), GREY])
    Image.fromarray(tint).save(tmp_path / "tint.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned by 90 degrees
    image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "exif.png", exif=exif)
    for name in ("a.tif", "a.bmp", "A.PNG"):
        image.save(tmp_path / name)
    image.save(tmp_path / "a.webp", lossless=True)
    for path in sorted(tmp_path.iterdir()):
        np.testing.assert_allclose(levels(path), GREY, atol=1, err_msg=path.name)


def test_transparent_pixels_are_black(tmp_path: Path) -> None:
    pixels = np.dstack([np.full_like(GREY, 200)] * 3 + [np.full_like(GREY, 255)])
    pixels[:3, :4] = 255, 255, 255, 0
    Image.fromarray(pixels).save(tmp_path / "hole.png")
    found = levels(tmp_path / "hole.png")
    assert (found[:3, :4] == 0).all() and (found[3:] == 200).all()


def test_images_that_are_no_grey_levels_are_refused(tmp_path: Path) -> None:
    Image.fromarray(GREY).convert("CMYK").save(tmp_path / "cmyk.jpg")
    Image.fromarray(GREY.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(GREY).convert("1").save(tmp_path / "bit.png")
    marked = np.dstack([GREY] * 3)
    marked[2:4, 2:4] = 255, 0, 0
    Image.fromarray(marked).save(tmp_path / "overlay.png")
    pages = [Image.fromarray(GREY), Image.fromarray(GREY)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(GREY).save(tmp_path / "turned.tif", exif=exif)
    for name, reason in {
        "turned.tif": "must be stored upright, got orientation 6",
        "cmyk.jpg": "got CMYK",
        "deep.png": "8 bits per sample, got I;16",
        "bit.png": "8 bits per sample, got 1",
        "overlay.png": "must be grey, got colours",
        "pages.tif": "got 2 pages",
    }.items():
        with pytest.raises(ValueError, match=f"{name}: .*{reason}"):
            levels(tmp_path / name)


def test_label_images_keep_their_indices(tmp_path: Path) -> None:
    labels = Image.fromarray((GREY % 3).astype(np.uint8)).convert("P")
    labels.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0] + [0] * 759)
    labels.save(tmp_path / "labels.png")
    np.testing.assert_array_equal(levels(tmp_path / "labels.png", indices=True), GREY % 3)
