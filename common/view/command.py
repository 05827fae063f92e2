"""Shows saved masks in three dimensions: the lungs as glass, the lesions in them.

``python -m common.view case_mask.nii.gz --image case.nii.gz`` writes point tables, a file for ParaView and a picture.
``python -m common.view first_mask.nii.gz later_mask.nii.gz`` compares two studies of one patient, side by side.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .export import export
from .follow_up import Row, follow_up
from .point_tables import require_vtk
from .study import Study, read_mask, read_study, read_volume


def show(study: Study, image: str | None, truth: str | None, output: Path) -> str:
    """Write what ``common.view.export.export`` writes of one mask.

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
