"""Learns how large errors are, from cases with ground truth that the weights have not seen."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.table import Case, own_cases
from ..files import image_files
from ..model import Model, load
from ..reliability.error_model import ErrorModel
from ..reliability.judge import RECORD
from ..report import canvas
from ..report.case_report import label_map
from ..report.html.scores import table, write_tables_page
from ..report.scan_report import to_lps
from ..run.errors import origin
from ..run.model_record import add_to_record, existing_record
from ..run.progress import progress
from ..statistics import interval_over, mean_interval
from ..tables import aligned, print_table, write_csv
from ..transforms.ct import LoadScand
from ..transforms.mask_values import snap_to_integers
from .error_fit import REAL, Example, Judged, cross_validated, fit

logger = logging.getLogger(__name__)

FILES = ("errors.csv", "errors_per_case.csv", "errors.png", "report.html")
COLUMNS = ("measure", "value", "cases", "interval_over")
PER_CASE = (
    "case",
    "patient",
    "dice",
    "dice_expected",
    "found",
    "truth",
    "low",
    "high",
    "lesions",
    "uncertain",
    "false",
)
MEASURES = {
    "volumes_within_interval": "volumes within the interval",
    "interval_width": "width of the interval, share of the volume",
    "dice_error": "absolute error of the Dice",
    "uncertain_lesions_false": "share of uncertain lesions that are false",
    "other_lesions_false": "share of other lesions that are false",
    "lesion_dice_error": "absolute error of the Dice of a lesion",
    "lesion_dice_spread": "the same, if each lesion is expected to have the mean Dice",
}
FOLD = "{set}"  # in --weights: the set of a case, which is the number of its fold


def examples(bundle: str | Path, weights: str, cases: Sequence[Case], options: Mapping[str, Any]) -> list[Example]:
    """Compare masks with the ground truth.

    Args:
        bundle: folder of the bundle.
        weights: path; with ``{set}``, that of the weights which have not seen the fold of a case.
        cases: from ``own_cases``, with the path of a mask as label.
        options: of the bundle's ``inference.yaml``.

    Raises:
        ValueError: if ``weights`` depends on a fold that a case does not name.
    """
    found = []
    for fold in sorted({str(case.get("set", "")) for case in cases} if FOLD in weights else {""}):
        own = [case for case in cases if FOLD not in weights or str(case.get("set", "")) == fold]
        if FOLD in weights and not fold:
            raise ValueError(
                f"--weights {weights} needs the fold of each case, but {own[0]['image']} names none. Give the table a "
                "column set with the number of the fold that held the case out."
            )
        model = load(bundle, weights.replace(FOLD, fold) or None, **options, **{"reliability::every": True})
        lesions = _lesion_values(model)
        for case in progress(own, desc=f"Fold {fold}" if fold else "Cases"):
            try:
                found.append(_example(model, case, lesions))
            except Exception as error:  # one case must not lose the others
                logger.warning("Left out: %s: %s", case["image"], origin(error))
    return found


def _lesion_values(model: Model) -> list[int]:
    """The values of ground truth that are lesions for a bundle."""
    return list(model.parser.get("infection_values", [1, 2]))


def _example(model: Model, case: Case, lesions: Sequence[int]) -> Example:
    """A case and its ground truth, both in LPS order."""
    (scan,) = model.cases(case["image"], **{key: case[key] for key in ("picture_axes", "intensity") if key in case})
    if "error" in scan:
        raise ValueError(scan["error"])
    mask, probability, agreement = model.lesions({**scan, **{key: case[key] for key in ("lung",) if key in case}})
    item: dict[Any, Any] = {**scan, "label": case["label"]}
    read: Any = LoadScand("label")(item)["label"]
    snap_to_integers(read)
    affine, shown = np.asarray(mask.affine), model.parser.get_parsed_content("errors").lesions
    truth, own = to_lps(np.isin(label_map(read), lesions), np.asarray(read.affine))
    values, grid = to_lps(label_map(mask), affine)
    if truth.shape != values.shape or not np.allclose(own, grid, atol=1e-3):
        raise ValueError(f"{case['label']} has another grid than {image_files(scan)[0]}. Resample it.")
    steps, _ = to_lps(np.asarray(probability[0].cpu()), affine)
    name = str(case["case"])
    return Example.of(name, str(case.get("patient") or name), steps, np.isin(values, shown), truth, agreement)


def learn_errors(
    bundle: str | Path, weights: str, own: str | Path, path: str, output: Path, options: Mapping[str, Any]
) -> ErrorModel:
    """Learn how large errors are, add it to a record, and write tables, picture and page.

    Args:
        bundle: folder of the bundle.
        weights: of the cases, see ``examples``.
        own: weights whose record gets what was learned.
        path: table of cases with ground truth.
        output: folder of the results.
        options: of the bundle's ``inference.yaml``.

    Raises:
        ValueError: for weights without a record, or too few cases.
    """
    existing_record(own)
    cases = own_cases(path, "mask")
    known = examples(bundle, weights, cases, options)
    model, judged = fit(known), cross_validated(known)
    patients = [each.patient for each in known]
    rows, per_case = _rows(known, judged, "patients" if all(case.get("patient") for case in cases) else "cases")
    measured = {key: round(row[1].value, 4) for key, row in zip(MEASURES, rows, strict=True) if row[1].units}
    model = replace(model, data={"cases": len(known), "patients": len(set(patients)), **measured})
    add_to_record(own, RECORD, model.to_record())
    write_csv(output / FILES[0], COLUMNS, rows)
    write_csv(output / FILES[1], PER_CASE, per_case)
    _draw(output / FILES[2], known, judged, str(path))
    lines = [
        "Learned from the other patients for each case: expected Dice, interval of the volume, uncertain lesions.",
        f"Dice from {model.predictor}, width of the interval by {model.scale}. A lesion is real if more than "
        f"{REAL:.0%} of it is lesion in the ground truth. Volumes in errors_per_case.csv are numbers of voxels.",
    ]
    tables = [table(output / FILES[0]), table(output / FILES[1])]
    write_tables_page(output, "Expected errors", tables, [output / FILES[2]], lines)
    print_table(aligned(COLUMNS, rows), output, *FILES, note=lines[0])
    return model


def _rows(known: Sequence[Example], judged: Sequence[Judged], word: str) -> tuple[list[list[Any]], list[list[Any]]]:
    """Rows of the table of measures, and of the table of cases."""
    per_case: list[list[Any]] = []
    values: dict[str, list[float]] = {name: [] for name in MEASURES}
    owners: dict[str, list[str]] = {name: [] for name in MEASURES}

    def add(name: str, patient: str, *numbers: float) -> None:
        values[name] += map(float, numbers)
        owners[name] += [patient] * len(numbers)

    mean = float(np.mean(np.concatenate([each.each_dice for each in known])))
    for each, (dice, bounds, doubt, of_lesions) in zip(known, judged, strict=True):
        found, truth, patient = each.measures.found, each.truth, each.patient
        uncertain, false = each.lesions < doubt, each.real <= REAL
        per_case.append(
            [
                *(each.case, patient, each.dice if found or truth else None, dice, found, truth),
                *([None, None] if bounds is None else map(round, bounds)),
                *(len(each.lesions), int(uncertain.sum()), int(false.sum())),
            ]
        )
        if bounds is not None:
            add("volumes_within_interval", patient, bounds[0] <= truth <= bounds[1])
        if bounds is not None and found:
            add("interval_width", patient, (bounds[1] - bounds[0]) / found)
        if dice is not None:
            add("dice_error", patient, abs(dice - each.dice))
        add("uncertain_lesions_false", patient, *false[uncertain])
        add("other_lesions_false", patient, *false[~uncertain])
        add("lesion_dice_error", patient, *np.abs(of_lesions - each.each_dice))
        add("lesion_dice_spread", patient, *np.abs(mean - each.each_dice))
    rows = []
    for name, measure in MEASURES.items():
        found_mean = mean_interval(values[name], owners[name])
        rows.append([measure, found_mean, len(values[name]), interval_over({"": found_mean}, word)])
    return rows, per_case


def _draw(path: Path, known: Sequence[Example], judged: Sequence[Judged], data: str) -> None:
    """Draw the expected Dice against the Dice, and the intervals of volumes with the true volumes."""
    figure = canvas.new_figure(1200, 540)
    canvas.write_heading(figure, "Expected errors, patients held out in turn", data)
    axes = canvas.add_plot(figure, 70, 92, 460, 370, "Dice", "expected Dice")
    pairs = [(own.dice, each.dice) for each, own in zip(known, judged, strict=True) if own.dice is not None]
    axes.plot([0, 1], [0, 1], color=canvas.FAINT, lw=1, ls="--")
    axes.plot(*zip(*pairs, strict=True), "o", color=canvas.line_colour(0), ms=5, alpha=0.8)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes = canvas.add_plot(figure, 640, 92, 520, 370, "voxels of lesion", "cases by the volume that was found")
    axes.set_yscale("symlog", linthresh=10)
    order = sorted(range(len(known)), key=lambda index: known[index].measures.found)
    for place, index in enumerate(order):
        bounds, truth = judged[index].interval, known[index].truth
        if bounds:
            held = bounds[0] <= truth <= bounds[1]
            axes.plot([place, place], bounds, color=canvas.line_colour(2), lw=2)
            axes.plot(place, truth, "o", color=canvas.TEXT if held else canvas.line_colour(1), ms=4)
    axes.plot([], [], color=canvas.line_colour(2), lw=2, label="interval")
    axes.plot([], [], "o", color=canvas.TEXT, ms=4, label="ground truth")
    axes.plot([], [], "o", color=canvas.line_colour(1), ms=4, label="ground truth outside")
    axes.legend(loc="lower right", **canvas.LEGEND_IN_PLOT)
    canvas.save(figure, path)
