"""A paper's figure of curves, with one curve per variant."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..report import canvas
from ..settings import check_mapping, check_names
from .items import check_entry, chosen_runs, found_files

NEEDED, MAYBE = ("name", "file", "x", "y"), ("title", "variants", "run", "xlabel", "ylabel", "steps", "scales")
SCALES = ("unit", "free", "log")


@dataclass(frozen=True)
class PaperCurves:
    """Curves, as a bundle's ``reproduce.yaml`` declares them.

    Args:
        name: name of the figure's file.
        title: line above the curves.
        file: name of the CSV file that each run writes.
        x: its column for the horizontal axis.
        y: its column for the vertical axis.
        variants: variants whose curves are drawn, in order.
        run: the run of each variant that is drawn, such as ``fold0``.
        xlabel: text below the horizontal axis.
        ylabel: text above the vertical axis.
        steps: a value is constant from one point back to the point before it, as precision is over recall. If False,
            points are joined by lines.
        scales: of the horizontal and the vertical axis: ``unit``, from 0 to 1 as scores are; ``free``, as far as the
            numbers reach; ``log``, likewise and logarithmic.
    """

    name: str
    title: str
    file: str
    x: str
    y: str
    variants: Sequence[str]
    run: str
    xlabel: str
    ylabel: str
    steps: bool = False
    scales: tuple[str, str] = ("unit", "unit")


def read_curves(entry: Any, variants: Sequence[str], runs: Sequence[str]) -> PaperCurves:
    """Read one entry of ``curves:``.

    Raises:
        ValueError: if a key, variant or run is missing or unknown, or a value has the wrong form.
    """
    where = check_entry(entry, "curves", NEEDED, MAYBE, each="of curves")
    shown, run = chosen_runs(entry, variants, runs, where)
    steps = entry.get("steps", False)
    if not isinstance(steps, bool):
        raise ValueError(f"{where}: steps is true or false, got {steps!r}.")
    scales = check_mapping(entry.get("scales", {}), f"{where}: scales")
    check_names("axis", scales, ("x", "y"), f"{where}: scales")
    check_names("scale", scales.values(), SCALES, f"{where}: scales")
    file, x, y = (str(entry[key]) for key in ("file", "x", "y"))
    both = (scales.get("x", "unit"), scales.get("y", "unit"))
    words = {
        key: str(entry.get(key, entry[other])) for key, other in (("title", "name"), ("xlabel", "x"), ("ylabel", "y"))
    }
    return PaperCurves(entry["name"], file=file, x=x, y=y, variants=shown, run=run, steps=steps, scales=both, **words)


def write_curves(path: Path, curves: PaperCurves, files: Mapping[str, Path | None], facts: Sequence[str]) -> None:
    """Draw the curves of all variants that are done.

    Args:
        path: PNG to write.
        curves: the curves to draw.
        files: CSV file of each variant; None if the variant is not done. Missing variants are named below the title.
        facts: sentences on the data; the first is written below the title.

    Raises:
        FileNotFoundError: if no variant has its file.
        ValueError: if a file lacks a column.
    """
    files = {name: files.get(name) for name in curves.variants}
    found, notes = found_files(curves.name, curves.run, files, curves.file, "Evaluate them first.")
    figure = canvas.new_figure(900, 560)
    canvas.write_heading(figure, curves.title, " ".join([*facts[:1], *notes]))
    axes = canvas.add_plot(figure, 70, 88, 580, 410, curves.ylabel, curves.xlabel)
    for number, variant in enumerate(curves.variants):  # a variant keeps its colour when others are done later
        if variant in found:
            points = _read(found[variant], curves.x, curves.y)
            axes.plot(
                *points,
                color=canvas.line_colour(number),
                ls="-" if number < len(canvas.LINES) else "--",
                lw=1.8,
                drawstyle="steps-pre" if curves.steps else "default",
                label=variant if points.size else f"{variant}: no numbers",
            )
    for axis, scale in zip("xy", curves.scales, strict=True):
        if scale == "unit":
            axes.set(**{f"{axis}lim": (-0.02, 1.02)})
        elif scale == "log":
            axes.set(**{f"{axis}scale": "log"})
    axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False, fontsize=10, labelcolor=canvas.TEXT)
    canvas.save(figure, path)


def _read(path: Path, x: str, y: str) -> np.ndarray:
    """Read two columns (2, points), without rows in which one is blank."""
    with path.open(newline="") as file:
        table = csv.DictReader(file)
        absent = [column for column in (x, y) if column not in (table.fieldnames or [])]
        if absent:
            raise ValueError(
                f"{path}: no column is named {absent[0]!r}. Its columns: {', '.join(table.fieldnames or [])}."
            )
        rows = [(float(row[x]), float(row[y])) for row in table if row[x] and row[y]]
    return np.array(rows).reshape(-1, 2).T
