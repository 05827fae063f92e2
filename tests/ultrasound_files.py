"""Ultrasound images, clips and DICOM as files, for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import pydicom
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian

from common.readers.ultrasound.frames import Frame, frames

ROWS, COLUMNS = 64, 96
BEST = {"qmin": "1", "qmax": "2"}


def ramp(step: int = 0) -> np.ndarray:
    """Grey levels 0 to 255 along the columns, above a band whose level, 10 * ``step``, identifies the frame."""
    pixels = np.tile(np.rint(np.linspace(0, 255, COLUMNS)).astype(np.uint8), (ROWS, 1))
    pixels[48:] = 10 * step
    return pixels


def corners() -> np.ndarray:
    """Four quarters of different levels, so that every rotation and mirroring looks different."""
    pixels = np.zeros((ROWS, COLUMNS), np.uint8)
    pixels[:32, :48], pixels[:32, 48:], pixels[32:, :48] = 250, 170, 90
    return pixels


def coloured(grey: np.ndarray) -> np.ndarray:
    """RGB of the same rows and columns whose left half is red and whose right half is grey."""
    rgb = np.repeat(grey[..., None], 3, -1)
    rgb[:, : COLUMNS // 2] = [200, 30, 40]
    return rgb


def luma(rgb: np.ndarray) -> np.ndarray:
    """ITU-R BT.601 luminance, not rounded."""
    return rgb.astype(float) @ [0.299, 0.587, 0.114]


def pixels_of(path: Path, **options: Any) -> list[np.ndarray]:
    return [frame.pixels for frame in frames(path, **options)]


def assert_near(found: np.ndarray, expected: np.ndarray, mean: float = 0.0, most: float = 0.0) -> None:
    """Mean and largest difference in grey levels; 0 is exact."""
    assert found.dtype == np.uint8
    assert found.shape == expected.shape
    difference = np.abs(found.astype(float) - expected)
    assert difference.mean() <= mean, f"differs by {difference.mean():.2f} grey levels on average"
    assert difference.max() <= most, f"differs by up to {difference.max():.2f} grey levels"


def write_clip(
    path: Path,
    pictures: Iterable[np.ndarray],
    codec: str = "mpeg4",
    layout: str = "yuv420p",
    rate: int = 25,
    times: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    format: str | None = None,
    prepare: Callable[[Any], None] = lambda stream: None,
) -> Path:
    """A clip of grey or RGB pictures; ``times`` are in steps of 1 / ``rate`` s."""
    pictures = iter(pictures)
    first = next(pictures)
    with av.open(str(path), "w", options=container or {}, format=format) as clip:
        stream: Any = clip.add_stream(codec, rate=rate, options=BEST if options is None else options)
        stream.height, stream.width, stream.pix_fmt = first.shape[0], first.shape[1], layout
        stream.codec_context.time_base = Fraction(1, rate)
        prepare(stream)
        index = 0
        for index, picture in enumerate((first, *pictures)):
            rgb = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, -1)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
            frame.pts = times[index] if times else index
            clip.mux(stream.encode(frame))
        clip.mux(stream.encode(None))
    return path


def dicom(
    pixels: np.ndarray,
    interpretation: str = "MONOCHROME2",
    syntax: pydicom.uid.UID = ExplicitVRLittleEndian,
    encoded: Sequence[bytes] | None = None,
    **tags: Any,
) -> pydicom.Dataset:
    """Ultrasound of uint8 (frames, rows, columns) or (frames, rows, columns, 3); tags as keywords."""
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    multi = len(pixels) > 1
    storage = pydicom.uid.UltrasoundMultiFrameImageStorage if multi else pydicom.uid.UltrasoundImageStorage
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = storage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.UID("1.2.3.4")
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.PatientID = "1.2.3", "1.2.3.1", "1"
    dataset.Modality, dataset.PhotometricInterpretation = "US", interpretation
    dataset.Rows, dataset.Columns = pixels.shape[1:3]
    dataset.SamplesPerPixel = pixels.shape[3] if pixels.ndim == 4 else 1
    if pixels.ndim == 4:
        dataset.PlanarConfiguration = 0
    if multi:
        dataset.NumberOfFrames = len(pixels)
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = encapsulate(list(encoded)) if encoded else pixels.tobytes() + b"\0" * (pixels.size % 2)
    dataset["PixelData"].VR = "OB"
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    return dataset


def save_dicom(dataset: pydicom.Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def by_pillow(pixels: np.ndarray, **options: Any) -> list[bytes]:
    """Every frame as a JPEG or JPEG 2000 stream."""
    streams = []
    for picture in pixels:
        stream = BytesIO()
        Image.fromarray(picture).save(stream, **options)
        streams.append(stream.getvalue())
    return streams


def write_gif(path: Path, milliseconds: Sequence[int], **options: Any) -> Path:
    pictures = [Image.fromarray(ramp(step % 20)) for step in range(len(milliseconds))]
    pictures[0].save(
        path, save_all=True, append_images=pictures[1:], duration=list(milliseconds) or 0, loop=0, **options
    )
    return path


GREY = np.stack([ramp(step) for step in range(5)])
RGB = np.stack([coloured(ramp(step)) for step in range(5)])


def read_until_error(path: Path) -> tuple[list[Frame], str]:
    found: list[Frame] = []
    try:
        for frame in frames(path):
            found.append(frame)
    except ValueError as error:
        return found, str(error)
    return found, ""


FIRST = {"movflags": "faststart"}


def save_image(path: Path, pixels: np.ndarray) -> Path:
    """A png of grey levels or RGB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def save_clip(path: Path, count: int = 6, rate: int = 10) -> Path:
    """A clip of grey frames; the level of a frame is 20 times its number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = [np.full((32, 32), 20 * index, np.uint8) for index in range(count)]
    return write_clip(path, levels, "libx264", rate=rate, options={})
