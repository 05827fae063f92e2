"""The lung by network and by threshold, measured against what is known of each case."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..lung_network.methods import NETWORK, THRESHOLD, find_lung
from ..run.progress import progress
from ..severity import severity_class
from ..statistics import mean_interval
from ..tables import aligned, print_table, write_csv
from .cases import Case
from .figure import Shown, draw_lungs, shown_slice

METHODS = (NETWORK, THRESHOLD)
SCORES = {
    "dice": "Dice of the lung",
    "ground_glass": "share of the ground-glass in the mask",
    "consolidation": "share of the consolidation in the mask",
    "precision": "share of the mask that is lung",
    "surplus": "share of the slices without lung that get some",
    "same_severity": "share of patients with the true severity class",
}


def measure(case: Case, lung: np.ndarray) -> dict[str, float]:
    """Compare a lung mask with what is known of a case.

    Args:
        case: with its lung, its lesions, or both.
        lung: bool (X, Y, Z).

    Returns:
        Scores by the names of ``SCORES``; those that the case does not have are missing.

    Example:
        >>> measure(case, case.lung)["dice"]
        1.0
    """
    found: dict[str, float] = {}
    lesions = case.lesions
    if lesions is not None:
        for name, value in (("ground_glass", 1), ("consolidation", 2)):
            if (lesions == value).any():
                found[name] = float(lung[lesions == value].mean())
    if case.lung is None:
        return found
    both, size, true = (int(np.count_nonzero(mask)) for mask in (lung & case.lung, lung, case.lung))
    found["dice"] = 2 * both / (size + true) if size + true else 1.0
    if size:
        found["precision"] = both / size
    bare = np.flatnonzero(~case.lung.any(axis=(0, 1)))
    if bare.size:
        found["surplus"] = float(lung[..., bare].any(axis=(0, 1)).mean())
    if lesions is not None:
        found["same_severity"] = float(_severity(lesions, lung) == _severity(lesions, case.lung))
    return found


def _severity(lesions: np.ndarray, lung: np.ndarray) -> str:
    """Severity class with the true lesions; lesions outside the mask count as lung, as in ``lesions.csv``."""
    ill = lesions > 0
    return severity_class(int(np.count_nonzero(ill)) / max(1, int(np.count_nonzero(lung | ill))))


def compare(cases: Iterable[Case], output_dir: Path) -> list[dict[str, Any]]:
    """Measure both methods, write ``lungs_per_case.csv``, ``lungs.csv`` and ``lungs.png``, and print the second.

    Args:
        cases: with a known lung, known lesions, or none of both: then they are only drawn.
        output_dir: folder of the files.

    Returns:
        Rows of ``lungs.csv``: score, method, mean, bounds of its 95 % interval over the cases, number of cases.
    """
    rows: list[dict[str, Any]] = []
    shown: list[Shown] = []
    for case in progress(cases, desc="Comparing", unit="case"):
        lungs = {each: find_lung(case.image, case.spacing, each, case.intensity, case.name) for each in METHODS}
        rows += [{"case": case.name, "method": each, **measure(case, lung)} for each, lung in lungs.items()]
        shown.append(shown_slice(case, lungs))
    draw_lungs(output_dir / "lungs.png", shown)
    columns = ["case", "method", *SCORES]
    write_csv(output_dir / "lungs_per_case.csv", columns, ([row.get(name, np.nan) for name in columns] for row in rows))
    summary = [_summary(rows, score, method) for score in SCORES for method in METHODS]
    summary = [row for row in summary if row["cases"]]
    heading = ["score", "method", "mean", "low", "high", "cases"]
    write_csv(output_dir / "lungs.csv", heading, ([row[name] for name in heading] for row in summary))
    text = aligned(heading, ([SCORES[row["score"]], *(row[name] for name in heading[1:])] for row in summary), ".3f")
    print_table(text, output_dir, "lungs.csv", "lungs_per_case.csv", "lungs.png")
    return summary


def _summary(rows: Iterable[Mapping[str, Any]], score: str, method: str) -> dict[str, Any]:
    """A row of ``lungs.csv``."""
    values = np.array([row[score] for row in rows if row["method"] == method and score in row])
    mean, low, high, _ = mean_interval(values)
    return {"score": score, "method": method, "mean": mean, "low": low, "high": high, "cases": len(values)}
