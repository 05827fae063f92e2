"""What every object that goes back to a PACS takes from its source series, and what made it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid
from pydicom.valuerep import DA, TM

from ...readers.volume import LPS_TO_RAS

logger = logging.getLogger(__name__)

NEAREST = 0.5  # slices, by which a slice may be off the mask's grid, as unevenly spaced ones are
MAKER = "COVID lung bundles"
SCHEME = "99COVIDLUNG"  # of codes that no public scheme has
NOT_CLINICAL = "Research. Not a medical device: not for diagnosis or treatment."
MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "ReferringPhysicianName"),
    *("StudyID", "StudyDate", "StudyTime", "PositionReferenceIndicator"),
)
DATES = {"PatientBirthDate": DA, "StudyDate": DA, "StudyTime": TM}
UTF_8 = "ISO_IR 192"
LARGEST_NUMBER = 2**31 - 100  # DICOM's integers are below 2^31
SERIES = {"SEG": 90, "SR": 91, "SC": 92}  # added to a hundred times the source's number


@dataclass(frozen=True)
class Algorithm:
    """What made a result, as the objects say it.

    Args:
        name: of the bundle.
        version: of the bundle.
        weights: SHA-256 of the weights, several in one.
        limits: what the weights must not be used for, and how good they are, as their model card says.
        unusual: why the input is not like the training data; empty if it is, or if that is not known.
        errors: how large the errors of the result are likely to be, in a sentence; empty if that is not known.
        dice: that is expected; None if it is not known.
    """

    name: str
    version: str
    weights: str
    limits: str = "These weights have no model card: how good they are is not known."
    unusual: str = ""
    errors: str = ""
    dice: float | None = None

    @property
    def trust(self) -> str:
        """Both in one sentence; objects that differ in it have other UIDs."""
        warning = f"Unusual input: {self.unusual}. Trust the result less." if self.unusual else ""
        return " ".join(filter(None, [warning, self.errors]))

    def identification(self) -> Any:
        """As a segmentation or a report names it."""
        import highdicom  # here, because it takes a second to import and only DICOM needs it

        return highdicom.AlgorithmIdentificationSequence(
            name=self.name,
            family=codes.DCM.ArtificialIntelligence,
            version=self.version,
            source=MAKER,
            parameters={"weights SHA-256": self.weights},
        )


@dataclass(frozen=True)
class Source:
    """The series that a result belongs to.

    Args:
        images: its slices without pixels, in the order of the mask's planes; or one enhanced image.
        planes: index of the mask's plane that lies on each slice, or on each frame.
    """

    images: list[pydicom.Dataset]
    planes: list[int]

    def uid(self, *parts: str) -> str:
        """A UID that is a function of the source and of what is given."""
        return str(generate_uid(entropy_srcs=[*parts, *(str(image.SOPInstanceUID) for image in self.images)]))

    def new_object(self, kind: str, *parts: str) -> dict[str, Any]:
        """What highdicom needs to know of a new object, alone in a series that viewers list after the source.

        Args:
            kind: one of ``SERIES``.
            parts: what the UIDs are a function of, besides the source.
        """
        try:
            number = int(self.images[0].get("SeriesNumber") or 0) * 100
        except (TypeError, ValueError):
            number = 0
        if not 0 <= number < LARGEST_NUMBER:
            number = 0
        return {
            "series_instance_uid": self.uid(f"{kind} series", *parts),
            "series_number": number + SERIES[kind],
            "sop_instance_uid": self.uid(kind, *parts),
            "instance_number": 1,
            "manufacturer": MAKER,
        }


def read_instance(path: Path) -> Source:
    """A clip or an image as the source of a result, without its pixels."""
    return Source([_read(path)], [])


def read_source(paths: Sequence[Path], affine: np.ndarray) -> Source:
    """The slices of a series, and the index of the mask's plane that lies on each.

    Args:
        paths: files of one series; of slices at one position, the first counts.
        affine: of the mask, voxel index (column, row, slice) to mm, RAS.

    Raises:
        ValueError: if slices name no position, lie off the mask's grid, or are of several patients, or if several
            have one UID.
    """
    slices = [_read(path) for path in paths]
    if len(patients := {str(each.PatientID or "") for each in slices}) > 1:
        raise ValueError(f"the series holds slices of {len(patients)} patients, by their PatientID. Export it again.")
    if len({str(each.SOPInstanceUID) for each in slices}) < len(slices):
        raise ValueError("several slices have one SOPInstanceUID, so none can be referred to. Export the series again.")
    to_index = np.linalg.inv(LPS_TO_RAS @ affine)
    if len(slices) == 1 and "PerFrameFunctionalGroupsSequence" in slices[0]:
        frames = slices[0].PerFrameFunctionalGroupsSequence
        positions = [frame.PlanePositionSequence[0].get("ImagePositionPatient") for frame in frames]
        return Source(slices, [_plane(position, to_index, str(paths[0])) for position in positions])
    found: dict[int, pydicom.Dataset] = {}
    for path, each in zip(paths, slices, strict=True):
        found.setdefault(_plane(each.get("ImagePositionPatient"), to_index, str(path)), each)
    planes = sorted(found)
    return Source([found[plane] for plane in planes], planes)


def _read(path: Path) -> pydicom.Dataset:
    """A file without its pixels, as a new object can refer to it.

    Elements that DICOM requires, possibly empty (type 2), and that anonymisers remove are added. Dates that are none
    are emptied. Texts are in UTF-8, because not every character set of scanners is accepted in new objects.

    Raises:
        ValueError: if it has no UID.
    """
    source = pydicom.dcmread(path, stop_before_pixels=True, force=True)
    if not source.get("SOPInstanceUID"):
        raise ValueError(f"{path}: it has no SOPInstanceUID, so nothing can refer to it. Export it again.")
    for keyword in MAY_BE_EMPTY:
        if keyword not in source:
            setattr(source, keyword, None)
    for keyword, kind in DATES.items():
        try:
            kind(source.get(keyword) or None)
        except (TypeError, ValueError):
            logger.warning("%s: %s %r is left out: it is no date or time.", path, keyword, str(source[keyword].value))
            setattr(source, keyword, None)
    if source.get("SpecificCharacterSet") is not None:
        source.decode()
        source.SpecificCharacterSet = UTF_8
    return source


def _plane(position: Any, to_index: np.ndarray, name: str) -> int:
    if position is None or len(position) != 3:
        raise ValueError(f"{name}: a segmentation needs the position of each slice, got none.")
    *inside, plane = to_index[:3] @ [*map(float, position), 1.0]
    if max(map(abs, inside)) > NEAREST or abs(plane - round(plane)) > NEAREST:
        raise ValueError(f"{name}: the slice lies off the mask's grid by {max(map(abs, inside)):.1f} pixels.")
    return round(plane)
