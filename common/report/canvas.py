"""Parts that all figures share: size, colours, panels, slices as radiologists look at them, outlines, legends, text.

Figures are made without pyplot, so that they need no display and leave a user's matplotlib state alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from .styles import ClassStyle

DPI = 100
WIDTH, CELL = 1600, 560  # pixels; widest figure, widest panel
MARGIN, GAP = 18, 6  # pixels; around the panels, between them
BACKGROUND, TEXT, FAINT = "#101216", "#f2f3f5", "#a4a9b3"
GRID_LINE, AXIS = "#2a2e36", "#4a4f59"  # of plots
LINES = ("#ffb000", "#dc267f", "#648fff", "#a4a9b3", "#fe6100", "#8f7bf5")  # distinct with any colour vision
LEGEND_IN_PLOT: dict[str, Any] = {"facecolor": BACKGROUND, "edgecolor": "none", "framealpha": 0.8, "labelcolor": TEXT}
HATCH, UNCERTAIN = "//////", "uncertain"
FILL = 0.38  # opacity, so that the texture below a lesion stays visible
LUNG_WINDOW = (-1350.0, 150.0)  # HU that are drawn black and white
BODY_FROM = -300.0  # HU; slices are cropped to what lies above


def new_figure(width: float, height: float) -> Figure:
    """Dark figure of a size in pixels."""
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: str | Path) -> None:
    """Write a PNG, and make its folder if it is missing."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"compress_level": 3}  # 6 takes twice as long
    figure.savefig(path, dpi=DPI, facecolor=BACKGROUND, format="png", pil_kwargs=options)


def shortened(text: str, width: float, size: float, sentence: bool = False) -> str:
    """Cut a text so that ``size`` points fit into ``width`` pixels.

    A name is cut at its start, because names differ at their end, and a sentence at its end.
    """
    longest = max(2, int(width / (size * 0.85)))  # most letters are narrower than that
    if len(text) <= longest:
        return text
    return f"{text[: longest - 1]}…" if sentence else f"…{text[1 - longest :]}"


def write(
    figure: Figure, x: float, top: float, text: str, size: float, colour: str = TEXT, sentence: bool = False
) -> None:
    """Text at pixels from the left and from the top; file names may hold ``$``, so it is not parsed as maths."""
    width = figure.get_size_inches()[0] * DPI
    write_block(figure, x, top, shortened(text, width - 2 * MARGIN, size, sentence), size, colour)


def write_block(figure: Figure, x: float, top: float, text: str, size: float, colour: str = TEXT) -> None:
    """Lines of text whose middle is at pixels from the left and from the top."""
    width, height = figure.get_size_inches() * DPI
    figure.text(x / width, 1 - top / height, text, size=size, color=colour, va="center", parse_math=False)


def heading_height(title: str | None, note: str | None) -> int:
    """Pixels that a title and the note below it take; None takes no room."""
    return 16 + 24 * ((title is not None) + (note is not None))


def write_heading(figure: Figure, title: str | None, note: str | None = None) -> None:
    """Write a title and a note below it, at the top left."""
    lines = [line for line in ((title, 13.0, TEXT), (note, 10.5, FAINT)) if line[0] is not None]
    for number, (text, size, colour) in enumerate(lines):
        write(figure, MARGIN, 22 + 24 * number, str(text), size, colour, text is note)


def add_panel(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes without a frame at pixels from the left and from the top."""
    whole = figure.get_size_inches() * DPI
    bottom = whole[1] - top - height
    axes = figure.add_axes((left / whole[0], bottom / whole[1], width / whole[0], height / whole[1]))
    axes.set_axis_off()
    return axes


def add_plot(figure: Figure, left: float, top: float, width: float, height: float, title: str, xlabel: str) -> Axes:
    """Axes of a plot, with a grid, at pixels from the left and from the top."""
    axes = add_panel(figure, left, top, width, height)
    axes.set_axis_on()
    axes.set_facecolor(BACKGROUND)
    axes.set_title(title, color=TEXT, size=12, loc="left")
    axes.set_xlabel(xlabel, color=FAINT, size=10)
    axes.tick_params(colors=FAINT, labelsize=9, length=0)
    axes.grid(color=GRID_LINE, lw=0.8)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(AXIS)
    return axes


def line_colour(number: int) -> str:
    """Colour of a line, by its number from 0."""
    return LINES[number % len(LINES)]


def show(axes: Axes, image: np.ndarray, window: tuple[float, float], aspect: float) -> None:
    """Draw an axial slice (X, Y) as radiologists look at it: anterior up, the patient's left on the right."""
    axes.imshow(image.T, cmap="gray", vmin=window[0], vmax=window[1], origin="upper", aspect=aspect)


def paint(axes: Axes, mask: np.ndarray, classes: Sequence[ClassStyle], aspect: float) -> None:
    """Draw a mask (X, Y) over an image: lesions filled and outlined, the lung with its lesions outlined."""
    lesions = [style for style in classes if style.is_lesion]
    fill = np.zeros((*mask.T.shape, 4), np.float32)
    for style in lesions:
        fill[mask.T == style.value] = (*style.rgb, FILL)
    axes.imshow(fill, origin="upper", aspect=aspect, interpolation="nearest")
    diseased = np.isin(mask, [style.value for style in lesions])
    for style in classes:
        area = mask == style.value
        if style.name == "lung" and area.any():
            outline(axes, area | diseased, style)
    for style in sorted(lesions, key=lambda style: -np.count_nonzero(mask == style.value)):
        outline(axes, mask == style.value, style)  # small lesions last, so that large ones do not hide their line


def outline(axes: Axes, area: np.ndarray, style: ClassStyle) -> None:
    """Draw the outline of an area (X, Y), closed at the border of the image."""
    if area.any():
        limits = (axes.get_xlim(), axes.get_ylim())
        grid = [np.arange(-1, size + 1) for size in area.shape]
        axes.contour(*grid, np.pad(area.T, 1).astype(np.float32), levels=[0.5], colors=[style.rgb], linewidths=1.0)
        axes.set(xlim=limits[0], ylim=limits[1])


def hatch(axes: Axes, area: np.ndarray) -> None:
    """Hatch an area (X, Y)."""
    if area.any():
        limits = (axes.get_xlim(), axes.get_ylim())
        grid = [np.arange(-1, size + 1) for size in area.shape]
        found = axes.contourf(*grid, np.pad(area.T, 1), levels=[0.5, 1.5], colors="none", hatches=[HATCH])
        found.set(edgecolor=TEXT, linewidth=0)
        axes.set(xlim=limits[0], ylim=limits[1])


def add_legend(figure: Figure, classes: Sequence[ClassStyle], hatched: bool = False) -> None:
    """Names of the classes in the lower left corner, and what hatching means."""
    shown = [style for style in classes if style.name != "background"]
    patches = [
        Patch(facecolor=(*style.rgb, FILL if style.is_lesion else 0.0), edgecolor=style.rgb, label=style.name)
        for style in shown
    ]
    if hatched:
        patches.append(Patch(facecolor="none", edgecolor=TEXT, hatch=HATCH, label=UNCERTAIN))
    width, height = figure.get_size_inches() * DPI
    needed = sum(45 + 7.5 * len(str(patch.get_label())) for patch in patches) + 2 * MARGIN  # pixels at 11 points
    figure.legend(
        handles=patches,
        loc="lower left",
        bbox_to_anchor=(MARGIN / width, 6 / height),
        borderpad=0.0,
        borderaxespad=0.0,
        ncols=max(1, len(patches)),
        frameon=False,
        fontsize=11 * min(1.0, width / needed),
        labelcolor=TEXT,
        handlelength=1.2,
        handleheight=1.0,
        columnspacing=1.8,
    )


def add_label(axes: Axes, x: float, y: float, text: str) -> None:
    """Small text in a panel, ``x`` and ``y`` in 0..1, with an edge that keeps it legible on any grey."""
    letters = axes.text(x, y, text, color=TEXT, size=9, ha="right" if x > 0.5 else "left", va="center")
    letters.set(transform=axes.transAxes, path_effects=[withStroke(linewidth=2.2, foreground=BACKGROUND)])


def mark_sides(axes: Axes) -> None:
    """Mark the patient's right and left."""
    add_label(axes, 0.02, 0.5, "R")
    add_label(axes, 0.98, 0.5, "L")


def body_field(image: np.ndarray) -> tuple[slice, slice]:
    """Find the part of slices (X, Y, N) in HU that the body fills; all of it if nothing is dense enough."""
    body = (image > BODY_FROM).any(axis=2)
    field = []
    for axis in (0, 1):
        filled = np.flatnonzero(body.mean(axis=1 - axis) > 0.02)  # less is a cable or the edge of the table
        size = body.shape[axis]
        low, high = (int(filled[0]), int(filled[-1]) + 1) if filled.size > size // 4 else (0, size)
        spare = size // 50
        field.append(slice(max(0, low - spare), min(size, high + spare)))
    return field[0], field[1]
