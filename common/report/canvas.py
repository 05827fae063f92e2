"""What all pictures are drawn with: figures, panels, slices as radiologists look at them, outlines, legends, text.

Figures of their own, without pyplot, so that they neither need a display nor touch a user's matplotlib state.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .styles import ClassStyle

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 100
WIDTH, CELL = 1600, 560  # pixels; widest sheet, widest panel
MARGIN, GAP, HEADER, FOOTER = 18, 6, 64, 46  # pixels
BACKGROUND, TEXT, FAINT = "#101216", "#f2f3f5", "#a4a9b3"
LINES = ("#ffb000", "#dc267f", "#648fff", "#a4a9b3", "#fe6100", "#8f7bf5")  # told apart with any colour vision
FILL = 0.38  # opacity, so that the texture below a lesion stays visible
BODY_FROM = -300.0  # HU; pictures are cropped to what lies above


def new_figure(width: float, height: float) -> Figure:
    """Dark figure of a size in pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: str | Path) -> None:
    """Write a PNG; its folder is made where missing."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(
        path, dpi=DPI, facecolor=BACKGROUND, format="png", pil_kwargs={"compress_level": 3}
    )  # 6 takes twice as long


def shortened(text: str, width: float, size: float) -> str:
    """The end of a text, where cases differ, as far as it fits into ``width`` pixels at ``size`` points."""
    longest = max(2, int(width / (size * 0.85)))  # most letters are narrower than that
    return text if len(text) <= longest else f"…{text[1 - longest :]}"


def write(figure: Figure, x: float, top: float, text: str, size: float, colour: str = TEXT) -> None:
    """Text at pixels from the left and from the top; file names may hold ``$``, so it is not parsed."""
    width, height = figure.get_size_inches() * DPI
    text = shortened(text, width - 2 * MARGIN, size)
    figure.text(x / width, 1 - top / height, text, size=size, color=colour, va="center", parse_math=False)


def add_panel(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes without frame at pixels from the left and from the top."""
    whole = figure.get_size_inches() * DPI
    bottom = whole[1] - top - height
    axes = figure.add_axes((left / whole[0], bottom / whole[1], width / whole[0], height / whole[1]))
    axes.set_axis_off()
    return axes


def add_plot(figure: Figure, left: float, top: float, width: float, height: float, title: str, across: str) -> Axes:
    """Axes with a grid at pixels from the left and from the top; ``across`` names the horizontal one."""
    axes = add_panel(figure, left, top, width, height)
    axes.set_axis_on()
    axes.set_facecolor(BACKGROUND)
    axes.set_title(title, color=TEXT, size=12, loc="left")
    axes.set_xlabel(across, color=FAINT, size=10)
    axes.tick_params(colors=FAINT, labelsize=9, length=0)
    axes.grid(color="#2a2e36", lw=0.8)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color("#4a4f59")
    return axes


def show(axes: Axes, image: np.ndarray, window: tuple[float, float], aspect: float) -> None:
    """An axial slice (X, Y) as radiologists look at it: anterior up, the patient's left at the right."""
    axes.imshow(image.T, cmap="gray", vmin=window[0], vmax=window[1], origin="upper", aspect=aspect)


def paint(axes: Axes, mask: np.ndarray, classes: Sequence[ClassStyle], aspect: float) -> None:
    """Classes of a mask (X, Y) over an image: lesions as fill and contour, lung with its lesions as contour."""
    lesions = [style for style in classes if style.is_lesion]
    fill = np.zeros((*mask.T.shape, 4), np.float32)
    for style in lesions:
        fill[mask.T == style.value] = (*style.rgb, FILL)
    axes.imshow(fill, origin="upper", aspect=aspect, interpolation="nearest")
    diseased = np.isin(mask, [style.value for style in lesions])
    for style in classes:
        area = mask == style.value
        if style.name == "lung" and area.any():
            contour(axes, area | diseased, style)
    for style in sorted(lesions, key=lambda style: -np.count_nonzero(mask == style.value)):
        contour(axes, mask == style.value, style)  # thin lines over the regions that they lie in


def contour(axes: Axes, area: np.ndarray, style: ClassStyle) -> None:
    """Outline of an area (X, Y), closed where the border of the image cuts it."""
    if area.any():
        limits = (axes.get_xlim(), axes.get_ylim())
        grid = [np.arange(-1, size + 1) for size in area.shape]
        axes.contour(*grid, np.pad(area.T, 1).astype(np.float32), levels=[0.5], colors=[style.rgb], linewidths=1.0)
        axes.set(xlim=limits[0], ylim=limits[1])


def add_legend(figure: Figure, classes: Sequence[ClassStyle]) -> None:
    """Names of the classes below the panels."""
    from matplotlib.patches import Patch

    shown = [style for style in classes if style.name != "background"]
    patches = [
        Patch(facecolor=(*style.rgb, FILL if style.is_lesion else 0.0), edgecolor=style.rgb, label=style.name)
        for style in shown
    ]
    width, height = figure.get_size_inches() * DPI
    figure.legend(
        handles=patches,
        loc="lower left",
        bbox_to_anchor=(MARGIN / width, 6 / height),
        borderpad=0.0,
        borderaxespad=0.0,
        ncols=max(1, len(shown)),
        frameon=False,
        fontsize=11,
        labelcolor=TEXT,
        handlelength=1.2,
        handleheight=1.0,
        columnspacing=1.8,
    )


def add_label(axes: Axes, x: float, y: float, text: str) -> None:
    """Small text in a panel, ``x`` and ``y`` in 0..1, with an edge that keeps it legible on any grey."""
    from matplotlib.patheffects import withStroke

    letters = axes.text(x, y, text, color=TEXT, size=9, ha="right" if x > 0.5 else "left", va="center")
    letters.set(transform=axes.transAxes, path_effects=[withStroke(linewidth=2.2, foreground=BACKGROUND)])


def add_title(axes: Axes, title: str, panel: float) -> None:
    """Title above a panel of a width in pixels."""
    axes.set_title(shortened(title, panel, 9), color=TEXT, size=9, pad=7, parse_math=False)


def label_row(axes: Axes, name: str, panel: float, tall: float) -> None:
    """Name of a row, upright beside its first panel of a size in pixels."""
    name = shortened(name, tall, 11)
    side = axes.text(-10 / panel, 0.5, name, color=FAINT, size=11, rotation=90, ha="center", va="center")
    side.set(transform=axes.transAxes, parse_math=False)


def mark_sides(axes: Axes) -> None:
    """Mark the patient's right and left."""
    add_label(axes, 0.02, 0.5, "R")
    add_label(axes, 0.98, 0.5, "L")


def body_field(image: np.ndarray) -> tuple[slice, slice]:
    """The part of slices (X, Y, N) that the body fills; all of it where nothing is dense enough."""
    body = (image > BODY_FROM).any(axis=2)
    cut = []
    for axis in (0, 1):
        filled = np.flatnonzero(body.mean(axis=1 - axis) > 0.02)  # less is a cable or the edge of the table
        size = body.shape[axis]
        low, high = (int(filled[0]), int(filled[-1]) + 1) if filled.size > size // 4 else (0, size)
        spare = size // 50
        cut.append(slice(max(0, low - spare), min(size, high + spare)))
    return cut[0], cut[1]
