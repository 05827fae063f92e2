"""Sort CT DICOM files into series, and check the geometry of each.

Files are grouped by study and series over a whole folder tree, never by folder.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from ..files import sha256
from .dicom_headers import Slice

# Tolerances; docs/inference.md states them
ANGLE = 0.1  # degrees between the orientations of two slices of a volume, and below which a gantry counts as upright
POSITION = 0.11  # mm; positions are often rounded to 0.1 mm
SHARE = 0.02  # of the slice spacing, where that is more
PIXEL_SPACING = 1e-3  # share by which pixel spacings of a volume may differ
AXIAL = 45.0  # degrees; the most that the slices of an axial series are tilted
NAMED = 4  # files or positions in a message


@dataclass
class Series:
    """The slices of one volume, or what is wrong with it.

    Args:
        slices: from the first position along the normal to the last.
        problem: why it cannot be read as a volume; empty if it can.
        notes: what a user should know of it, such as a gantry tilt or copies that were left out.
        omitted: files that are not part of the volume, with the reason.
        missing: by index of a slice, how many slices are lost between it and the next.
        phase: its number among volumes under one SeriesInstanceUID, from 1; 0 if it is alone.
    """

    slices: list[Slice]
    problem: str = ""
    notes: list[str] = field(default_factory=list)
    omitted: list[tuple[Path, str]] = field(default_factory=list)
    missing: dict[int, int] = field(default_factory=dict)
    phase: int = 0

    @property
    def first(self) -> Slice:
        """Its first slice."""
        return self.slices[0]

    @property
    def files(self) -> list[Path]:
        """Paths in the order of the slices."""
        return [each.path for each in self.slices]

    @property
    def study(self) -> str:
        """StudyInstanceUID."""
        return self.first.text("StudyInstanceUID")

    @property
    def uid(self) -> str:
        """SeriesInstanceUID."""
        return self.first.text("SeriesInstanceUID")

    @property
    def description(self) -> str:
        """SeriesDescription, and the phase where there are several."""
        text = self.first.text("SeriesDescription", "no description")
        return f"{text}, phase {self.phase}" if self.phase else text

    @property
    def number(self) -> str:
        """SeriesNumber."""
        return self.first.text("SeriesNumber")

    @property
    def kernel(self) -> str:
        """ConvolutionKernel."""
        kernel = self.first.get("ConvolutionKernel")
        return str(kernel) if isinstance(kernel, str) else str(kernel[0]) if kernel else ""

    @property
    def multiframe(self) -> bool:
        """Whether one file holds the volume."""
        return len(self.slices) == 1 and self.first.number("NumberOfFrames", 1) > 1

    @property
    def spacing(self) -> float:
        """Distance of slices along their normal in mm; 0 if it is unknown."""
        if len(self.slices) < 2:
            return self.first.number("SliceThickness")
        places = _places(self.slices)
        return float(np.median(np.diff(places))) if places is not None else 0.0

    @property
    def extent(self) -> float:
        """Length in mm that the slices cover."""
        return self.spacing * (len(self.slices) + sum(self.missing.values()))

    @property
    def axial(self) -> bool:
        """Whether the slices lie across the patient's long axis; unknown orientations count as axial."""
        axes = self.first.axes
        return axes is None or abs(float(np.cross(*axes)[2])) > math.cos(math.radians(AXIAL))


def series_of(slices: Sequence[Slice]) -> tuple[list[Series], list[tuple[Path, str]]]:
    """Sort slices into volumes.

    Args:
        slices: of any number of studies, in any order.

    Returns:
        A :class:`Series` for each volume, and the files that are part of none, with the reason.
    """
    omitted: list[tuple[Path, str]] = []
    groups: dict[tuple[str, str], list[Slice]] = {}
    for each in slices:
        modality = each.text("Modality", "CT")
        if modality != "CT":
            omitted.append((each.path, f"modality {modality} is not CT"))
        elif "LOCALIZER" in [str(word).upper() for word in np.atleast_1d(each.get("ImageType", []))]:
            omitted.append((each.path, "scout"))
        else:
            key = each.text("StudyInstanceUID"), each.text("SeriesInstanceUID", str(each.path))
            groups.setdefault(key, []).append(each)
    found = [series for group in groups.values() for series in _volumes(group)]
    for series in found:
        omitted += series.omitted
    return found, omitted


def _volumes(group: Sequence[Slice]) -> list[Series]:
    """The volumes under one SeriesInstanceUID."""
    multiframe = [each for each in group if each.number("NumberOfFrames", 1) > 1]
    single = [each for each in group if each not in multiframe]
    volumes = [Series([each]) for each in multiframe]
    if not single:
        return volumes
    unique, copies = _without_copies(single)
    main, others = _of_one_geometry(unique)
    omitted = [*copies, *others]
    notes = [f"{len(copies)} copies of slices are left out"] if copies else []
    phases = _phases(main)
    for number, members in enumerate(phases, start=1):
        series = _checked(members)
        series.phase = number if len(phases) > 1 else 0
        series.notes = [*notes, *series.notes]
        if number == 1:
            series.omitted = omitted
        if others and series.problem:
            names = ", ".join(f"{path.name} ({why})" for path, why in others[:NAMED])
            series.problem += f" Not part of the volume: {names}."
        volumes.append(series)
    return volumes


def _without_copies(slices: Sequence[Slice]) -> tuple[list[Slice], list[tuple[Path, str]]]:
    """Keep one of each identical slice: by SOPInstanceUID and position, then by content."""
    kept: dict[tuple[Any, ...], list[Slice]] = {}
    copies: list[tuple[Path, str]] = []
    for each in sorted(slices, key=lambda each: (len(each.path.name), str(each.path))):
        position = each.position
        key = (each.text("SOPInstanceUID"), None if position is None else tuple(position))
        earlier = kept.setdefault(key, [])
        same = next((other for other in earlier if sha256(other.path) == sha256(each.path)), None)
        if same is None and key[0] and earlier and _same_pixels(earlier[0], each):
            same = earlier[0]
        if same is not None:
            copies.append((each.path, f"copy of {same.path.name}"))
        else:
            earlier.append(each)
    return [each for members in kept.values() for each in members], copies


def _same_pixels(one: Slice, other: Slice) -> bool:
    try:
        first, second = (pydicom.dcmread(each.path).PixelData for each in (one, other))
    except Exception:  # whatever is wrong with one of them is told when it is read
        return False
    return bool(first == second)


def _of_one_geometry(slices: Sequence[Slice]) -> tuple[list[Slice], list[tuple[Path, str]]]:
    """Keep the largest group of one matrix size, pixel spacing and orientation; the others with the reason."""
    groups: list[list[Slice]] = []
    for each in slices:
        for group in groups:
            if not _difference(group[0], each):
                group.append(each)
                break
        else:
            groups.append([each])
    groups.sort(key=len, reverse=True)
    main = groups[0]
    others = [(each.path, _difference(main[0], each)) for group in groups[1:] for each in group]
    return main, others


def _difference(one: Slice, other: Slice) -> str:
    """In what the geometry of two slices differs; empty if they fit into one volume."""
    for name in ("Rows", "Columns", "SamplesPerPixel"):
        if one.get(name) != other.get(name):
            return f"{name} {other.get(name)} instead of {one.get(name)}"
    for name, tolerance in (("pixel", PIXEL_SPACING), ("axes", math.radians(ANGLE))):
        first, second = getattr(one, name), getattr(other, name)
        if (first is None) != (second is None):
            return "it states no orientation" if second is None else "it states another orientation"
        if first is not None and second is not None:
            scale = first if name == "pixel" else 1.0
            if np.max(np.abs(second - first) / scale) > tolerance:
                return "another pixel spacing" if name == "pixel" else "another orientation"
    return ""


def _places(slices: Sequence[Slice]) -> np.ndarray | None:
    """Distance of each slice along the normal in mm; None if a header states no position or orientation."""
    axes = slices[0].axes
    positions = [each.position for each in slices]
    if axes is None or any(position is None for position in positions):
        return None
    return np.asarray(positions, float) @ np.cross(*axes)


def _phases(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Split slices that repeat positions: by acquisition, time, or else by their order."""
    places = _places(slices)
    if places is None or len(slices) < 2 or len(np.unique(places.round(2))) in (1, len(slices)):
        return [list(slices)]  # all in one place: no order and no volume, which is told later
    for name in ("TemporalPositionIdentifier", "AcquisitionNumber", "AcquisitionTime", "ContentTime"):
        groups: dict[tuple[float, str], list[Slice]] = {}  # as numbers, so that the second comes before the tenth
        for each in slices:
            groups.setdefault((each.number(name), each.text(name)), []).append(each)
        fits = [len(np.unique(_places(group).round(2))) == len(group) for group in groups.values()]  # type: ignore[union-attr]
        if len(groups) > 1 and all(fits) and all(len(group) > 1 for group in groups.values()):
            return [groups[key] for key in sorted(groups)]
    count: dict[float, int] = {}
    phases: dict[int, list[Slice]] = {}
    for place, each in sorted(zip(places.round(2).tolist(), slices, strict=True), key=lambda pair: _order(pair[1])):
        phases.setdefault(count.get(place, 0), []).append(each)
        count[place] = count.get(place, 0) + 1
    return list(phases.values())


def _order(each: Slice) -> tuple[int, str]:
    number = str(each.get("InstanceNumber", 0))
    return (int(number) if number.lstrip("-").isdigit() else 0), str(each.path)


def _checked(slices: Sequence[Slice]) -> Series:
    """Put the slices of one volume in order, and say what is wrong with their positions."""
    places = _places(slices)
    if places is None:
        series = Series(sorted(slices, key=_order))
        if len(slices) > 1:
            series.problem = (
                "the headers state no position or orientation of the slices, so their order is unknown. Export the "
                "original CT images, not a secondary capture."
            )
        return series
    order = np.argsort(places, kind="stable")
    series = Series([slices[index] for index in order])
    if len(slices) == 1:
        return series
    places, gaps = places[order], np.diff(places[order])
    step = float(np.median(gaps[gaps <= 1.5 * gaps.min()])) if gaps.min() > POSITION else float(np.median(gaps))
    if step < 1e-3:
        series.problem = f"all {len(slices)} slices lie at one position. Export one volume with its positions."
        return series
    tolerance = max(POSITION, SHARE * step)
    deviation = np.abs(gaps - step)
    wide = np.flatnonzero(deviation > tolerance)
    if len(wide):
        counts = gaps[wide] / step
        whole = np.abs(counts - counts.round()) * step <= 2 * tolerance
        names = "; ".join(
            f"{gaps[index]:.1f} mm between {series.slices[index].path.name} and {series.slices[index + 1].path.name}"
            for index in wide[:NAMED]
        )
        more = f"; and {len(wide) - NAMED} more" if len(wide) > NAMED else ""
        if whole.all() and (counts.round() > 1).all():
            series.missing = {int(index): int(count) - 1 for index, count in zip(wide, counts.round(), strict=True)}
            lost = sum(series.missing.values())
            what = f"{lost} slice{'s are' if lost > 1 else ' is'} missing"
        else:
            what = "the slices are unevenly spaced"
            series.missing = {int(index): max(0, round(gaps[index] / step) - 1) for index in wide}
        series.problem = (
            f"{what}: {names}{more}; the others lie {step:.2f} mm apart. Export the series again, or bridge it with "
            "--gaps resample."
        )
    elif deviation.max() > 0.01:
        series.notes.append(f"slice positions deviate by up to {deviation.max():.2f} mm from even spacing")
    angle = tilt(series)
    if angle > ANGLE:
        series.notes.append(f"gantry tilt of {angle:.1f} degrees")
    return series


def tilt(series: Series) -> float:
    """Angle in degrees between the normal of the slices and the line through their first pixels."""
    axes, (first, last) = series.first.axes, (series.slices[0].position, series.slices[-1].position)
    if axes is None or first is None or last is None or len(series.slices) < 2:
        return 0.0
    way = last - first
    along = float(way @ np.cross(*axes))
    across = float(np.linalg.norm(way - along * np.cross(*axes)))
    return math.degrees(math.atan2(across, abs(along)))
