"""Shows saved masks in three dimensions: transparent lungs, and the lesions in them.

``python -m common.view case_mask.nii.gz --image case.nii.gz`` writes point tables, a file for ParaView and a figure.
``python -m common.view first_mask.nii.gz later_mask.nii.gz`` compares two studies of one patient, side by side.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..run.command import Parser
from ..tables import aligned, print_table
from .export import export
from .follow_up import follow_up
from .point_tables import require_vtk
from .study import Study, read_mask, read_study, read_volume


def show(study: Study, image: str | None, truth: str | None, output: Path) -> str:
    """Write the files of ``common.view.export.export`` for one mask.

    Args:
        study: the mask.
        image: file of its scan in HU, for the values of the lung's points.
        truth: file of the true lesions on the same grid; its lung counts as background.
        output: folder.

    Returns:
        One line on what was written.

    Raises:
        FileNotFoundError, ValueError: for files that cannot be read, or are on another grid than the mask.
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
    """Raise ValueError unless a file is on the grid of the mask."""
    if array.shape != study.mask.shape:
        shapes = f"shape {array.shape} and {study.mask.shape}"
        raise ValueError(f"{path} and {study.path} must be on one grid, got {shapes}. Give the files of one study.")
    if not np.allclose(affine, study.affine, atol=1e-2):  # in mm, because headers round
        affines = f"the affines {affine.round(3).tolist()} and {study.affine.round(3).tolist()} in LPS order"
        raise ValueError(f"{path} and {study.path} must be on one grid, got {affines}. Give the files of one study.")


def _parse(arguments: Sequence[str]) -> Namespace:
    parser = Parser(
        prog="python -m common.view",
        description="Shows a saved mask in three dimensions, or two studies of one patient side by side.",
    )
    parser.add_argument("masks", nargs="+", metavar="MASK", help="NIfTI masks: one, or the first and the later study")
    parser.add_argument("--image", help="the scan of a single mask, in HU")
    parser.add_argument("--truth", help="true lesions of a single mask, on its grid")
    parser.add_argument("--metadata", help="metadata.json of the bundle, for its classes and colours")
    parser.add_argument(
        "--lung_value", type=int, default=3, help="value of the lung, without --metadata (default: %(default)s)"
    )
    parser.add_argument("--output", default="view", help="folder (default: %(default)s)")
    parser.add_argument("--titles", nargs="+", help="of two studies (default: the names of their files)")
    own = parser.parse_args(arguments)
    if len(own.masks) > 2:
        raise ValueError(f"Give one mask, or two to compare, got {len(own.masks)}.")
    if len(own.masks) == 2 and (own.image or own.truth):
        raise ValueError("--image and --truth belong to a single mask, got two masks. Leave them out.")
    if own.titles and (len(own.masks) != 2 or len(own.titles) != 2):
        raise ValueError(f"--titles must be two, for two masks, got {len(own.titles)} for {len(own.masks)} masks.")
    if not 1 <= own.lung_value <= 255:
        raise ValueError(f"--lung_value must be in 1..255, got {own.lung_value}.")
    return own


def main(arguments: Sequence[str]) -> int:
    """Show one mask, or compare two.

    Args:
        arguments: of the command line, without the program's name.

    Returns:
        Exit code.

    Raises:
        FileNotFoundError, ValueError: for files that cannot be used, mistakes on the command line, or if the package
            vtk is missing.
    """
    own = _parse(arguments)
    require_vtk()
    studies = [read_study(path, own.metadata, own.lung_value) for path in own.masks]
    output = Path(own.output)
    if len(studies) == 1:
        print(f"{studies[0].case}: {show(studies[0], own.image, own.truth, output)}, in {output}")
    else:
        rows = follow_up(studies, own.titles or [study.case for study in studies], output)
        columns = list(rows[-1])  # the last row has all of them
        text = aligned(columns, ([row.get(name) for name in columns] for row in rows), form="")
        print_table(text, output, "follow_up.csv", "follow_up.png", "report.html")
    return 0
