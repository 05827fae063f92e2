"""Learns what is usual for the weights of a bundle, and measures how well the unusual is found.

``python -m common.trust fit`` adds what is usual to the record of the weights; inference then says of each case whether
it is ``usual`` or ``unusual``. ``python -m common.trust measure`` writes ``trust.csv``, ``trust.png`` and
``report.html``.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..metrics import area_under_curve
from ..model import Model, load
from ..outliers.detector import Detector, fit
from ..outliers.monitor import RECORD
from ..report import canvas
from ..report.html.scores import table, write_tables_page
from ..run.bundle_folder import bundle_folder
from ..run.command import Parser, options_of
from ..run.model_record import add_to_record, existing_record, record_path, weights_files
from ..run.start import writable
from ..statistics import Estimate, interval_over, mean_interval
from ..tables import aligned, print_table, write_csv
from .case_features import CaseFeatures, case_features, held_out, shifts_of
from .diagnosis import learn_diagnosis
from .errors import learn_errors

FILES = ("trust.csv", "trust.png", "report.html")
COLUMNS = ("data", "change", "cases", "auc", "unusual", "interval_over")
AXES = {"CT": ("left and right", "front and back"), "US": ("top and bottom", "left and right")}


def learn(model: Model, weights: str | Path, sources: Sequence[str]) -> Detector:
    """Add what is usual to the record of weights.

    Args:
        model: with these weights.
        weights: path of the weights, beside their record.
        sources: folders, files or tables of scans that the weights are to be trusted on; each is one source.

    Returns:
        What was added.

    Raises:
        ValueError: for weights without a record, or too few patients.

    Example:
        >>> learn(load_watching("bundles/ct_drsegunet"), "bundles/ct_drsegunet/models/model.pt", ["/data/scans"])
    """
    existing_record(weights)
    known = case_features(model, sources)
    detector = fit(known.features, known.sources, known.patients, known.cases)
    axes = dict(zip(("first axis", "second axis"), AXES["US" if model.is_ultrasound else "CT"], strict=True))
    detector.data["axes"] = axes  # type: ignore[index]
    add_to_record(weights, RECORD, detector.to_record())
    return detector


def measure(
    model: Model, sources: Sequence[str], others: Sequence[str], output: Path, every: int = 1
) -> list[list[Any]]:
    """Measure how well changed images and other images are told from usual ones, and write table, picture and page.

    The patients of the sources are held out in turn: what is usual is learned from the others, as ``learn`` does.

    Args:
        model: from ``load_watching``.
        sources: as for ``learn``.
        others: further folders, which nothing is learned from.
        output: folder of the results.
        every: changed images are made of every so manyth case.

    Returns:
        The rows of the table.
    """
    known = case_features(model, sources)
    parts = held_out(known)
    usual = parts.scores(known)
    names = list(dict.fromkeys(known.sources))
    rows: list[list[Any]] = []
    for name in names:
        flags = [usual[case] > 1 for case in usual if known.source_of[case] == name]
        owners = [known.patient_of[case] for case in usual if known.source_of[case] == name]
        share = mean_interval(flags, owners)
        rows.append([name, "none", len(flags), None, share, interval_over({"": share}, "patients")])
    for change in shifts_of(model):
        changed = parts.scores(case_features(model, sources, change, every, known))
        for name in names:
            rows.append(
                _row(name, change, known, usual, {c: s for c, s in changed.items() if known.source_of[c] == name})
            )
    for other in others:
        new = case_features(model, [other])
        scores = parts.scores_of_others(new)
        rows.append(_row(Path(other).name, "other data", known, usual, scores, new.patient_of, everywhere=True))
    write_csv(output / FILES[0], COLUMNS, rows)
    _draw(output / FILES[1], rows, ", ".join(names))
    lines = [
        "What is usual was learned from patients other than those scored. auc: area under the receiver operating "
        "characteristic, changed images against the same source as it is; other data against all sources.",
        "unusual: share of cases so called. Cases that inference refuses count as unusual.",
    ]
    write_tables_page(output, "Usual and unusual input", [table(output / FILES[0])], [output / FILES[1]], lines)
    print_table(aligned(COLUMNS, rows), output, *FILES, note=lines[0])
    return rows


def _row(
    name: str,
    change: str,
    known: CaseFeatures,
    usual: Mapping[str, float],
    scores: Mapping[str, float],
    patients: Mapping[str, str] | None = None,
    everywhere: bool = False,
) -> list[Any]:
    """One row: scores of changed or of other cases against those of usual ones."""
    owner = known.patient_of if patients is None else patients
    plain = [case for case in usual if everywhere or known.source_of[case] == name]
    values = [usual[case] for case in plain] + list(scores.values())
    owners = [known.patient_of[case] for case in plain] + [owner[case] for case in scores]
    area = area_under_curve(values, [False] * len(plain) + [True] * len(scores), owners)
    share: Estimate = mean_interval([score > 1 for score in scores.values()], [owner[case] for case in scores])
    return [name, change, len(scores), area, share, interval_over({"": area}, "patients")]


def _draw(path: Path, rows: Sequence[Sequence[Any]], data: str) -> None:
    """Draw the share of cases called unusual, with its interval, by change."""
    height = 26 * len(rows)
    figure = canvas.new_figure(1000, height + 170)
    canvas.write_heading(figure, "Share of cases called unusual", f"patients held out in turn: {data}")
    axes = canvas.add_plot(figure, 420, 92, 540, height, "", "share of cases")
    places = range(len(rows))[::-1]
    for place, row in zip(places, rows, strict=True):
        share: Estimate = row[4]
        colour = canvas.line_colour(2 if row[1] == "none" else 0)
        axes.barh(place, share.value, color=colour, height=0.65)
        axes.plot([share.low, share.high], [place, place], color=canvas.TEXT, lw=1.5)
    axes.set_yticks(list(places), [f"{row[0]}: {'as it is' if row[1] == 'none' else row[1]}" for row in rows])
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.set_axisbelow(True)
    canvas.save(figure, path)


def load_watching(bundle: str | Path, weights: str = "", **options: Any) -> Model:
    """A bundle's model that keeps the features of its input, whether or not its weights know what is usual."""
    return load(bundle, weights or None, **options, **{"monitor::every": True})


def _parse(arguments: Sequence[str]) -> tuple[Namespace, dict[str, Any]]:
    parser = Parser(
        prog="python -m common.trust",
        description=__doc__.partition("\n\n")[0],
        epilog="All other options are those of the bundle's inference.yaml, such as --picture_axes.",
    )
    parser.add_argument(
        "action",
        choices=("fit", "measure", "errors", "diagnosis"),
        help="add what is usual to the record of the weights; measure how well it works; add how large errors are; or "
        "add when a diagnosis is certain",
    )
    parser.add_argument(
        "sources",
        nargs="+",
        help="folders or tables of scans; each is one source, such as a hospital. errors: one table with ground truth. "
        "diagnosis: folder of a variant of common.reproduce",
    )
    parser.add_argument("--bundle", required=True, help="name of a bundle, or its folder")
    parser.add_argument("--weights", default="", help="(default: those of the bundle)")
    parser.add_argument(
        "--held_out",
        default="",
        help="errors: weights that have not seen the cases, such as cv/fold{set}/models/model.pt (default: --weights)",
    )
    parser.add_argument(
        "--accuracy", type=float, default=0.9, help="diagnosis: of the answers that are given (default: %(default)s)"
    )
    parser.add_argument("--others", nargs="*", default=[], help="measure: folders of other scans")
    parser.add_argument("--every", type=int, default=1, help="measure: change every so manyth case (default: 1)")
    parser.add_argument("--output_dir", default="trust", help="folder of tables and pictures (default: %(default)s)")
    own, rest = parser.parse_known_args(arguments)
    return own, options_of(rest)


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Args:
        arguments: without the program's name.

    Returns:
        Exit code.
    """
    own, options = _parse(arguments)
    bundle = bundle_folder(own.bundle)
    if own.action in ("errors", "diagnosis"):
        return _learned(own, bundle, options)
    model = load_watching(bundle, own.weights, **options)
    if own.action == "measure":
        writable(own.output_dir)
        measure(model, own.sources, own.others, Path(own.output_dir), own.every)
        return 0
    (weights,) = weights_files(own.weights or bundle / "models" / "model.pt")
    detector = learn(model, weights, own.sources)
    told = ", ".join(f"{axis} {share:.3f}" for axis, share in detector.data["directions_told"].items())
    data = detector.data
    print(f"{record_path(weights)} knows what is usual: {data['slices']} slices of {data['patients']} patients.")
    print(f"Share of held-out slices told from changed ones: {told}.")
    print("Inference into a folder that was done before needs --again True.")
    return 0


def _learned(own: Namespace, bundle: Path, options: Mapping[str, Any]) -> int:
    """Learn how large errors are, or when a diagnosis is certain."""
    if len(own.sources) > 1:
        raise ValueError(f"{own.action} takes one table or folder, got {len(own.sources)}. Put all cases into one.")
    writable(own.output_dir)
    (weights,) = weights_files(own.weights or bundle / "models" / "model.pt")
    source, output = own.sources[0], Path(own.output_dir)
    if own.action == "errors":
        model = learn_errors(bundle, own.held_out or str(weights), weights, source, output, options)
        print(f"{record_path(weights)} knows how large errors are: {model.data['cases']} cases.")
    else:
        data = learn_diagnosis(weights, Path(source), output, own.accuracy)["data"]
        print(f"{record_path(weights)} knows when a diagnosis is certain: {data['clips']} clips.")
    print("Inference into a folder that was done before needs --again True.")
    return 0
