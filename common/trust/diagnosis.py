"""How often a diagnosis is right, and when it is better not given, from clips that the networks have not seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from ..report import canvas
from ..report.decision import RECORD
from ..report.html.scores import table, write_tables_page
from ..run.model_record import add_to_record, existing_record
from ..spreadsheets import read_table
from ..statistics import Estimate, interval_over, mean_interval, parts_of
from ..tables import aligned, print_table, score_value, write_csv

FILES = ("diagnosis.csv", "diagnosis_coverage.csv", "diagnosis.png", "report.html")
COLUMNS = ("measure", "before", "calibrated", "interval_over")
COVERAGE = ("probability", "answered", "accuracy", "clips", "interval_over")
TEMPERATURES = (0.2, 20.0)  # between which the best is looked for
LEAST = 1e-6  # probability, of rounded zeros
PARTS = 5  # of the patients, held out in turn
BINS = 10  # of the calibration error
PROBABILITY = "probability_"
APART = 0.12  # of the share of clips, between labels of the picture


class Clips(NamedTuple):
    """Held-out clips and images.

    Args:
        patients: of each clip.
        logits: (clips, diagnoses); those of equal probabilities are equal.
        truth: index of the diagnosis, (clips,).
        weights: a patient counts as one, shared by their clips, (clips,).
    """

    patients: list[str]
    logits: np.ndarray
    truth: np.ndarray
    weights: np.ndarray

    def some(self, chosen: np.ndarray) -> Clips:
        """Those that are chosen, bool (clips,)."""
        owners = [owner for owner, own in zip(self.patients, chosen, strict=True) if own]
        return Clips(owners, self.logits[chosen], self.truth[chosen], self.weights[chosen])

    def right(self) -> np.ndarray:
        """Which are diagnosed right, bool (clips,)."""
        return np.asarray(self.logits.argmax(1) == self.truth)


def read_clips(folder: Path, diagnoses: Sequence[str]) -> Clips:
    """Read the evaluations of the folds of a cross-validation by patient.

    Args:
        folder: of a variant of ``common.reproduce us_reverse_transfer``, with ``<fold>/eval/clips.csv``.
        diagnoses: in channel order.

    Raises:
        FileNotFoundError: if it holds fewer than two such tables.
        ValueError: for a clip without a patient, or a patient in two folds.
    """
    paths = sorted(folder.glob("*/eval/clips.csv"))
    if len(paths) < 2:
        raise FileNotFoundError(
            f"{folder}: two folds or more with eval/clips.csv are needed, found {len(paths)}. Give the folder of a "
            "variant of python -m common.reproduce us_reverse_transfer."
        )
    patients: list[str] = []
    probabilities, truth = [], []
    fold_of: dict[str, Path] = {}
    for path in paths:
        columns = [PROBABILITY + name for name in diagnoses]
        for line, cells in read_table(path, ["case", "patient", "truth", *columns]):
            owner = cells["patient"]
            if not owner:
                raise ValueError(f"{path}, line {line}: {cells['case']} names no patient. Split by patient.")
            if fold_of.setdefault(owner, path) != path:
                raise ValueError(f"Patient {owner} is in {fold_of[owner]} and in {path}. Split by patient.")
            if cells["truth"] not in diagnoses:
                raise ValueError(f"{path}, line {line}: unknown diagnosis {cells['truth']!r}.")
            patients.append(owner)
            truth.append(list(diagnoses).index(cells["truth"]))
            where = f"{path}, line {line}"
            probabilities.append([score_value(cells[name], f"{where}, {name}") for name in columns])
    counts = {owner: patients.count(owner) for owner in fold_of}
    logits = np.log(np.maximum(np.array(probabilities), LEAST))
    return Clips(patients, logits, np.array(truth), np.array([1 / counts[owner] for owner in patients]))


def best_temperature(clips: Clips) -> float:
    """What logits are divided by, so that the cross-entropy is least; each patient counts as one (Guo et al., 2017)."""

    def entropy(temperature: float) -> float:
        logs = log_softmax(clips.logits / temperature, 1)[np.arange(len(clips.truth)), clips.truth]
        return -float(clips.weights @ logs)

    return float(minimize_scalar(entropy, bounds=TEMPERATURES, method="bounded").x)


def least_probability(confidence: np.ndarray, right: np.ndarray, weights: np.ndarray, accuracy: float) -> float:
    """The lowest probability from which on answers reach an accuracy; 1 if no probability does.

    Args:
        confidence: highest probability of each clip, (clips,).
        right: whether it is right, (clips,).
        weights: of the clips.
        accuracy: that is asked for, of all clips that reach the probability together.

    Example:
        >>> least_probability(np.array([0.9, 0.8, 0.6]), np.array([1, 1, 0]), np.ones(3), accuracy=0.9)
        0.8
    """
    order = np.argsort(-confidence, kind="stable")
    reached = np.cumsum((weights * right)[order]) / np.cumsum(weights[order]) >= accuracy
    last = np.append(np.diff(confidence[order]) != 0, True)  # equal probabilities are answered together
    places = np.flatnonzero(reached & last)
    return float(confidence[order][places[-1]]) if len(places) else 1.0


def calibration_error(confidence: np.ndarray, right: np.ndarray, weights: np.ndarray) -> float:
    """Expected calibration error: mean distance of probability and accuracy over ten bins."""
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(place, weights * (confidence - right), BINS)
    return float(np.abs(gaps).sum() / weights.sum())


def learn_diagnosis(weights: str | Path, folder: Path, output: Path, accuracy: float) -> dict[str, Any]:
    """Learn temperature and least probability, add them to a record, and write tables, picture and page.

    Args:
        weights: whose record gets them.
        folder: see ``read_clips``.
        output: folder of the results.
        accuracy: that answers are to reach.

    Returns:
        What was added.

    Raises:
        ValueError: for weights without a record, or of a network that does not diagnose.
    """
    diagnoses = existing_record(weights)["settings"].get("diagnoses")
    if not diagnoses:
        raise ValueError(f"{weights} are of a network that does not diagnose. Give those of us_reverse_transfer.")
    clips = read_clips(folder, diagnoses)
    part, right = parts_of(clips.patients, PARTS), clips.right()
    confidence, answered = np.zeros(len(right)), np.zeros(len(right), bool)  # as chosen on the other patients
    for number in range(PARTS):
        own, rest = part == number, clips.some(part != number)
        temperature = best_temperature(rest)
        confidence[own] = softmax(clips.logits[own] / temperature, 1).max(1)
        known = softmax(rest.logits / temperature, 1).max(1)
        answered[own] = confidence[own] >= least_probability(known, rest.right(), rest.weights, accuracy)
    temperature = best_temperature(clips)
    final = softmax(clips.logits / temperature, 1).max(1)
    least = least_probability(final, right, clips.weights, accuracy)
    before = softmax(clips.logits, 1).max(1)
    mean = _by_patient(right, clips.patients)
    given = _by_patient(right[answered], [o for o, own in zip(clips.patients, answered, strict=True) if own])
    share = _by_patient(answered, clips.patients)
    errors = [round(calibration_error(each, right, clips.weights), 4) for each in (before, confidence)]
    rows: list[list[Any]] = [
        ["expected calibration error", *errors, "patients"],
        ["accuracy of all answers", mean, mean, interval_over({"": mean}, "patients")],
        ["share of clips that are answered", 1.0, share, interval_over({"": share}, "patients")],
        ["accuracy of these", mean, given, interval_over({"": given}, "patients")],
    ]
    learned = {
        "temperature": round(temperature, 4),
        "least": round(least, 4),
        "data": {
            "clips": len(right),
            "patients": len(set(clips.patients)),
            "accuracy_asked": accuracy,
            "answered": round(share.value, 4),
            "accuracy_of_answers": None if not answered.any() else round(given.value, 4),
            "calibration_error": errors[1],
        },
    }
    add_to_record(weights, RECORD, learned)
    write_csv(output / FILES[0], COLUMNS, rows)
    curve = _curve(confidence, right, clips.patients)
    write_csv(output / FILES[1], COVERAGE, curve)
    _draw(output / FILES[2], curve, str(folder))
    lines = [
        f"Temperature {temperature:.2f}, least probability {least:.2f} for an accuracy of {accuracy:g}. In the column "
        "calibrated both were chosen on the other patients. Each patient counts as one.",
    ]
    tables = [table(output / FILES[0]), table(output / FILES[1])]
    write_tables_page(output, "When to answer", tables, [output / FILES[2]], lines)
    print_table(aligned(COLUMNS, rows), output, *FILES, note=lines[0])
    return learned


def _by_patient(values: np.ndarray, owners: Sequence[str]) -> Estimate:
    """Mean over patients of the mean of their clips."""
    names = list(dict.fromkeys(owners))
    own = [
        float(np.mean([value for value, owner in zip(values, owners, strict=True) if owner == name])) for name in names
    ]
    return mean_interval(own, names)


def _curve(confidence: np.ndarray, right: np.ndarray, patients: Sequence[str]) -> list[list[Any]]:
    """Share of clips that are answered and their accuracy, by the probability from which on answers are given."""
    rows = []
    for least in np.round(np.arange(0.35, 1, 0.05), 2):
        chosen = confidence >= least
        if not chosen.any():
            break
        accuracy = _by_patient(right[chosen], [o for o, own in zip(patients, chosen, strict=True) if own])
        over = interval_over({"": accuracy}, "patients")
        rows.append([float(least), _by_patient(chosen, patients).value, accuracy, int(chosen.sum()), over])
    return rows


def _draw(path: Path, curve: Sequence[Sequence[Any]], data: str) -> None:
    """Draw the share of wrong answers against the share of clips that are answered."""
    figure = canvas.new_figure(720, 520)
    canvas.write_heading(figure, "Wrong answers against answers given", f"held-out patients: {data}")
    below = "share of clips answered, from the probability beside the point on"
    axes = canvas.add_plot(figure, 80, 92, 600, 350, "share of answers that are wrong", below)
    share = [row[1] for row in curve]
    risk = np.array([[1 - row[2].value, 1 - row[2].high, 1 - row[2].low] for row in curve])
    axes.fill_between(share, risk[:, 1], risk[:, 2], color=canvas.line_colour(2), alpha=0.25, lw=0)
    axes.plot(share, risk[:, 0], color=canvas.line_colour(2), marker="o", ms=5)
    named = 2.0  # share of clips at the last label
    for row, place in zip(curve[::-1], risk[::-1, 0], strict=True):
        if abs(named - row[1]) > APART:
            named, label = row[1], f"{row[0]:.2f}"
            axes.annotate(label, (named, place), (-12, 9), textcoords="offset points", color=canvas.TEXT, size=9)
    axes.set(xlim=(0, 1.03), ylim=(0, min(1.0, 1.3 * float(risk[:, 2].max()))))
    canvas.save(figure, path)
