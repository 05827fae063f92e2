"""Shows saved masks in three dimensions: the lungs as glass, the lesions in them.

``python -m common.view case_mask.nii.gz --image case.nii.gz`` writes point tables, a file for ParaView and a picture.
``python -m common.view first_mask.nii.gz later_mask.nii.gz`` compares two studies of one patient, side by side.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import nibabel
import numpy as np

from .report.styles import ClassStyle, class_styles
from .report.view.case import export, measured, to_lps, volumes_line
from .report.view.rendering import render
from .report.view.surfaces import LUNG, Panel, lesion_parts
from .report.view.tables import require_vtk

LESION = (255, 176, 0)  # colour where no metadata tells the classes
BROKEN = (nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError, OSError, EOFError, zlib.error)


@dataclass(frozen=True)
class Study:
    """A saved mask in LPS order: uint8 (X, Y, Z), its RAS affine in mm (4, 4), and what its values mean."""

    path: Path
    mask: np.ndarray
    affine: np.ndarray
    styles: Sequence[ClassStyle]

    @property
    def case(self) -> str:
        """The file's name without its endings."""
        return _stem(self.path).removesuffix("_mask")

    @property
    def lesion(self) -> np.ndarray:
        """Where lesions are, bool (X, Y, Z)."""
        return np.isin(self.mask, [style.value for style in self.styles if style.is_lesion])


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")


def read_volume(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a NIfTI volume.

    Returns:
        Array (X, Y, Z) in LPS order, of the file's type, or float32 where the file scales its values; affine (4, 4).

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is no NIfTI file, or no volume.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No such file: {path}. Give a saved mask, such as case_mask.nii.gz.")
    try:
        image: Any = nibabel.load(path)
        if not isinstance(image, nibabel.Nifti1Pair):
            raise nibabel.filebasedimages.ImageFileError(f"it is {type(image).__name__}")
        data: Any = image.dataobj
        scaled = (data.slope, data.inter) != (1.0, 0.0)
        array = data.get_scaled(np.float32) if scaled else np.asanyarray(data)
    except BROKEN as error:
        raise ValueError(f"{path} must be a NIfTI file, but cannot be read as one: {error}. Convert it.") from error
    shape = array.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3 or min(shape) < 2:
        raise ValueError(f"{path}: a 3-D view needs a volume of two or more slices, got shape {array.shape}.")
    if not np.linalg.det(image.affine):
        raise ValueError(f"{path}: the affine must be invertible, got {image.affine.tolist()}. Correct the header.")
    return to_lps(array.reshape(shape, order="F"), image.affine)


def read_mask(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a saved mask as uint8 (X, Y, Z) in LPS order, and its affine (4, 4).

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is no NIfTI volume, or holds values other than the integers 0..255.
    """
    array, affine = read_volume(path)
    if array.dtype == np.uint8:
        return array, affine
    mask = np.empty(array.shape, np.uint8, order="F")
    for index in range(array.shape[2]):  # slice by slice, for the sake of memory
        plane = array[:, :, index]
        with np.errstate(invalid="ignore"):  # NaN is found below
            mask[:, :, index] = plane.astype(np.uint8)
        if not (mask[:, :, index] == plane).all():
            wrong = plane[mask[:, :, index] != plane].flat[0]
            raise ValueError(
                f"{path}: a mask holds integers 0..255, got {wrong}. Give a label map, no scan, no scores."
            )
    return mask, affine


def read_study(path: str | Path, metadata: str | None, lung_value: int) -> Study:
    """Read a mask and what its values mean.

    Args:
        path: NIfTI file.
        metadata: a bundle's ``metadata.json``; without, every value but 0 and ``lung_value`` is the class ``lesion``.
        lung_value: of the lung, where there is no metadata.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for a mask that cannot be read, or is empty, or has values that the metadata does not declare.
    """
    mask, affine = read_mask(path)
    values = [value for value in np.flatnonzero(np.bincount(mask.ravel(order="K"), minlength=256)).tolist() if value]
    if not values:
        raise ValueError(f"{path} holds neither lung nor lesion, only 0. Give another mask.")
    if metadata is None:
        lesion = ClassStyle("lesion", 1 if lung_value != 1 else 2, LESION)
        others = [value for value in values if value != lung_value]
        mask = _replaced(mask, dict.fromkeys(others, lesion.value))
        return Study(Path(path), mask, affine, [lesion, ClassStyle("lung", lung_value, LUNG)])
    names = [entry["name"] for entry in json.loads(Path(metadata).read_text())["labels"]]
    styles = class_styles(metadata, names)
    unknown = sorted(set(values) - {style.value for style in styles})
    if unknown:
        raise ValueError(
            f"{path}: {metadata} declares no class of value {unknown[0]}. Give the metadata of its bundle."
        )
    return Study(Path(path), mask, affine, styles)


def _replaced(mask: np.ndarray, values: dict[int, int]) -> np.ndarray:
    """A mask with other values, in the same order of memory."""
    if all(old == new for old, new in values.items()):
        return mask
    table = np.arange(256, dtype=np.uint8)
    table[list(values)] = list(values.values())
    return table[mask.T].T


def show(study: Study, image: str | None, truth: str | None, output: Path) -> str:
    """Write what :func:`common.report.view.case.export` writes of one mask.

    Args:
        study: the mask.
        image: its scan in HU, for the values of the lung's points.
        truth: a mask of the true lesions on the same grid; its lung counts as background.
        output: folder.

    Returns:
        A line on what was written.

    Raises:
        FileNotFoundError, ValueError: for files that cannot be read, or lie on another grid than the mask.
    """
    hu, true = None, None
    if image:
        hu, affine = read_volume(image)
        _check_grid(study, Path(image), hu, affine)
        hu = hu if hu.dtype.kind in "iu" else np.rint(hu, out=hu).astype(np.int16)
    if truth:
        lung = next((style.value for style in study.styles if style.name == "lung"), 0)
        true, affine = read_mask(truth)
        _check_grid(study, Path(truth), true, affine)
        true = (true > 0) & (true != lung)
    return export(output / study.case, study.mask, study.affine, study.styles, hu, true)


def _check_grid(study: Study, path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    """Raise ValueError unless a file lies on the grid of the mask."""
    if array.shape != study.mask.shape:
        shapes = f"shape {array.shape} and {study.mask.shape}"
        raise ValueError(f"{path} and {study.path} must lie on one grid, got {shapes}. Give the files of one study.")
    if not np.allclose(affine, study.affine, atol=1e-2):  # mm; headers round
        affines = f"the affines {affine.round(3).tolist()} and {study.affine.round(3).tolist()} in LPS order"
        raise ValueError(f"{path} and {study.path} must lie on one grid, got {affines}. Give the files of one study.")


Row = dict[str, str | float | None]


def follow_up(studies: Sequence[Study], titles: Sequence[str], output: Path) -> list[Row]:
    """Compare two studies of one patient: ``follow_up.csv``, then ``follow_up.png``, both lungs at one scale.

    Args:
        studies: the first and the later one, on any grids.
        titles: what to call them.
        output: folder.

    Returns:
        Rows of the table: a study each, and ``change``: the later minus the first, and that in percent of the first,
        None where the first is 0 or unknown.

    Raises:
        ValueError: where VTK cannot draw; the table is written then.
    """
    found = [measured(study.lesion, study.mask > 0, study.affine) for study in studies]
    rows: list[Row] = [{"study": title, **each} for title, each in zip(titles, found, strict=True)]
    change: Row = {"study": "change"}
    for name in found[0]:
        before, after = (each[name] for each in found)
        difference = None if before is None or after is None else after - before
        change[name] = None if difference is None else round(difference, 4)
        if name != "share_of_lung":
            percent = f"{name.removesuffix('_ml')}_percent"
            change[percent] = round(100 * difference / before, 2) if difference is not None and before else None
    rows.append(change)
    output.mkdir(parents=True, exist_ok=True)
    with (output / "follow_up.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(change), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    panels = [
        Panel(title, lesion_parts(study.mask > 0, study.mask, study.affine, study.styles), volumes_line(each))
        for title, study, each in zip(titles, studies, found, strict=True)
    ]
    render(output / "follow_up.png", panels, "Follow-up", _change_line(change), aligned=False)
    return rows


def _change_line(change: Row) -> str:
    """``lung +120 ml (+3.0 %), lesions -40 ml (-25.0 %)``."""
    words = []
    for name, word in (("lung", "lung"), ("lesion", "lesions")):
        difference, percent = change[f"{name}_ml"], change[f"{name}_percent"]
        if isinstance(difference, float):
            words.append(
                f"{word} {difference:+.0f} ml" + (f" ({percent:+.1f} %)" if isinstance(percent, float) else "")
            )
    return ", ".join(words)


def _table(rows: Sequence[Row]) -> str:
    """Rows in aligned columns; the last one has them all."""
    names = list(rows[-1])
    cells = [names, *([("" if row.get(name) is None else str(row[name])) for name in names] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m common.view",
        description="Shows a saved mask in three dimensions, or two studies of one patient side by side.",
        allow_abbrev=False,
    )
    parser.add_argument("masks", nargs="+", metavar="MASK", help="NIfTI masks: one, or the first and the later study")
    parser.add_argument("--image", help="the scan of a single mask, in HU")
    parser.add_argument("--truth", help="true lesions of a single mask, on its grid")
    parser.add_argument("--metadata", help="metadata.json of the bundle, for its classes and colours")
    parser.add_argument(
        "--lung_value", type=int, default=3, help="of the lung, without --metadata (default: %(default)s)"
    )
    parser.add_argument("--output", default="view", help="folder (default: %(default)s)")
    parser.add_argument("--titles", nargs="+", help="of two studies (default: the names of their files)")
    own = parser.parse_args(arguments)
    if len(own.masks) > 2:
        raise ValueError(f"Give one mask, or two to compare, got {len(own.masks)}.")
    if len(own.masks) == 2 and (own.image or own.truth):
        raise ValueError("--image and --truth belong to a single mask, got two masks. Leave them out.")
    if own.titles and (len(own.masks) != 2 or len(own.titles) != 2):
        raise ValueError(f"--titles are two, of two masks, got {len(own.titles)} for {len(own.masks)} masks.")
    if not 1 <= own.lung_value <= 255:
        raise ValueError(f"--lung_value is 1..255, got {own.lung_value}.")
    return own


def main(arguments: Sequence[str]) -> int:
    """Show what the command line asks for.

    Args:
        arguments: without the program's name.

    Returns:
        Exit code.

    Raises:
        FileNotFoundError, ValueError: for files that cannot be used, mistakes on the command line, or without vtk.
    """
    own = _parse(arguments)
    require_vtk()
    studies = [read_study(path, own.metadata, own.lung_value) for path in own.masks]
    output = Path(own.output)
    if len(studies) == 1:
        print(f"{studies[0].case}: {show(studies[0], own.image, own.truth, output)}, in {output}")
    else:
        rows = follow_up(studies, own.titles or [study.case for study in studies], output)
        print(f"{_table(rows)}\nTable and picture: {output / 'follow_up.csv'}, {output / 'follow_up.png'}")
    return 0


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    from .run import report_error  # not above: it imports MONAI, which takes longer than a mask

    report_error(kind, error, trace)


if __name__ == "__main__":
    sys.excepthook = _report
    sys.exit(main(sys.argv[1:]))
