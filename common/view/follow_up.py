"""Two studies of one patient side by side."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from .export import measured, volumes_line
from .rendering import render
from .scene import Panel
from .study import Study
from .surfaces import lesion_parts

Row = dict[str, str | float | None]


def follow_up(studies: Sequence[Study], titles: Sequence[str], output: Path) -> list[Row]:
    """Compare two studies of one patient: ``follow_up.csv``, then ``follow_up.png``, both lungs at one scale.

    Args:
        studies: the first and the later one, on any grids.
        titles: what to call them.
        output: folder.

    Returns:
        Rows of the table: a study each, and ``change``: the later minus the first, and that in percent of the first,
        None where the first is 0 or unknown.

    Raises:
        ValueError: where VTK cannot draw; the table is written then.
    """
    found = [measured(study.lesion, study.mask > 0, study.affine) for study in studies]
    rows: list[Row] = [{"study": title, **each} for title, each in zip(titles, found, strict=True)]
    change: Row = {"study": "change"}
    for name in found[0]:
        before, after = (each[name] for each in found)
        difference = None if before is None or after is None else after - before
        change[name] = None if difference is None else round(difference, 4)
        if name != "share_of_lung":
            percent = f"{name.removesuffix('_ml')}_percent"
            change[percent] = round(100 * difference / before, 2) if difference is not None and before else None
    rows.append(change)
    output.mkdir(parents=True, exist_ok=True)
    with (output / "follow_up.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(change), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    panels = [
        Panel(title, lesion_parts(study.mask > 0, study.mask, study.affine, study.styles), volumes_line(each))
        for title, study, each in zip(titles, studies, found, strict=True)
    ]
    render(output / "follow_up.png", panels, "Follow-up", _change_line(change), aligned=False)
    return rows


def _change_line(change: Row) -> str:
    """``lung +120 ml (+3.0 %), lesions -40 ml (-25.0 %)``."""
    words = []
    for name, word in (("lung", "lung"), ("lesion", "lesions")):
        difference, percent = change[f"{name}_ml"], change[f"{name}_percent"]
        if isinstance(difference, float):
            words.append(
                f"{word} {difference:+.0f} ml" + (f" ({percent:+.1f} %)" if isinstance(percent, float) else "")
            )
    return ", ".join(words)
