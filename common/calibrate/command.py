"""Chooses the threshold and the temperature for lesions by cross-validation.

``python -m common.calibrate reproduced/ct_drsegunet/unlabelled`` writes ``calibration.csv``, ``calibration.png`` and
``report.html``. What is chosen for a fold is chosen on the other folds, so that its scores do not flatter.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..handlers.threshold_scores import THRESHOLDS
from ..report import canvas
from ..report.html.scores import table, write_tables_page
from ..run.command import Parser
from ..run.start import writable
from ..statistics import interval_over, paired
from ..tables import aligned, print_table, write_csv
from .folds import Fold, best_temperature, best_threshold, calibration_error, read_folds, reliability

FILES = ("calibration.csv", "calibration.png", "report.html")
COLUMNS = ("fold", "slices", "threshold", "dice", "dice_before", "temperature")
ERRORS = ("error", "error_before", "error_lungs", "error_lungs_before")  # of probabilities


def calibrate(folder: Path, output: Path, threshold: float = 0.5) -> list[list[object]]:
    """Choose threshold and temperature, and write the table, the picture and the page.

    Args:
        folder: of a variant of ``common.reproduce``, with the evaluations of its folds.
        output: folder of the results.
        threshold: that was used before, to compare with.

    Returns:
        The rows of the table: one per fold, whose threshold and temperature are chosen on the others; ``nested``, all
        folds so scored; ``all``, chosen and scored on all, which flatters.

    Raises:
        FileNotFoundError: if the folder does not hold the evaluations of two folds or more.

    Example:
        >>> rows = calibrate(Path("reproduced/ct_drsegunet/unlabelled"), Path("calibration"))
    """
    folds = read_folds(folder)
    before = THRESHOLDS.index(threshold)
    rows: list[list[object]] = []
    chosen: list[np.ndarray] = []
    temperatures: list[float] = []
    for fold in folds:
        others = [each for each in folds if each is not fold]
        place, temperature = best_threshold(others), best_temperature(others)
        chosen.append(fold.dice[:, place])
        temperatures.append(temperature)
        scores = fold.dice[:, place].mean(), fold.dice[:, before].mean()
        rows.append(
            [fold.name, len(fold.dice), THRESHOLDS[place], *scores, temperature, *_errors([fold], [temperature])]
        )
    owners = [owner for fold in folds for owner in fold.owners]
    same = np.concatenate([fold.dice[:, before] for fold in folds])
    nested = paired(same, np.concatenate(chosen), owners)
    rows.append(["nested", len(owners), None, nested.second, nested.first, None, *_errors(folds, temperatures)])
    place, temperature = best_threshold(folds), best_temperature(folds)
    score = float(np.concatenate([fold.dice for fold in folds]).mean(0)[place])
    errors = _errors(folds, [temperature] * len(folds))
    rows.append(["all", len(owners), THRESHOLDS[place], score, float(same.mean()), temperature, *errors])
    columns = [*COLUMNS, *ERRORS]
    write_csv(output / FILES[0], columns, rows)
    _draw(output / FILES[1], folds, THRESHOLDS[place], temperature, str(folder))
    over = interval_over({"difference": nested.difference}, folds[0].word)
    change = nested.difference
    lines = [
        f"Dice of all lesions together; a slice without lesions scores 1 if none is predicted, else 0. Data: {folder}.",
        f"Chosen on the other folds, instead of {threshold:g}: {change.value:+.4f} ({change.low:.4f} to "
        f"{change.high:.4f}, over {over}). The row all is chosen and scored on the same slices, which flatters.",
        "error: mean distance between the probability of lesion and the share of pixels that are lesion; temperature: "
        "what logits are divided by. error_lungs: the same within lungs and lesions. nested: pixels of all folds, each "
        "fold with the temperature of the others.",
    ]
    write_tables_page(output, "Threshold and temperature", [table(output / FILES[0])], [output / FILES[1]], lines)
    print_table(aligned([name.replace("_", " ") for name in columns], rows), output, *FILES, note=lines[1])
    return rows


def _errors(folds: Sequence[Fold], temperatures: Sequence[float]) -> list[float]:
    """Calibration errors of folds with a temperature each and without, of all pixels and within the lungs."""
    plain = [1.0] * len(folds)
    return [calibration_error(folds, each, lungs) for lungs in (False, True) for each in (temperatures, plain)]


def _draw(path: Path, folds: Sequence[Fold], threshold: float, temperature: float, data: str) -> None:
    """Draw the Dice against the threshold with the best one, and the share of lesion against the probability."""
    figure = canvas.new_figure(1200, 520)
    canvas.write_heading(figure, "The decision for lesions, by cross-validation", f"held-out slices: {data}")
    axes = canvas.add_plot(figure, 70, 92, 500, 350, "Dice, mean over slices", "threshold")
    for fold in folds:
        axes.plot(THRESHOLDS, fold.dice.mean(0), color=canvas.FAINT, lw=1)
    mean = np.concatenate([fold.dice for fold in folds]).mean(0)
    axes.plot(THRESHOLDS, mean, color=canvas.line_colour(0), lw=2.5, label="all folds")
    axes.plot([], [], color=canvas.FAINT, lw=1, label="one fold")
    axes.axvline(threshold, color=canvas.line_colour(1), lw=1, ls="--", label=f"highest of all folds, {threshold:g}")
    axes.legend(loc="lower center", **canvas.LEGEND_IN_PLOT)
    axes = canvas.add_plot(figure, 670, 92, 500, 350, "Share of pixels that are lesion", "probability of lesion")
    axes.plot([0, 1], [0, 1], color=canvas.FAINT, lw=1, ls="--")
    for number, value, name in ((1, 1.0, "as it is"), (2, temperature, f"temperature {temperature:.2f}")):
        probability, share, pixels = reliability(folds, [value] * len(folds))
        held = pixels > 0
        axes.plot(probability[held], share[held], color=canvas.line_colour(number), marker="o", ms=5, label=name)
    axes.legend(loc="upper left", **canvas.LEGEND_IN_PLOT)
    canvas.save(figure, path)


def _parse(arguments: Sequence[str]) -> Namespace:
    parser = Parser(
        prog="python -m common.calibrate",
        description="Chooses the threshold and the temperature for lesions by cross-validation.",
    )
    parser.add_argument("folder", help="of a variant of python -m common.reproduce, with the evaluations of its folds")
    parser.add_argument(
        "--threshold", type=float, default=0.5, choices=THRESHOLDS, metavar="T", help="before (default: %(default)s)"
    )
    parser.add_argument("--output_dir", default="calibration", help="folder (default: %(default)s)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Choose threshold and temperature.

    Args:
        arguments: of the command line, without the program's name.

    Returns:
        Exit code.
    """
    own = _parse(arguments)
    writable(own.output_dir)
    calibrate(Path(own.folder), Path(own.output_dir), own.threshold)
    return 0
