"""Figure of held-out slices with the labels of each stage of self-learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nibabel
import numpy as np
from nibabel.affines import voxel_sizes

from ..report import canvas
from ..report.grid import ImageGrid, height_over_width
from ..report.styles import ClassStyle, class_styles
from .results import read_array

SLICES = 5  # at most


class LabelledSlice(NamedTuple):
    """A slice (X, Y) cropped to the body, its masks, and the height of a pixel over its width."""

    image: np.ndarray
    masks: list[np.ndarray]
    aspect: float


def draw_held_out_slices(
    path: Path, truth: Path, labels: Mapping[str, Path], cases: Sequence[str], metadata: Path
) -> None:
    """Draw held-out slices, one per row: the slice, the ground truth if it is known, the labels of each stage.

    Each volume contributes the slice with the largest lesion area, in the ground truth or else in the first stage. Of
    all volumes (if any have ground truth, of these), the five with the largest lesion areas are drawn.

    Args:
        path: PNG to write.
        truth: folder of masks, which may be empty or missing.
        labels: folders in the Radiopaedia layout, by stage.
        cases: names of the held-out volumes.
        metadata: ``metadata.json`` of the bundle.
    """
    known = [case for case in cases if (truth / f"{case}.nii.gz").is_file()]
    masks = truth if known else next(iter(labels.values())) / "rp_msk"
    areas = {case: (read_array(masks / f"{case}.nii.gz") > 0).sum(axis=(0, 1)) for case in known or cases}
    chosen = sorted(areas, key=lambda case: -int(areas[case].max()))[:SLICES]
    styles = class_styles(metadata, ["ground-glass", "lung"])
    rows = [_read_slice(case, int(areas[case].argmax()), truth if known else None, labels, styles) for case in chosen]
    columns = ["slice", *(["ground truth"] if known else []), *labels]
    note = "ground truth: ground-glass and consolidation together, without lung; no level has been trained on it"
    grid = ImageGrid(
        len(columns),
        [height_over_width(row.image, row.aspect) for row in rows],
        title="Self-learning: held-out volumes, the slice with the largest lesion area of each",
        note=note if known else "no ground truth was given",
        titles=columns,
        labels=chosen,
        legend=styles,
        widest=0.6 * canvas.CELL,
    )
    for number, row in enumerate(rows):
        for column in range(len(columns)):
            canvas.show(grid.panel(number, column), row.image, canvas.LUNG_WINDOW, row.aspect)
        for column, mask in enumerate(row.masks, start=1):
            canvas.paint(grid.panel(number, column), mask, styles, row.aspect)
        canvas.mark_sides(grid.panel(number, 0))
    grid.save(path)


def _read_slice(
    case: str, index: int, truth: Path | None, labels: Mapping[str, Path], styles: Sequence[ClassStyle]
) -> LabelledSlice:
    """Read one slice of a case with its masks: the ground truth if there is a folder of it, then each stage."""
    lesion, lung = (style.value for style in styles)
    file, folders = f"{case}.nii.gz", list(labels.values())
    image = read_array(folders[0] / "rp_im" / file)[..., index]
    header: Any = nibabel.load(folders[0] / "rp_im" / file)
    x, y = voxel_sizes(header.affine)[:2]
    masks = [np.where(read_array(truth / file)[..., index] > 0, lesion, 0)] if truth else []
    for folder in folders:
        found, inside = (read_array(folder / kind / file)[..., index] > 0 for kind in ("rp_msk", "rp_lung_msk"))
        masks.append(np.select([found, inside], [lesion, lung]))
    field = canvas.body_field(image[..., None])
    return LabelledSlice(image[field], [mask[field] for mask in masks], float(y / x))
