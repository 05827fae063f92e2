"""Severity as measured beside the class of the folder that a study lies in.

MosMedData keeps its studies in folders CT-0 to CT-4 by the share of lung involved: Morozov et al., MosMedData: chest CT
scans with COVID-19 related findings dataset, 2020, arXiv:2005.06465. Radiologists assigned these classes by eye.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..severity import BOUNDS, SEVERITIES, folder_severity
from .canvas import BACKGROUND, FAINT, LINES, MARGIN, TEXT, add_panel, new_figure, save, write
from .confusion import confusion_axes

logger = logging.getLogger(__name__)


class Study(NamedTuple):
    """A study with both classes; ``share`` of the lung in 0..1."""

    case: str
    folder: str
    measured: str
    share: float


def compare_with_folders(output_dir: str | Path) -> None:
    """Compare the classes in ``lesions.csv`` with those of the folders; nothing where no case lies in such a folder.

    Writes ``severity.csv`` (studies by class of the folder, down, and measured, across), ``severity_per_study.csv``,
    and ``severity.png``. Cases outside of such folders are left out; so are those in which no lung was found, by name.

    Args:
        output_dir: folder of ``lesions.csv``, whose cases are paths below the folder that was scanned
            (``CT-1/study_0255``). It receives the files.

    Raises:
        FileNotFoundError: without that table.

    Source:
        Morozov et al. 2020, arXiv:2005.06465. Radiologists assigned the folders' classes by eye, so that agreement
        tells as much of their reading as of the measurement.
    """
    folder = Path(output_dir)
    if not (folder / "lesions.csv").is_file():
        raise FileNotFoundError(f"Severity is read from {folder}/lesions.csv, which is missing. Run inference first.")
    studies, without_lung = _read(folder / "lesions.csv")
    left_out = f" Left out, for no lung was found: {', '.join(without_lung)}." if without_lung else ""
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
    with (folder / "severity.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["folder", *SEVERITIES])
        table.writerows([name, *row] for name, row in zip(SEVERITIES, counts.tolist(), strict=True))
    with (folder / "severity_per_study.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["case", "folder", "measured", "share_of_lung"])
        table.writerows([*study[:3], f"{study.share:.4f}"] for study in studies)
    _draw(folder / "severity.png", counts, studies, summary)
    logger.info("Severity: %s%s", summary, left_out)


def _read(path: Path) -> tuple[list[Study], list[str]]:
    """Cases in folders of a class: with a measured class, and the names of those without."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [(row, folder) for row in csv.DictReader(file) if (folder := folder_severity(row["case"]))]
    studies = [
        Study(row["case"], folder, row["severity"], float(row["share_of_lung"]))
        for row, folder in rows
        if row["severity"]
    ]
    return studies, [row["case"] for row, _ in rows if not row["severity"]]


def _draw(path: Path, counts: np.ndarray, studies: Sequence[Study], summary: str) -> None:
    """Confusion matrix beside the share of lung of each study, over the class of its folder."""
    figure = new_figure(1120, 510)
    write(figure, MARGIN, 22, "Severity: the folder's class, and the class by the measured share of lung", 13)
    write(figure, MARGIN, 46, summary, 10.5, FAINT)
    matrix = add_panel(figure, 90, 110, 340, 340)
    confusion_axes(matrix, counts, SEVERITIES, f"{len(studies)} studies; rows are the folder", "measured")
    axes = add_panel(figure, 530, 110, 540, 340)
    axes.set_axis_on()
    axes.set_facecolor(BACKGROUND)
    places = range(len(SEVERITIES))
    lows, highs = (0, 0, *BOUNDS), (0, *BOUNDS, 100)
    heights = np.subtract(highs, lows)
    axes.bar(places, heights, 0.8, lows, color="#2a2e36", edgecolor="#2a2e36", lw=2)  # of CT-0, the edge remains
    for low, high, name in zip(lows[1:], highs[1:], SEVERITIES[1:], strict=True):
        axes.text(4.55, (low + high) / 2, name, color=FAINT, size=10, va="center")
    axes.hlines(BOUNDS, -0.5, 4.5, color="#4a4f59", lw=1)
    for place, name in zip(places, SEVERITIES, strict=True):
        shares = [100 * study.share for study in studies if study.folder == name]
        across = place + 0.7 * ((np.arange(len(shares)) + 0.5) / max(1, len(shares)) - 0.5)  # side by side
        axes.plot(across, shares, "o", color=LINES[0], ms=6, mec=BACKGROUND, mew=0.5, clip_on=False)
    axes.set(xlim=(-0.5, 4.5), ylim=(-2, 102))
    axes.set_xticks(places, SEVERITIES)
    axes.set_yticks([0, *BOUNDS, 100])
    axes.tick_params(colors=FAINT, labelsize=10, length=0)
    axes.set_xlabel("folder", color=FAINT, size=10)
    axes.set_title("% of the lung involved; shaded where it is of the folder's class", color=TEXT, size=12, loc="left")
    for spine in axes.spines.values():
        spine.set_visible(False)
    save(figure, path)
