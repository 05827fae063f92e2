"""Pictures as PNG: a case with its mask, predictions beside the truth, training curves.

Drawn on figures of their own, without pyplot, so that they neither need a display nor touch a user's matplotlib state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

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


@dataclass(frozen=True)
class ClassStyle:
    """How a class is stored and drawn.

    Args:
        name: ``lung`` is drawn as an outline, ``background`` not at all, all others are lesions.
        value: in integer masks.
        colour: red, green, blue, 0..255.
    """

    name: str
    value: int
    colour: tuple[int, int, int]

    @property
    def rgb(self) -> tuple[float, float, float]:
        """Colour in 0..1."""
        return (self.colour[0] / 255, self.colour[1] / 255, self.colour[2] / 255)

    @property
    def is_lesion(self) -> bool:
        """Neither lung nor background."""
        return self.name not in ("lung", "background")


def _figure(width: float, height: float) -> Figure:
    """Dark figure of a size in pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, path: str | Path) -> None:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(
        path, dpi=DPI, facecolor=BACKGROUND, format="png", pil_kwargs={"compress_level": 3}
    )  # 6 takes twice as long


def _shortened(text: str, width: float, size: float) -> str:
    """The end of a text, where cases differ, as far as it fits into ``width`` pixels at ``size`` points."""
    longest = max(2, int(width / (size * 0.85)))  # most letters are narrower than that
    return text if len(text) <= longest else f"…{text[1 - longest :]}"


def _write(figure: Figure, x: float, top: float, text: str, size: float, colour: str = TEXT) -> None:
    """Text at pixels from the left and from the top; file names may hold ``$``, so it is not parsed."""
    width, height = figure.get_size_inches() * DPI
    text = _shortened(text, width - 2 * MARGIN, size)
    figure.text(x / width, 1 - top / height, text, size=size, color=colour, va="center", parse_math=False)


def _panel(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes without frame at pixels from the left and from the top."""
    whole = figure.get_size_inches() * DPI
    bottom = whole[1] - top - height
    axes = figure.add_axes((left / whole[0], bottom / whole[1], width / whole[0], height / whole[1]))
    axes.set_axis_off()
    return axes


def _plot(figure: Figure, left: float, top: float, width: float, height: float, title: str, across: str) -> Axes:
    """Axes with a grid at pixels from the left and from the top; ``across`` names the horizontal one."""
    axes = _panel(figure, left, top, width, height)
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


def _show(axes: Axes, image: np.ndarray, window: tuple[float, float], aspect: float) -> None:
    """An axial slice (X, Y) as radiologists look at it: anterior up, the patient's left at the right."""
    axes.imshow(image.T, cmap="gray", vmin=window[0], vmax=window[1], origin="upper", aspect=aspect)


def _paint(axes: Axes, mask: np.ndarray, classes: Sequence[ClassStyle], aspect: float) -> None:
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
            _contour(axes, area | diseased, style)
    for style in sorted(lesions, key=lambda style: -np.count_nonzero(mask == style.value)):
        _contour(axes, mask == style.value, style)  # thin lines over the regions that they lie in


def _contour(axes: Axes, area: np.ndarray, style: ClassStyle) -> None:
    """Outline of an area (X, Y), closed where the border of the image cuts it."""
    if area.any():
        limits = (axes.get_xlim(), axes.get_ylim())
        grid = [np.arange(-1, size + 1) for size in area.shape]
        axes.contour(*grid, np.pad(area.T, 1).astype(np.float32), levels=[0.5], colors=[style.rgb], linewidths=1.0)
        axes.set(xlim=limits[0], ylim=limits[1])


def _legend(figure: Figure, classes: Sequence[ClassStyle]) -> None:
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


def _label(axes: Axes, x: float, y: float, text: str) -> None:
    """Small text in a panel, ``x`` and ``y`` in 0..1, with an edge that keeps it legible on any grey."""
    from matplotlib.patheffects import withStroke

    letters = axes.text(x, y, text, color=TEXT, size=9, ha="right" if x > 0.5 else "left", va="center")
    letters.set(transform=axes.transAxes, path_effects=[withStroke(linewidth=2.2, foreground=BACKGROUND)])


def _title(axes: Axes, title: str, panel: float) -> None:
    """Title above a panel of a width in pixels."""
    axes.set_title(_shortened(title, panel, 9), color=TEXT, size=9, pad=7, parse_math=False)


def _label_row(axes: Axes, name: str, panel: float, tall: float) -> None:
    """Name of a row, upright beside its first panel of a size in pixels."""
    name = _shortened(name, tall, 11)
    side = axes.text(-10 / panel, 0.5, name, color=FAINT, size=11, rotation=90, ha="center", va="center")
    side.set(transform=axes.transAxes, parse_math=False)


def _sides(axes: Axes) -> None:
    """Mark the patient's right and left."""
    _label(axes, 0.02, 0.5, "R")
    _label(axes, 0.98, 0.5, "L")


def _chosen(mask: np.ndarray, classes: Sequence[ClassStyle], count: int) -> list[int]:
    """Up to ``count`` slices at even quantiles of lesion area, with the largest one, from superior to inferior."""
    lesions = [style.value for style in classes if style.is_lesion]
    lungs = [style.value for style in classes if style.name == "lung"]
    area = np.ones(mask.shape[2])
    for values in (lungs, lesions):
        found = sum(((mask == value).sum(axis=(0, 1)) for value in values), start=np.zeros(mask.shape[2]))
        area = found if found.any() else area
    quantiles = (np.arange(count) + 0.5) / count
    chosen = np.unique(np.searchsorted(np.cumsum(area) / area.sum(), quantiles)).tolist()
    largest = int(area.argmax())
    if area[chosen].max() < area[largest]:
        chosen.remove(min(chosen, key=lambda index: abs(index - largest)))
        chosen.append(largest)
    return sorted(chosen, reverse=True)


def _field(image: np.ndarray) -> tuple[slice, slice]:
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


def overlay(
    path: str | Path,
    image: np.ndarray,
    mask: np.ndarray,
    classes: Sequence[ClassStyle],
    title: str = "",
    window: tuple[float, float] = (-1350.0, 150.0),
    slices: int = 6,
    note: str = "",
    spacing: tuple[float, float, float] | None = None,
) -> None:
    """Sheet of a case: axial slices above, the same with the mask below; side by side for a single slice.

    Slices lie at even quantiles of the lesion area (without lesions, of the lung), the one with most lesion among them,
    from superior to inferior, cropped to the body. Their numbers count from 1 at the most inferior.

    Args:
        path: PNG to write, at most 1600 pixels wide; its folder is made where missing.
        image: HU, (X, Y, Z) in LPS order.
        mask: integers, same shape.
        classes: what the values of the mask mean; others are not drawn.
        title: first line, usually the case.
        window: HU that are drawn black and white.
        slices: the most slices to show.
        note: second line.
        spacing: voxel size in mm; None draws square pixels.

    Raises:
        ValueError: for an image or a mask without three axes, shapes that differ, or ``slices`` below 1.
    """
    if image.ndim != 3 or image.shape != mask.shape or image.size == 0:
        raise ValueError(f"Image and mask have one shape (X, Y, Z), got {image.shape} and {mask.shape}. Reorient both.")
    if slices < 1:
        raise ValueError(f"A sheet shows 1 slice or more, got slices={slices}.")
    chosen = _chosen(mask, classes, slices)
    field = _field(image[:, :, chosen])
    aspect = spacing[1] / spacing[0] if spacing else 1.0  # height of a pixel over its width
    columns = max(2, len(chosen))
    panel = min(CELL, (WIDTH - 2 * MARGIN - (columns - 1) * GAP) / columns)
    tall = panel * (field[1].stop - field[1].start) * aspect / (field[0].stop - field[0].start)
    rows = 1 if len(chosen) == 1 else 2
    figure = _figure(2 * MARGIN + columns * (panel + GAP) - GAP, HEADER + rows * (tall + GAP) + FOOTER)
    _write(figure, MARGIN, 22, title, 13)
    _write(figure, MARGIN, 46, note, 10.5, FAINT)
    for position, index in enumerate(chosen):
        plane = image[field[0], field[1], index]
        plain = _panel(figure, MARGIN + position * (panel + GAP), HEADER, panel, tall)
        _show(plain, plane, window, aspect)
        _sides(plain)
        if image.shape[2] > 1:
            _label(plain, 0.02, 0.95, f"{index + 1} / {image.shape[2]}")
        beside, below = (panel + GAP, 0.0) if rows == 1 else (0.0, tall + GAP)
        left = MARGIN + position * (panel + GAP)
        painted = _panel(figure, left + beside, HEADER + below, panel, tall)
        _show(painted, plane, window, aspect)
        _paint(painted, mask[field[0], field[1], index], classes, aspect)
    _legend(figure, classes)
    _save(figure, path)


def comparison(
    path: str | Path,
    images: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    predictions: Mapping[str, Sequence[np.ndarray]],
    classes: Sequence[ClassStyle],
    titles: Sequence[str],
    sides: bool = True,
    window: tuple[float, float] | None = None,
    title: str = "",
    note: str = "",
) -> None:
    """Sheet of slices: image, truth and each prediction below each other, one slice a column.

    Args:
        path: PNG to write, at most 1600 pixels wide; its folder is made where missing.
        images: arrays (X, Y) in LPS order of any range.
        truths: integers, the shape of their image.
        predictions: by name of the row, integers, the shape of their image.
        classes: what the values of the masks mean; others are not drawn.
        titles: text above each column.
        sides: mark the patient's right and left, which ultrasound does not know.
        window: values that are drawn black and white; None takes each image's 1st and 99th percentile.
        title: first line, without which it takes no room.
        note: second line, likewise.

    Raises:
        ValueError: for no slices, lists of differing length, or shapes that differ.
    """
    _check_slices(images, [truths, *predictions.values()], titles)
    lines = [line for line in ((title, 13.0, TEXT), (note, 10.5, FAINT)) if line[0]]
    edge, header = MARGIN + 14, 40 + 24 * len(lines)
    panel = min(0.75 * CELL, (WIDTH - edge - MARGIN - (len(images) - 1) * GAP) / len(images))
    tall = panel * max(image.shape[1] / image.shape[0] for image in images)
    width = edge + MARGIN + len(images) * (panel + GAP) - GAP
    rows = {"image": None, "truth": truths, **predictions}
    figure = _figure(width, header + len(rows) * (tall + GAP) + FOOTER)
    for number, line in enumerate(lines):
        _write(figure, MARGIN, 22 + 24 * number, *line)
    for column, image in enumerate(images):
        levels = window or (float(np.percentile(image, 1)), float(np.percentile(image, 99)))
        for row, (name, masks) in enumerate(rows.items()):
            axes = _panel(figure, edge + column * (panel + GAP), header + row * (tall + GAP), panel, tall)
            _show(axes, image, levels, 1.0)
            if masks is None:
                _title(axes, titles[column], panel)
                if sides:
                    _sides(axes)
            else:
                _paint(axes, masks[column], classes, 1.0)
            if column == 0:
                _label_row(axes, name, panel, tall)
    _legend(figure, classes)
    _save(figure, path)


def frame_sheet(
    path: str | Path,
    images: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    classes: Sequence[ClassStyle],
    titles: Sequence[str],
    title: str = "",
    note: str = "",
) -> None:
    """Sheet of an ultrasound case: frames above, the same with their masks below; side by side for a single one.

    Args:
        path: PNG to write, at most 1600 pixels wide; its folder is made where missing.
        images: grey levels 0..255, arrays (rows, columns), all of one shape.
        masks: integers, the shape of their image.
        classes: what the values of the masks mean; others are not drawn.
        titles: small text on each frame.
        title: first line, usually the case.
        note: second line.
    """
    _check_slices(images, [masks], titles)
    columns = max(2, len(images))
    panel = min(CELL, (WIDTH - 2 * MARGIN - (columns - 1) * GAP) / columns)
    tall = panel * images[0].shape[0] / images[0].shape[1]
    rows = 1 if len(images) == 1 else 2
    figure = _figure(2 * MARGIN + columns * (panel + GAP) - GAP, HEADER + rows * (tall + GAP) + FOOTER)
    _write(figure, MARGIN, 22, title, 13)
    _write(figure, MARGIN, 46, note, 10.5, FAINT)
    for position, (image, mask) in enumerate(zip(images, masks, strict=True)):
        left = MARGIN + position * (panel + GAP)
        plain = _panel(figure, left, HEADER, panel, tall)
        _show(plain, image.T, (0, 255), 1.0)
        _label(plain, 0.02, 0.95, titles[position])
        beside, below = (panel + GAP, 0.0) if rows == 1 else (0.0, tall + GAP)
        painted = _panel(figure, left + beside, HEADER + below, panel, tall)
        _show(painted, image.T, (0, 255), 1.0)
        _paint(painted, mask.T, classes, 1.0)
    _legend(figure, classes)
    _save(figure, path)


def confusion_picture(path: str | Path, matrices: Mapping[str, np.ndarray], classes: Sequence[str]) -> None:
    """Confusion matrices side by side: rows are truth, columns prediction; counts, shaded by their share of the row.

    Args:
        path: PNG to write; its folder is made where missing.
        matrices: counts (classes, classes), by what they count.
        classes: names in order.
    """
    side, left = 300, 150
    figure = _figure(len(matrices) * (side + left) + MARGIN, side + 130)
    for position, (name, counts) in enumerate(matrices.items()):
        axes = _panel(figure, left + position * (side + left), 70, side, side)
        _confusion(axes, counts, classes, f"{name}; rows are the truth", "prediction")
    _save(figure, path)


def _confusion(axes: Axes, counts: np.ndarray, classes: Sequence[str], title: str, across: str) -> None:
    """A confusion matrix (classes, classes), shaded by the share of the row; ``across`` is what the columns are."""
    axes.set_axis_on()
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1.2)
    for (row, column), count in np.ndenumerate(counts):
        colour = BACKGROUND if share[row, column] < 0.6 else TEXT
        axes.text(column, row, f"{int(count)}", ha="center", va="center", color=colour, size=12)
    axes.set_xticks(range(len(classes)), classes, color=FAINT, size=10)
    axes.set_yticks(range(len(classes)), classes, color=FAINT, size=10)
    axes.tick_params(length=0)
    axes.set_xlabel(across, color=FAINT, size=10)
    axes.set_title(title, color=TEXT, size=12, loc="left")
    for spine in axes.spines.values():
        spine.set_visible(False)


def _check_slices(images: Sequence[np.ndarray], masks: Sequence[Sequence[np.ndarray]], titles: Sequence[str]) -> None:
    """Raise ValueError unless there is one of each per slice, of one shape."""
    lengths = [len(each) for each in (images, *masks, titles)]
    if len(set(lengths)) > 1 or not images:
        raise ValueError(f"Give an image, its masks and a title for each of one or more slices, got {lengths}.")
    for image, *drawn in zip(images, *masks, strict=True):
        if image.ndim != 2 or any(mask.shape != image.shape for mask in drawn):
            shapes = ", ".join(str(each.shape) for each in (image, *drawn))
            raise ValueError(f"An image and its masks have one shape (X, Y), got {shapes}. Put them on one grid.")


def _lines(axes: Axes, rows: Sequence[Mapping[str, float]], columns: Sequence[str], prefix: str) -> None:
    """One line a column over epochs, without its missing values, labelled with its last one."""
    for position, column in enumerate(columns):
        points = [(row.get("epoch", number), row.get(column, np.nan)) for number, row in enumerate(rows, start=1)]
        axes.set_xlim(0.5, max([2.0, *(point[0] for point in points)]) + 0.5)
        finite = [point for point in points if np.isfinite(point[1])]
        name = column.removeprefix(prefix).replace("_", " ")
        name += f"  {finite[-1][1]:.3f}" if finite else "  none"
        marker = "o" if len(rows) <= 30 else None
        x, y = zip(*finite, strict=True) if finite else ((), ())
        axes.plot(x, y, color=LINES[position % len(LINES)], lw=1.8, marker=marker, ms=4, label=name)


def curves(
    path: str | Path,
    rows: Sequence[Mapping[str, float]],
    loss_columns: Sequence[str],
    score_columns: Sequence[str],
    title: str = "",
    score: str = "Dice",
) -> None:
    """Training curves: losses on the left, scores on the right, over epochs; legends tell the last values.

    Args:
        path: PNG to write, 1200 pixels wide; its folder is made where missing.
        rows: a mapping an epoch; ``epoch`` counts from 1 where missing. Missing values and NaN are left out.
        loss_columns: keys of losses; several share a logarithmic scale.
        score_columns: keys of scores, drawn from 0 to 1 where none is beyond; a prefix ``<score>_`` is left out of
            their names.
        title: line above.
        score: what the scores are.
    """
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    several = len(loss_columns) > 1
    figure = _figure(1200, 520 if several else 460)
    _write(figure, MARGIN, 22, title, 13)
    for left, name, columns in ((70, "loss", loss_columns), (670, score, score_columns)):
        axes = _plot(figure, left, 62, 510, 330, name, "epoch")
        _lines(axes, rows, columns, f"{score.lower()}_")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        values = [row.get(column, np.nan) for row in rows for column in columns]
        if columns is score_columns and not any(value < 0 or value > 1 for value in values):
            axes.set_ylim(-0.02, 1.02)
        frame: dict[str, Any] = {"loc": "best", "facecolor": BACKGROUND, "edgecolor": "none", "framealpha": 0.8}
        if columns is loss_columns and several:
            axes.set_yscale("symlog", linthresh=0.1)  # terms of several sizes, of either sign
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            frame = {"loc": "upper left", "bbox_to_anchor": (-0.03, -0.14), "ncols": 3, "frameon": False}
        if columns:
            axes.legend(labelcolor=TEXT, fontsize=9 if several else 10, **frame)
    _save(figure, path)
