"""What self-learning came to: a picture of held-out slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.affines import voxel_sizes

from ..report.canvas import (
    CELL,
    FAINT,
    FOOTER,
    GAP,
    HEADER,
    MARGIN,
    WIDTH,
    add_legend,
    add_panel,
    add_title,
    body_field,
    label_row,
    mark_sides,
    new_figure,
    paint,
    save,
    show,
    write,
)
from ..report.styles import ClassStyle, class_styles
from .results import read_array

WINDOW = (-1350.0, 150.0)  # HU
SLICES, SIDE, TITLES = 5, 14, 24  # of the sheet, at most; pixels beside and above the panels


def draw_held_out_slices(
    path: Path, truth: Path, labels: Mapping[str, Path], cases: Sequence[str], metadata: Path
) -> None:
    """Draw held-out slices, a row each: the slice, the truth where it is known, the labels of each stage.

    Of each volume the slice with most lesion is taken, by the truth or else by the first stage, of five volumes at
    most: those with most lesion, of volumes with truth where there are any.

    Args:
        path: PNG to write.
        truth: folder of masks, which may be empty or missing.
        labels: folders in the Radiopaedia layout, by stage.
        cases: names of the held-out volumes.
        metadata: ``metadata.json`` of the bundle.
    """
    first = next(iter(labels.values()))
    known = [case for case in cases if (truth / f"{case}.nii.gz").is_file()]
    place = truth if known else first / "rp_msk"
    areas = {case: (read_array(place / f"{case}.nii.gz") > 0).sum(axis=(0, 1)) for case in known or cases}
    chosen = sorted(areas, key=lambda case: -int(areas[case].max()))[:SLICES]
    styles = class_styles(metadata, ["ground-glass", "lung"])
    columns = ["slice", *(["truth"] if known else []), *labels]
    edge, top = MARGIN + SIDE, HEADER + TITLES
    panel = min(0.6 * CELL, (WIDTH - edge - MARGIN - (len(columns) - 1) * GAP) / len(columns))
    rows = [_row(case, int(areas[case].argmax()), truth if known else None, labels, styles) for case in chosen]
    heights = [panel * row["aspect"] * row["image"].shape[1] / row["image"].shape[0] for row in rows]
    figure = new_figure(
        edge + len(columns) * (panel + GAP) - GAP + MARGIN, top + sum(heights) + len(rows) * GAP + FOOTER
    )
    write(figure, MARGIN, 22, "Self-learning: held-out volumes, the slice of each with most lesion", 13)
    note = (
        "truth: ground-glass and consolidation together, without lung; no level has seen it"
        if known
        else "no truth was given"
    )
    write(figure, MARGIN, 46, note, 10.5, FAINT)
    for number, (case, row, tall) in enumerate(zip(chosen, rows, heights, strict=True)):
        above = top + sum(heights[:number]) + number * GAP
        for column, name in enumerate(columns):
            axes = add_panel(figure, edge + column * (panel + GAP), above, panel, tall)
            if number == 0:
                add_title(axes, name, panel)
            show(axes, row["image"], WINDOW, row["aspect"])
            if column:
                paint(axes, row["masks"][column - 1], styles, row["aspect"])
            else:
                label_row(axes, case, panel, tall)
                mark_sides(axes)
    add_legend(figure, styles)
    save(figure, path)


def _row(
    case: str, index: int, truth: Path | None, labels: Mapping[str, Path], styles: Sequence[ClassStyle]
) -> dict[str, Any]:
    """One slice: image (X, Y) and masks, cropped to the body, and the height of a pixel over its width."""
    lesion, lung = (style.value for style in styles)
    file, folders = f"{case}.nii.gz", list(labels.values())
    image = read_array(folders[0] / "rp_im" / file)[..., index]
    header: Any = nibabel.load(folders[0] / "rp_im" / file)
    x, y = voxel_sizes(header.affine)[:2]
    masks = [np.where(read_array(truth / file)[..., index] > 0, lesion, 0)] if truth else []
    for folder in folders:
        found, inside = (read_array(folder / kind / file)[..., index] > 0 for kind in ("rp_msk", "rp_lung_msk"))
        masks.append(np.select([found, inside], [lesion, lung]))
    field = body_field(image[..., None])
    return {"image": image[field], "masks": [mask[field] for mask in masks], "aspect": float(y / x)}
