"""The tables and the picture of an archive, written from its journal."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from ..files import complete_file
from ..report import canvas
from ..statistics import counted
from ..tables import aligned, write_csv
from .journal import ASIDE, DONE, FAILED, Journal
from .worker import kind

FILES = ("studies.csv", "studies.jsonl", "summary.md", "archive.png")
SHARE = "share_of_lung"
SEVERITY = "severity"
BINS = range(0, 101, 5)  # percent
MOST = 10  # reasons that are shown


def write_summary(journal: Journal, output: Path) -> None:
    """Write ``studies.csv``, ``studies.jsonl``, ``summary.md`` and ``archive.png``.

    All but ``studies.jsonl``, which has times and computers, depend on the studies alone: a run that was interrupted
    and an undisturbed one give the same files.

    Args:
        journal: of the archive.
        output: folder of the files.
    """
    columns: dict[str, None] = {}
    for row in journal.rows():
        columns |= dict.fromkeys(name for scan in row["scans"] for name in scan if name != "case")
    with complete_file(output / FILES[1]) as part, part.open("w", encoding="utf-8") as file:
        for row in journal.rows():
            kept = {key: value for key, value in row.items() if key not in ("root", "is_remote")}
            file.write(json.dumps(kept, ensure_ascii=False) + "\n")
    heading = ["study", "status", "reason", "scans", *columns]
    table = (
        [row["study"], row["status"], row["reason"], len(row["scans"]), *_cells(row, columns)] for row in journal.rows()
    )
    write_csv(output / FILES[0], heading, table)
    shares = [float(row[SHARE]) for row in map(_largest, journal.rows(DONE)) if row.get(SHARE)]
    reasons = reasons_of(journal)
    severities = Counter(row[SEVERITY] for row in map(_largest, journal.rows(DONE)) if row.get(SEVERITY))
    _write_page(output / FILES[2], journal, shares, severities, reasons)
    _draw(output / FILES[3], shares, reasons, journal.counts())


def reasons_of(journal: Journal) -> Counter[str]:
    """How many studies have failed for each kind of reason."""
    return Counter(kind(row["reason"]) for row in journal.rows(FAILED, ASIDE))


def sorted_reasons(reasons: Mapping[str, int]) -> list[tuple[str, int]]:
    """Reasons, the most frequent first."""
    return sorted(reasons.items(), key=lambda item: (-item[1], item[0]))


def _largest(row: Mapping[str, Any]) -> dict[str, str]:
    """The scan of a study in which lesions take the largest share of the lung; its first one if that is not known."""
    scans = row["scans"]
    return max(scans, key=lambda scan: float(scan.get(SHARE) or -1)) if scans else {}


def _cells(row: Mapping[str, Any], columns: Mapping[str, None]) -> list[str]:
    scan = _largest(row)
    return [scan.get(name, "") for name in columns]


def _write_page(
    path: Path, journal: Journal, shares: list[float], severities: Counter[str], reasons: Counter[str]
) -> None:
    """Write the summary as Markdown."""
    counts = journal.counts()
    lines = ["# Archive", "", f"{counted(sum(counts.values()), 'studies')}.", ""]
    lines += _table("status", counts.items())
    if shares:
        quartiles = ", ".join(f"{value:.1f} %" for value in 100 * np.percentile(shares, [25, 50, 75]))
        lines += ["", f"Share of the lung that lesions take, quartiles: {quartiles}."]
    if severities:
        lines += ["", *_table("severity", sorted(severities.items()))]
    if reasons:
        lines += ["", *_table("failed because", sorted_reasons(reasons))]
    lines += ["", *_table("made with", journal.settings().items(), "")]
    with complete_file(path) as part:
        part.write_text("\n".join([*lines, ""]), encoding="utf-8")


def _table(first: str, rows: Any, second: str = "studies") -> list[str]:
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    return [f"| {first} | {second} |", "| --- | --- |", *(f"| {' | '.join(row)} |" for row in cells)]


def _draw(path: Path, shares: list[float], reasons: Counter[str], counts: Mapping[str, int]) -> None:
    """Draw how much of the lung lesions take over the archive, and why studies have failed."""
    figure = canvas.new_figure(1200, 520)
    note = ", ".join(f"{count} {status}" for status, count in counts.items())
    canvas.write_heading(figure, f"Archive of {counted(sum(counts.values()), 'studies')}", note)
    axes = canvas.add_plot(figure, 70, 110, 480, 330, "Studies", "share of the lung that lesions take, %")
    axes.hist([100 * share for share in shares], list(BINS), color=canvas.line_colour(0))
    axes.set_xlim(0, 100)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_axisbelow(True)
    if not shares:
        canvas.write_block(figure, 220, 275, "no study has this share", 10, canvas.FAINT)
    axes = canvas.add_plot(figure, 840, 110, 330, 330, "Failures by reason", "studies")
    shown = sorted_reasons(reasons)[:MOST]
    axes.barh(range(len(shown)), [count for _, count in shown], height=0.6, color=canvas.line_colour(1))
    axes.set_yticks(range(len(shown)), [canvas.shortened(text, 340, 9) for text, _ in shown])
    axes.set_ylim(max(len(shown), 4) - 0.5, -0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_axisbelow(True)
    if not shown:
        canvas.write_block(figure, 960, 275, "none", 10, canvas.FAINT)
    canvas.save(figure, path)


def status_text(journal: Journal, failed: bool = False) -> str:
    """What ``status`` prints: numbers by status and by reason; or a line for each study that failed."""
    counts = journal.counts()
    if failed:
        rows = [[row["study"], row["status"], row["attempts"], row["reason"]] for row in journal.rows(FAILED, ASIDE)]
        return aligned(["study", "status", "attempts", "reason"], rows)
    parts = [aligned(["status", "studies"], list(counts.items()))]
    reasons = sorted_reasons(reasons_of(journal))
    if reasons:
        parts.append(aligned(["failed because", "studies"], reasons))
    return "\n\n".join(parts)
