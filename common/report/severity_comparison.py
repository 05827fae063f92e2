"""Measured severity compared with the class of the folder that a study lies in.

MosMedData keeps its studies in folders CT-0 to CT-4 by the share of lung involved: Morozov et al., MosMedData: chest CT
scans with COVID-19 related findings dataset, 2020, arXiv:2005.06465. Radiologists assigned these classes by eye.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from ..severity import BOUNDS, SEVERITIES, folder_severity
from ..tables import read_csv, write_csv
from . import canvas
from .confusion import fill_confusion

logger = logging.getLogger(__name__)


class Study(NamedTuple):
    """A study with its folder's class and the measured one; ``share`` of the lung in 0..1."""

    case: str
    folder: str
    measured: str
    share: float


def compare_with_folders(output_dir: str | Path) -> None:
    """Compare the severity classes in ``lesions.csv`` with those of the folders that the studies lie in.

    Writes ``severity.csv`` (numbers of studies: one row per class of the folder, one column per measured class),
    ``severity_per_study.csv`` and ``severity.png``. Cases outside of such folders are left out. Cases without lung are
    left out and named in the log. Nothing is written if no case is left.

    Args:
        output_dir: folder of ``lesions.csv``, whose cases are paths below the folder that was scanned
            (``CT-1/study_0255``). It receives the files.

    Raises:
        FileNotFoundError: without that table.

    Source:
        Morozov et al. 2020, arXiv:2005.06465. Radiologists assigned the folders' classes by eye, so disagreement may
        come from their reading as well as from the measurement.
    """
    folder = Path(output_dir)
    if not (folder / "lesions.csv").is_file():
        raise FileNotFoundError(f"Severity is read from {folder}/lesions.csv, which is missing. Run inference first.")
    studies, without_lung = _read(folder / "lesions.csv")
    left_out = f" Left out, because no lung was found: {', '.join(without_lung)}." if without_lung else ""
    if not studies:
        if left_out:
            logger.info("Severity: no study to compare.%s", left_out)
        return
    counts = np.zeros((len(SEVERITIES), len(SEVERITIES)), int)
    for study in studies:
        counts[SEVERITIES.index(study.folder), SEVERITIES.index(study.measured)] += 1
    same = int(np.trace(counts))
    near = same + int(np.trace(counts, 1) + np.trace(counts, -1))
    summary = f"{same} of {len(studies)} studies have their folder's class, {near} within one class."
    table = ([name, *row] for name, row in zip(SEVERITIES, counts.tolist(), strict=True))
    write_csv(folder / "severity.csv", ["folder", *SEVERITIES], table)
    write_csv(folder / "severity_per_study.csv", ["case", "folder", "measured", "share_of_lung"], studies)
    _draw(folder / "severity.png", counts, studies, summary)
    logger.info("Severity: %s%s", summary, left_out)


def _read(path: Path) -> tuple[list[Study], list[str]]:
    """Read the cases in folders of a class: those with a measured class, and the names of those without."""
    rows = [(row, folder) for row in read_csv(path) if (folder := folder_severity(row["case"]))]
    studies = [
        Study(row["case"], folder, row["severity"], float(row["share_of_lung"]))
        for row, folder in rows
        if row["severity"]
    ]
    return studies, [row["case"] for row, _ in rows if not row["severity"]]


def _draw(path: Path, counts: np.ndarray, studies: Sequence[Study], summary: str) -> None:
    """Draw the confusion matrix, and beside it each study's share of lung over the class of its folder."""
    figure = canvas.new_figure(1120, 510)
    title = "Severity: class of the folder, and class by the measured share of lung"
    canvas.write_heading(figure, title, summary)
    matrix = canvas.add_panel(figure, 90, 110, 340, 340)
    fill_confusion(matrix, counts, SEVERITIES, f"{len(studies)} studies; rows: class of the folder", "measured class")
    _plot_shares(canvas.add_panel(figure, 530, 110, 540, 340), studies)
    canvas.save(figure, path)


def _plot_shares(axes: Axes, studies: Sequence[Study]) -> None:
    """Plot one dot per study; the range of each folder's class is shaded."""
    axes.set_axis_on()
    axes.set_facecolor(canvas.BACKGROUND)
    places = range(len(SEVERITIES))
    lows, highs = (0, 0, *BOUNDS), (0, *BOUNDS, 100)
    heights, shade = np.subtract(highs, lows), canvas.GRID_LINE
    axes.bar(places, heights, 0.8, lows, color=shade, edgecolor=shade, lw=2)  # CT-0 has no height: only its edge shows
    for low, high, name in zip(lows[1:], highs[1:], SEVERITIES[1:], strict=True):
        axes.text(4.55, (low + high) / 2, name, color=canvas.FAINT, size=10, va="center")
    axes.hlines(BOUNDS, -0.5, 4.5, color=canvas.AXIS, lw=1)
    for place, name in zip(places, SEVERITIES, strict=True):
        shares = [100 * study.share for study in studies if study.folder == name]
        x = place + 0.7 * ((np.arange(len(shares)) + 0.5) / max(1, len(shares)) - 0.5)  # side by side
        axes.plot(x, shares, "o", color=canvas.LINES[0], ms=6, mec=canvas.BACKGROUND, mew=0.5, clip_on=False)
    axes.set(xlim=(-0.5, 4.5), ylim=(-2, 102))
    axes.set_xticks(places, SEVERITIES)
    axes.set_yticks([0, *BOUNDS, 100])
    axes.tick_params(colors=canvas.FAINT, labelsize=10, length=0)
    axes.set_xlabel("class of the folder", color=canvas.FAINT, size=10)
    title = "% of the lung involved; shaded: range of the folder's class"
    axes.set_title(title, color=canvas.TEXT, size=12, loc="left")
    for spine in axes.spines.values():
        spine.set_visible(False)
