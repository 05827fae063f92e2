"""Read the headers of DICOM CT files, without their pixels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from .reasons import cause, printable
from .sniff import DIRECTORY

ROUNDED = 0.01  # by which the length of a direction may differ from 1, and two directions from a right angle

TAGS = [
    *("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "Modality", "ImageType"),
    *("SeriesDescription", "SeriesNumber", "InstanceNumber", "AcquisitionNumber", "AcquisitionTime", "ContentTime"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "Rows", "Columns"),
    *("NumberOfFrames", "SamplesPerPixel", "ConvolutionKernel", "TemporalPositionIdentifier"),
]


@dataclass(frozen=True)
class Slice:
    """What the header of one file states.

    Args:
        path: of the file.
        header: with the elements in ``TAGS``.
    """

    path: Path
    header: pydicom.Dataset

    @property
    def position(self) -> np.ndarray | None:
        """Centre of the first pixel in mm, LPS; None if the header states none."""
        return _numbers(self.header, "ImagePositionPatient", 3)

    @property
    def axes(self) -> np.ndarray | None:
        """Directions of rows and columns, (2, 3), LPS; None if the header states none."""
        values = _numbers(self.header, "ImageOrientationPatient", 6)
        if values is None:
            return None
        rows, columns = values.reshape(2, 3)
        lengths = np.linalg.norm(rows), np.linalg.norm(columns)
        is_sound = np.allclose(lengths, 1, atol=ROUNDED) and abs(float(rows @ columns)) < ROUNDED
        return values.reshape(2, 3) if is_sound else None

    @property
    def pixel(self) -> np.ndarray | None:
        """Distances of rows and of columns in mm; None if the header states none."""
        values = _numbers(self.header, "PixelSpacing", 2)
        return None if values is None or (values <= 0).any() else values

    @property
    def is_directory(self) -> bool:
        """Whether the file is a DICOMDIR, the index of a disc."""
        return str(getattr(self.header, "file_meta", {}).get("MediaStorageSOPClassUID", "")) == DIRECTORY

    def text(self, name: str, default: str = "") -> str:
        """An element as text, several values in one; the default where it is missing or empty."""
        value = self.get(name, default)
        return printable(value if isinstance(value, str) else "\\".join(map(str, np.atleast_1d(value))))

    def number(self, name: str, default: float = 0.0) -> float:
        """An element as a number; the default where it is none."""
        value = _numbers(self.header, name, 1)
        return default if value is None else float(value[0])

    def get(self, name: str, default: Any = "") -> Any:
        """An element of the header, or the default where it is missing or empty."""
        value = self.header.get(name)
        return default if value is None or value == "" else value


def _numbers(header: pydicom.Dataset, name: str, count: int) -> np.ndarray | None:
    try:
        values = np.asarray(header.get(name), float).ravel()
    except (TypeError, ValueError):
        return None
    return values if len(values) == count and np.isfinite(values).all() else None


def read_headers(files: Iterable[Path]) -> tuple[list[Slice], list[tuple[Path, str]]]:
    """Read the headers of DICOM files.

    Returns:
        The slices, and the files that cannot be read with the reason.
    """
    slices: list[Slice] = []
    failed: list[tuple[Path, str]] = []
    for file in files:
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=TAGS, force=True)
            {element.keyword: element.value for element in header}  # decodes all that will be used
            is_directory = header.file_meta.get("MediaStorageSOPClassUID") == DIRECTORY
            if "SOPClassUID" not in header and "Rows" not in header and not is_directory:
                raise ValueError("it holds no DICOM image")
        except Exception as error:  # pydicom raises dozens of types; the user needs the file and the reason
            failed.append((file, cause(error)))
            continue
        slices.append(Slice(file, header))
    return slices, failed
