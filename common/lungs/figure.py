"""Figure of slices with the outlines of the lung by network, by threshold, and of what is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..lung_network.methods import GREY, NETWORK, THRESHOLD
from ..report import canvas
from ..report.grid import ImageGrid
from ..report.styles import ClassStyle
from .cases import Case

SHOWN = 12  # cases, at most
COLUMNS = 6
STYLES = {
    NETWORK: ClassStyle("lung", 1, (255, 176, 0)),
    THRESHOLD: ClassStyle("lung", 2, (100, 143, 255)),
    "lesions": ClassStyle("lung", 3, (220, 38, 127)),
    "true lung": ClassStyle("lung", 4, (242, 243, 245)),
}


class Shown(NamedTuple):
    """A slice of the figure.

    Args:
        name: of the case.
        image: (X, Y).
        window: values that are black and white.
        aspect: height of a pixel over its width.
        outlines: masks (X, Y), bool, by the names of ``STYLES``.
    """

    name: str
    image: np.ndarray
    window: tuple[float, float]
    aspect: float
    outlines: dict[str, np.ndarray]


def shown_slice(case: Case, lungs: dict[str, np.ndarray]) -> Shown:
    """Choose the slice in which the methods differ most.

    Args:
        case: the case.
        lungs: mask (X, Y, Z) of each method.
    """
    differing = (lungs[NETWORK] != lungs[THRESHOLD]).sum(axis=(0, 1))
    index = int(differing.argmax())
    known = {"lesions": None if case.lesions is None else case.lesions > 0, "true lung": case.lung}
    masks = {name: mask for name, mask in {**lungs, **known}.items() if mask is not None}
    window = GREY if case.intensity == "8bit" else canvas.LUNG_WINDOW
    aspect = 1.0 if case.spacing is None else case.spacing[1] / case.spacing[0]
    outlines = {name: mask[..., index].copy() for name, mask in masks.items()}
    return Shown(case.name, case.image[..., index].copy(), window, aspect, outlines)


def draw_lungs(path: Path, shown: Sequence[Shown]) -> None:
    """Write the figure, a PNG.

    Args:
        path: the file.
        shown: slices; of many, ``SHOWN`` at equal steps.
    """
    if len(shown) > SHOWN:
        shown = [shown[number] for number in np.linspace(0, len(shown) - 1, SHOWN).astype(int)]
    columns = min(COLUMNS, len(shown))
    rows = [shown[start : start + columns] for start in range(0, len(shown), columns)]
    heights = [max(each.image.shape[1] * each.aspect / each.image.shape[0] for each in row) for row in rows]
    names = [name for name in STYLES if any(name in each.outlines for each in shown)]
    legend = [ClassStyle(name, 1, STYLES[name].colour) for name in names]
    title = "The slice of each case in which network and threshold differ most"
    grid = ImageGrid(columns, heights, title=title, legend=legend, caption=16)
    for number, row in enumerate(rows):
        for column, each in enumerate(row):
            axes = grid.panel(number, column)
            canvas.show(axes, each.image, each.window, each.aspect)
            for name in reversed(names):
                if name in each.outlines:
                    canvas.outline(axes, each.outlines[name], STYLES[name])
            canvas.add_label(axes, 0.02, 0.04, each.name)
    grid.save(path)
