"""How well what ``us_dense_seg`` finds in clips tells those that show a finding from those that do not.

``python -m common.presence out labels.csv`` takes the tables of an inference, and a table that says of each file
whether it shows A-lines or B-lines. It writes ``presence.csv``, ``presence.png`` and ``report.html``. No clip needs a
mask.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.ultrasound.diagnosis_sources import MANIFEST
from ..metrics import area_under_curve
from ..report import canvas
from ..report.html.scores import table, write_tables_page
from ..run.command import Parser
from ..run.start import writable
from ..spreadsheets import file_below, read_table
from ..statistics import interval_over
from ..tables import aligned, print_table, read_csv, write_csv

FILES = ("presence.csv", "presence.png", "report.html")
COLUMNS = ("finding", "measure", "auc", "clips_with", "clips_without", "interval_over")
FINDINGS = {"A-line": "alines", "B-line": "blines"}  # class: column of the labels, as in POCUS's table
MEASURES = {"share_": "share of the image", "frames_with_": "share of the frames"}  # columns of cases.csv


def presence(output: Path, labels: Path, folder: Path, findings: Mapping[str, str] = FINDINGS) -> list[list[Any]]:
    """Score the findings of an inference, and write table, picture and page.

    Args:
        output: folder of the inference, with its ``cases.csv``.
        labels: table with a column ``file``, paths below its folder, ``patient`` if named, and one column of 0 and 1
            for each finding, blank where it is not known; or a folder with a ``manifest.csv``, or several below.
        folder: of the results.
        findings: column of the labels for each class.

    Returns:
        The rows of the table.

    Raises:
        FileNotFoundError: if there is no such table.
        ValueError: for labels other than 0 and 1, or if no file of the labels is among the cases.

    Example:
        >>> presence(Path("out"), Path("/data/pocus"), Path("presence"))
    """
    cases = {row["case"]: row for row in read_csv(_existing(output / "cases.csv"))}
    known = _labels(labels, findings)
    found = {name: (cases[name], row) for name, row in known.items() if name in cases}
    if not found:
        raise ValueError(
            f"{labels} names {len(known)} files, such as {next(iter(known), 'none')}, but {output}/cases.csv has "
            f"{next(iter(cases), 'no case')}. Run inference on the folder that the table belongs to."
        )
    rows: list[list[Any]] = []
    curves: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for finding, column in findings.items():
        chosen = [(case, row) for case, row in found.values() if row[column]]
        present = [row[column] == "1" for _, row in chosen]
        for start, words in MEASURES.items():
            if not chosen or f"{start}{finding}" not in chosen[0][0] or len(set(present)) < 2:
                continue
            values = [float(case[f"{start}{finding}"]) for case, _ in chosen]
            named = all(row["patient"] for _, row in chosen)
            score = area_under_curve(values, present, [row["patient" if named else "case"] for _, row in chosen])
            counts = sum(present), len(present) - sum(present)
            rows.append([finding, words, score, *counts, interval_over({"": score}, "patients" if named else "files")])
            curves[f"{finding}, {words}: {score.value:.3f}"] = _curve(np.array(values), np.array(present))
    if not rows:
        asked = ", ".join(f"{name} ({column})" for name, column in findings.items())
        raise ValueError(f"{labels}: of none of {asked} both 0 and 1 are given for the cases of {output}. Add them.")
    write_csv(folder / FILES[0], COLUMNS, rows)
    _draw(folder / FILES[1], curves, str(labels))
    line = f"Area under the receiver operating characteristic of {len(found)} of the {len(known)} files of {labels}."
    write_tables_page(folder, "Findings of clips", [table(folder / FILES[0])], [folder / FILES[1]], [line])
    print_table(aligned([name.replace("_", " ") for name in COLUMNS], rows), folder, *FILES, note=line)
    return rows


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist. Give the output_dir of an inference of us_dense_seg.")
    return path


def _labels(path: Path, findings: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Rows of the labels by case, with ``patient``, ``case`` and the columns of the findings."""
    tables = [path] if path.is_file() else [*path.glob(MANIFEST), *sorted(path.glob(f"*/{MANIFEST}"))]
    if not tables:
        raise FileNotFoundError(f"{path} is no table, and holds no {MANIFEST}. Give a table with a column file.")
    root = path.parent if path.is_file() else path
    rows = {}
    for each in tables:
        for line, row in read_table(each, ("file",), ("patient", *findings.values())):
            file = file_below(each.parent, row["file"])
            wrong = [name for name in findings.values() if row[name] not in ("", "0", "1")]
            if wrong:
                raise ValueError(
                    f"{each}, line {line}: {wrong[0]} must be 0, 1 or blank, got {row[wrong[0]]!r}. Correct it."
                )
            case = file.relative_to(root).with_suffix("").as_posix()
            rows[case] = {**row, "case": case}
    return rows


def _curve(values: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False-positive rate and sensitivity by falling threshold."""
    thresholds = [np.inf, *np.unique(values)[::-1]]
    without, with_it = (
        np.array([(values[part] >= each).mean() for each in thresholds]) for part in (~present, present)
    )
    return without, with_it


def _draw(path: Path, curves: Mapping[str, tuple[np.ndarray, np.ndarray]], data: str) -> None:
    figure = canvas.new_figure(620, 620)
    canvas.write_heading(figure, "Clips with a finding told from those without", data)
    axes = canvas.add_plot(figure, 70, 92, 500, 460, "Sensitivity", "1 - specificity")
    axes.plot([0, 1], [0, 1], color=canvas.FAINT, lw=1, ls="--")
    for number, (name, (false, true)) in enumerate(curves.items()):
        axes.plot(false, true, color=canvas.line_colour(number // len(MEASURES)), lw=2, ls="-:"[number % 2], label=name)
    axes.legend(loc="lower right", **canvas.LEGEND_IN_PLOT)
    canvas.save(figure, path)


def _parse(arguments: Sequence[str]) -> Namespace:
    parser = Parser(prog="python -m common.presence", description=__doc__.split("\n", 1)[0])
    parser.add_argument("outputs", help="output_dir of an inference of us_dense_seg")
    parser.add_argument("labels", help=f"table with a column file, or the folder of the data with its {MANIFEST}")
    for name, column in FINDINGS.items():
        option = "--" + column
        parser.add_argument(option, default=column, help=f"column that says whether a file shows {name}s")
    parser.add_argument("--output_dir", default="presence", help="folder (default: %(default)s)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Score the findings.

    Args:
        arguments: of the command line, without the program's name.

    Returns:
        Exit code.
    """
    own = _parse(arguments)
    writable(own.output_dir)
    findings = {name: getattr(own, column) for name, column in FINDINGS.items()}
    presence(Path(own.outputs), Path(own.labels), Path(own.output_dir), findings)
    return 0
