"""Ultrasound DICOM, single and multi-frame, of any transfer syntax that pydicom's plug-ins decode."""

from __future__ import annotations

import logging
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pydicom

from ..dicom import check_pydicom
from ..dicom import pixels as pydicom_pixels
from ..reasons import cause
from ..refused import Refused
from ..sniff import is_dicom
from .formats import refuse_other_modality
from .lazy_frame import LazyFrame

logger = logging.getLogger(__name__)

ITEM, END_OF_ITEMS = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)
UNDEFINED = 0xFFFFFFFF  # length of encapsulated pixel data
LONG_LENGTH = (b"OB", b"OW")  # value representations of pixel data
TWO_DIMENSIONAL = TISSUE = 1  # Region Spatial Format and Region Data Type
VIDEO = "1.2.840.10008.1.2.4.10"  # transfer syntaxes MPEG-2, H.264 and H.265 start so
Crop = tuple[int, int, int, int]


def dicom_frames(path: Path) -> tuple[Iterator[LazyFrame], Crop | None]:
    """Return the frames of a DICOM file, and the margins to crop around its tissue regions, if it states any.

    Raises:
        Refused: for another modality, a depth other than 8 bits, video, or missing or truncated pixel data.
        Exception: any error of pydicom for a file that is not DICOM, or for a pydicom that is too old.
    """
    check_pydicom()
    with open(path, "rb") as file:
        header = with_syntax(pydicom.dcmread(file, stop_before_pixels=True, force=is_dicom(path)))
        refuse_other_modality(header)
        if str(header.file_meta.get("TransferSyntaxUID", "")).startswith(VIDEO):
            raise Refused("video inside DICOM is not supported, got an MPEG transfer syntax. Export it as mp4.")
        if header.file_meta.get("TransferSyntaxUID") != pydicom.uid.DeflatedExplicitVRLittleEndian:
            _refuse_missing_pixels(file, header)
    bits = header.get("BitsStored")
    if bits != 8 or header.get("PixelRepresentation"):
        signed = " signed" if header.get("PixelRepresentation") else ""
        raise Refused(
            f"ultrasound must have 8 bits per sample, got BitsStored {bits}{signed}. Export it as 8-bit grey levels as "
            "the device shows them."
        )
    return _lazy_frames(path, header), _region(path, header)


def with_syntax(header: Any) -> Any:
    """Add the transfer syntax by which a file without preamble or file header was read, if it states none."""
    if "TransferSyntaxUID" not in header.file_meta:
        implicit, little = header.original_encoding
        if implicit:
            header.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
        else:
            big, small = pydicom.uid.ExplicitVRBigEndian, pydicom.uid.ExplicitVRLittleEndian
            header.file_meta.TransferSyntaxUID = small if little else big
    return header


def _refuse_missing_pixels(file: BinaryIO, header: Any) -> None:
    """Check, without decoding, that the pixel data end within the file: decoders fill a truncated frame with grey."""
    size = file.seek(0, 2)
    syntax = header.file_meta.TransferSyntaxUID
    order = "<" if syntax.is_little_endian else ">"
    at, length = _pixel_data(file, header, order)
    if at is None:
        raise Refused("an image must hold pixels, got a header only. Export it with its pixels.")
    end = at + length
    if length == UNDEFINED:
        file.seek(at)
        end = at
        while len(head := file.read(8)) == 8:
            group, element, length = struct.unpack(f"{order}HHL", head)
            if (group, element) != ITEM:
                break
            end = file.seek(length, 1)
    if end > size:
        raise Refused(f"the pixel data must be complete, got {size - at} of {end - at} bytes or more. Copy it again.")


def _pixel_data(file: BinaryIO, header: Any, order: str) -> tuple[int | None, int]:
    """Return where the value of PixelData starts in the file (None if absent), and its length."""
    file.seek(0)
    pydicom.dcmread(
        file, stop_before_pixels=True, specific_tags=["Rows"], force=True
    )  # leaves the file at the pixel data
    start = file.tell()
    head = file.read(12)
    if len(head) < 12 or struct.unpack(f"{order}HH", head[:4]) != (0x7FE0, 0x0010):
        return None, 0
    if head[4:6] in LONG_LENGTH and not header.file_meta.TransferSyntaxUID.is_implicit_VR:
        return start + 12, struct.unpack(f"{order}L", head[8:])[0]
    return start + 8, struct.unpack(f"{order}L", head[4:8])[0]


def _lazy_frames(path: Path, header: Any) -> Iterator[LazyFrame]:
    count = int(header.get("NumberOfFrames") or 1)
    times = _times(path, header, count)
    decoded = _decoded(path, header, count)
    for index in range(count):
        try:
            with _without_tracebacks():
                pixels = next(decoded)
        except StopIteration as error:
            raise Refused(f"the file must hold {count} frames, got {index}. Copy or export it again.") from error
        except Exception as error:
            raise Refused(
                f"only {index} of {count} frames could be read: {cause(error)} Copy it again, or export it "
                "uncompressed."
            ) from error
        yield LazyFrame(times[index], lambda pixels=pixels: _colours(pixels, header))  # type: ignore[misc]


def _decoded(path: Path, header: Any, count: int) -> Iterator[np.ndarray]:
    """Yield frames of uint8 or uint16 in the file's colours, YBR converted to RGB; one at a time is in memory."""
    syntax = header.file_meta.TransferSyntaxUID
    if syntax == pydicom.uid.DeflatedExplicitVRLittleEndian:
        yield from pydicom_pixels.iter_pixels(pydicom.dcmread(path))  # must be inflated at once
    elif not header.preamble:
        # pydicom opens no such path
        yield from pydicom_pixels.iter_pixels(with_syntax(pydicom.dcmread(path, force=True)))
    elif header.get("PhotometricInterpretation") == "YBR_FULL_422" and not syntax.is_encapsulated:
        for index in range(count):  # one decoder per frame: pydicom reads the second frame as YBR_FULL
            yield from pydicom_pixels.iter_pixels(path, indices=[index])
    else:
        yield from pydicom_pixels.iter_pixels(path)


@contextmanager
def _without_tracebacks() -> Iterator[None]:
    """Silence pydicom, which logs the traceback of every failed plug-in and then raises the same."""
    log = logging.getLogger("pydicom")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(level)


def _times(path: Path, header: Any, count: int) -> np.ndarray:
    """Return the seconds since the first frame, (count,); NaN when the file states no rate."""
    if count == 1:
        return np.zeros(1)
    vector = np.atleast_1d(np.asarray(header.get("FrameTimeVector") or [], float))  # ms since the previous frame
    if len(vector) == count and (vector[1:] > 0).all():
        return (np.cumsum(vector) - vector[0]) / 1000
    for keyword, to_seconds in (
        ("FrameTime", lambda value: value / 1000),
        ("CineRate", lambda value: 1 / value),
        ("RecommendedDisplayFrameRate", lambda value: 1 / value),
    ):
        value = float(header.get(keyword) or 0)
        if value > 0:
            return np.arange(count) * to_seconds(value)
    logger.info("%s: states no frame rate: every frame is used, and its time is unknown.", path)
    return np.full(count, math.nan)


def _colours(pixels: np.ndarray, header: Any) -> np.ndarray:
    """Return uint8, grey (rows, columns) or RGB (rows, columns, 3); pydicom has converted YBR to RGB before.

    Display windows and look-up tables are not applied: 8-bit ultrasound is stored as the device shows it.
    """
    interpretation = header.get("PhotometricInterpretation", "MONOCHROME2")
    if interpretation == "PALETTE COLOR":
        pixels = pydicom_pixels.apply_color_lut(pixels, header)
        if pixels.dtype == np.uint16:
            pixels = pixels >> 8
    pixels = pixels.astype(np.uint8, copy=False)  # 8 bits stored in 16 allocated
    return 255 - pixels if interpretation == "MONOCHROME1" else pixels


def _region(path: Path, header: Any) -> Crop | None:
    """Return the margins to crop around the 2-D tissue regions, which removes the text around them."""
    boxes = [
        (item.RegionLocationMinY0, item.RegionLocationMaxY1, item.RegionLocationMinX0, item.RegionLocationMaxX1)
        for item in header.get("SequenceOfUltrasoundRegions") or []
        if (item.get("RegionSpatialFormat"), item.get("RegionDataType")) == (TWO_DIMENSIONAL, TISSUE)
    ]
    if not boxes:
        return None
    tops, bottoms, lefts, rights = zip(*boxes, strict=True)
    rows, columns = int(header.Rows), int(header.Columns)
    # The last row and column belong to the region
    top, bottom = max(0, min(tops)), min(rows, max(bottoms) + 1)
    left, right = max(0, min(lefts)), min(columns, max(rights) + 1)
    if top >= bottom or left >= right:
        logger.warning("%s: its tissue regions lie outside the image and are ignored.", path)
        return None
    return top, rows - bottom, left, columns - right
