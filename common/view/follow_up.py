"""Two studies of one patient side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..report.html.scores import table, write_tables_page
from ..tables import write_csv
from .export import measured, volumes_line
from .rendering import render
from .scene import Panel
from .study import Study
from .surfaces import lesion_parts

Row = dict[str, str | float | None]


def follow_up(studies: Sequence[Study], titles: Sequence[str], output: Path) -> list[Row]:
    """Compare two studies: ``follow_up.csv``, ``follow_up.png`` with both lungs at one scale, ``report.html``.

    Args:
        studies: the first and the later one, on any grids.
        titles: their names in table and figure.
        output: folder.

    Returns:
        Rows of the table: one per study, then ``change``: the later study minus the first, and that in percent of the
        first; None if the first is 0 or unknown.

    Raises:
        ValueError: if VTK cannot draw; the table is written then.

    Example:
        >>> from common.view.study import read_study
        >>> metadata = "bundles/ct_drsegunet/configs/metadata.json"
        >>> studies = [read_study(f"{month}_mask.nii.gz", metadata, lung_value=3) for month in ("march", "may")]
        >>> follow_up(studies, ["March", "May"], Path("view"))[-1]["lesion_percent"]
        -75.0
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
    columns = list(change)
    write_csv(output / "follow_up.csv", columns, ([row.get(name) for name in columns] for row in rows), form="")
    panels = [
        Panel(title, lesion_parts(study.mask > 0, study.mask, study.affine, study.styles), volumes_line(each))
        for title, study, each in zip(titles, studies, found, strict=True)
    ]
    render(output / "follow_up.png", panels, "Follow-up", _change_line(change), aligned=False)
    write_tables_page(
        output,
        f"Follow-up: {titles[0]} and {titles[1]}",
        [table(output / "follow_up.csv")],
        [output / "follow_up.png"],
        [f"Change: {_change_line(change)}."],
    )
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
