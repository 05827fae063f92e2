"""Figure of surfaces, seen from the front and from the patient's left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from ..files import complete_file
from ..report import canvas
from ..report.grid import ImageGrid
from ..report.styles import ClassStyle
from .off_screen import draw_off_screen
from .point_tables import require_vtk
from .scene import VIEWS, Panel

SMALLEST_FIELD = 40.0  # mm, so that one small lesion does not fill a picture
FRAME = 1.08  # of what is shown, so that nothing touches the edge
SCALE_BAR = 50  # mm


def render(path: str | Path, panels: Sequence[Panel], title: str = "", note: str = "", aligned: bool = True) -> None:
    """Draw surfaces from the front and from the patient's left, superior up, all at one scale.

    Panels are columns and the two views rows. The views of a single panel lie side by side.

    Args:
        path: PNG to write, at most 1600 pixels wide; its folder is made if it is missing.
        panels: one or more.
        title: first line, usually the case.
        note: second line.
        aligned: panels share one coordinate system and one camera. If False, each panel is centred on its surfaces.

    Raises:
        ValueError: without panels, without vtk, or if VTK cannot draw.
    """
    if not panels:
        raise ValueError(f"{path}: a 3-D picture needs at least one panel, got none. Give the surfaces to draw.")
    require_vtk()
    corners = np.array([_corners(panels if aligned else [panel]) for panel in panels])  # (panels, 2, 3)
    x, y, z = np.maximum(FRAME * np.ptp(corners, axis=1).max(axis=0), SMALLEST_FIELD)
    columns = max(len(VIEWS), len(panels))
    free = canvas.WIDTH - 2 * canvas.MARGIN - (columns - 1) * canvas.GAP
    width = min(canvas.CELL, free // columns)  # pixels
    pixel = max(x / width, y / width, z / (1.2 * width))  # mm
    height = int(np.ceil(z / pixel))
    scenes = [(panel.parts, each.mean(axis=0)) for panel, each in zip(panels, corners, strict=True)]
    pictures = draw_off_screen(scenes, (width, height), pixel, to_rgb(canvas.BACKGROUND))
    named = {part.name: part.colour for panel in panels for part in panel.parts}
    grid = ImageGrid(
        len(panels),
        [height / width] * len(VIEWS),
        title=title,
        note=note or None,
        legend=[ClassStyle(name, 0, colour) for name, colour in named.items()],
        widest=width,
        heading=64 if any(panel.title for panel in panels) else 0,
        turn_single_column=True,
    )
    for column, panel in enumerate(panels):
        top = canvas.heading_height(title, note or None)
        canvas.write(grid.figure, grid.lefts[column], top + 10, panel.title, 12)
        canvas.write(grid.figure, grid.lefts[column], top + 34, panel.note, 10.5, canvas.FAINT)
        for row, (_, sides, name) in enumerate(VIEWS):
            axes = grid.panel(row, column)
            axes.imshow(pictures[len(VIEWS) * column + row], aspect="auto", interpolation="nearest")
            _label(axes, sides, name, SCALE_BAR / pixel / width)
    with complete_file(path) as part:
        grid.save(part)


def _corners(panels: Sequence[Panel]) -> np.ndarray:
    """Lowest and highest coordinates of all surfaces, (2, 3) in mm; zeros if there are none."""
    shown = [part.vertices for panel in panels for part in panel.parts if len(part.vertices)]
    if not shown:
        return np.zeros((2, 3))
    return np.array([np.min([each.min(0) for each in shown], 0), np.max([each.max(0) for each in shown], 0)])


def _label(axes: Axes, sides: str, name: str, scale: float) -> None:
    """Name a view, its sides, and a scale bar; ``scale`` is the bar's share of the width."""
    for x, letter in zip((0.02, 0.98), sides, strict=True):
        canvas.add_label(axes, x, 0.5, letter)
    canvas.add_label(axes, 0.02, 0.96, name)
    axes.plot([0.97 - scale, 0.97], [0.03, 0.03], color=canvas.FAINT, lw=2, transform=axes.transAxes)
    canvas.add_label(axes, 0.97, 0.06, f"{SCALE_BAR} mm")
