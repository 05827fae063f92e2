"""A CT volume from the files of a DICOM series."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom

from ..statistics import counted
from .dicom import check_pydicom, pixels
from .dicom_headers import Slice, read_headers
from .dicom_series import Series, series_of
from .reasons import cause, in_words, printable
from .refused import Refused
from .volume import LPS_TO_RAS, Volume

GAPS = ("refuse", "resample")


def read_series(paths: Sequence[Path], gaps: str = "refuse") -> Volume:
    """Read the files of one DICOM series, or a single slice, in HU.

    Slices are sorted by position; copies count once. A tilted gantry gives a sheared affine, on which each slice is
    where it was acquired. The presentation (MONOCHROME1, windows) only concerns display and is not applied.

    Args:
        paths: files in any order.
        gaps: ``refuse`` missing or unevenly spaced slices, or ``resample``: interpolate linearly between neighbours.

    Returns:
        float32 (columns, rows, slices) with its RAS affine in mm. ``meta["notes"]`` holds what a user should know.

    Raises:
        Refused: when the files are not one volume, or its geometry or pixels cannot be used.
    """
    check_pydicom()
    slices, failed = read_headers(paths)
    if failed:
        name = "it" if len(paths) == 1 else failed[0][0].name
        raise Refused(f"{name} cannot be read: {failed[0][1]} Export it again.")
    found, omitted = series_of(slices)
    if len(found) != 1:
        names = "; ".join(f"{counted(len(each.slices), 'slices')} '{each.description}'" for each in found)
        raise Refused(f"one volume is expected, got {names or 'none: ' + '; '.join(why for _, why in omitted[:3])}.")
    series = found[0]
    if series.problem and not (gaps == "resample" and series.missing):
        raise Refused(series.problem)
    if series.multiframe:
        return _read_multiframe(series.first.path)
    alone = len(paths) == 1  # the message then begins with its name anyway
    values = np.stack([_hu(each, alone) for each in series.slices], axis=-1)  # (columns, rows, slices)
    affine, known = series_affine(series)
    notes = list(series.notes)
    if series.missing:
        values, note = _bridged(values, series)
        notes.append(note)
    meta = {"spacing_known": known, "notes": "; ".join(notes)}
    return Volume(values, affine, meta)


def series_affine(series: Series) -> tuple[np.ndarray, bool]:
    """Return the RAS affine (4, 4) of (columns, rows, slices), and whether the spacing is known."""
    first, pixel = series.first, series.first.pixel
    axes, origin = first.axes, first.position
    known = pixel is not None and axes is not None
    rows, columns = pixel if pixel is not None else (1.0, 1.0)
    axes = np.eye(3)[:2] if axes is None else axes
    origin = np.zeros(3) if origin is None else origin
    normal = np.cross(*axes)
    last = series.slices[-1].position
    if len(series.slices) > 1 and last is not None:
        # The way between slices, which a tilted gantry does not make parallel to their normal
        steps = len(series.slices) - 1 + sum(series.missing.values())
        step = (last - origin) / steps
    else:
        thickness = first.number("SliceThickness")
        known = known and thickness > 0
        step = normal * (thickness or 1.0)
    affine = np.eye(4)
    affine[:3] = np.column_stack([axes[0] * columns, axes[1] * rows, step, origin])
    return LPS_TO_RAS @ affine, known


def _hu(each: Slice, alone: bool) -> np.ndarray:
    """Return the HU of one slice, float32 (columns, rows)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pydicom, on elements that do not matter here
            dataset = pydicom.dcmread(each.path, force=True)
            if "PixelData" not in dataset:
                raise Refused("it holds no pixels")
            if int(dataset.get("SamplesPerPixel", 1)) != 1:
                raise Refused("it holds colours, not HU")
            if "TransferSyntaxUID" not in dataset.file_meta:
                dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
            values = pixels.apply_modality_lut(dataset.pixel_array, dataset)
    except Exception as error:  # decoders raise dozens of types; the user needs the file and the reason
        if alone:
            raise Refused(f"{_in_words(error)}. Export it again.") from error
        raise Refused(f"{each.path.name}: {_in_words(error)}. Export the series again.") from error
    return np.asarray(values, np.float32).T


def _in_words(error: Exception) -> str:
    """Why the pixels of a slice cannot be used, in a user's words."""
    text = str(error)
    sizes = re.search(r"pixel data is less than expected \((\d+) vs (\d+)", text)
    if sizes:
        return f"its pixels are incomplete, {sizes[1]} of {sizes[2]} bytes"
    if "Unable to decode" in text or "Unable to decompress" in text or "no available" in text.lower():
        return f"its compression cannot be decoded here ({printable(text.partition(':')[0].partition(' because')[0])})"
    return cause(error).rstrip(".")


def _bridged(values: np.ndarray, series: Series) -> tuple[np.ndarray, str]:
    """Interpolate missing slices linearly; returns the full volume and a note on what was bridged."""
    row, column = np.asarray(series.first.axes)
    places = np.asarray([each.position for each in series.slices], float) @ np.cross(row, column)
    count = len(series.slices) + sum(series.missing.values())
    wanted = np.linspace(places[0], places[-1], count)
    upper = np.clip(np.searchsorted(places, wanted), 1, len(places) - 1)
    share = ((wanted - places[upper - 1]) / (places[upper] - places[upper - 1])).astype(np.float32)
    full = np.empty((*values.shape[:2], count), np.float32)
    for index in range(count):
        full[..., index] = values[..., upper[index] - 1] * (1 - share[index]) + values[..., upper[index]] * share[index]
    return (
        full,
        f"{counted(sum(series.missing.values()), 'slices')} interpolated in {counted(len(series.missing), 'gaps')}",
    )


def _read_multiframe(path: Path) -> Volume:
    """Read an enhanced CT, one file for the whole volume."""
    import highdicom  # here, because it takes a second to import and only enhanced CT needs it

    try:
        volume = highdicom.imread(path).get_volume(
            dtype=np.float32, apply_presentation_lut=False, apply_voi_transform=False
        )
    except Exception as error:  # highdicom raises several types; the user needs the reason
        raise Refused(f"the enhanced CT is not one evenly spaced volume: {in_words(error)}") from error
    affine = (LPS_TO_RAS @ volume.affine)[:, [2, 1, 0, 3]]  # (slice, row, column) to (column, row, slice)
    values = np.ascontiguousarray(volume.array.transpose(2, 1, 0))
    return Volume(values, affine, {"spacing_known": True})
