"""Means with their 95 % interval, paired comparisons, and the rule for a class that a case lacks.

An interval is found by bootstrap: patients are drawn with replacement, each with all of its slices, and the score is
computed anew from those that were drawn. Slices of one patient are alike, so single slices would give an interval that
is too narrow. Where the data names no patients, the next best is drawn (volumes, images, slices), and tables say so.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import DegenerateDataWarning, bootstrap, norm, t, wilcoxon

from .files import complete_file

LEVEL = 0.95
FEWEST = 5  # patients: the lowest and the highest of three scores hold the true mean in 75 of 100 studies only
RESAMPLES = 9999  # SciPy's default
DRAWN_AT_ONCE = 2_000_000  # numbers in memory

# The one rule of all tables; docs/statistics.md repeats it
ABSENT = (
    "A case whose ground truth lacks a class has no score for it: the mean leaves it out, the column absent counts it, "
    "and the column false_alarms counts it too if the class was predicted in it."
)
LEFT_OUT, ONE_OR_ZERO = "left out", "1 or 0"  # what a row does with such cases; the second only where a paper needs it


class Estimate(NamedTuple):
    """A score, its 95 % interval, and the number of patients (or volumes, images, slices) that it is from.

    The bounds are NaN where there are fewer than ``FEWEST``.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    units: int = 0


def tail(units: int) -> float:
    """Share of the bootstrap's means that lies outside the interval on either side.

    Percentiles of 2.5 and 97.5 give intervals that are too narrow for few patients: the means of samples vary by
    (n - 1) / n of what they should, and a normal distribution takes the place of Student's. This share makes up for
    both (Hesterberg, *What teachers should know about the bootstrap*, 2015, section 5.2); of many patients it is 2.5 %.

    Args:
        units: number of patients, at least 2.
    """
    return float(norm.cdf(-math.sqrt(units / (units - 1)) * t.ppf((1 + LEVEL) / 2, units - 1)))


def bootstrap_estimates(
    sums: np.ndarray,
    score: Callable[[np.ndarray], np.ndarray],
    resamples: int = RESAMPLES,
    seed: int = 0,
    only_together: bool = False,
) -> list[Estimate]:
    """Scores of all patients together, with their intervals.

    Args:
        sums: what each patient adds, shape (patients, ...), such as its counts of pixels.
        score: takes sums over patients (samples, ...) and gives scores (samples, K), NaN where one is not defined.
        resamples: number of samples of patients that are drawn with replacement.
        seed: of the draw.
        only_together: whether a single patient has no score, as with the area under a curve over patients.

    Returns:
        K estimates. Only patients that have a score of their own count as units, or all with ``only_together``.
    """
    sums = np.asarray(sums, float)
    count, flat = len(sums), sums.reshape(len(sums), math.prod(sums.shape[1:]))
    values = score(sums.sum(0, keepdims=True))[0]
    own = np.ones((count, len(values)), bool) if only_together or not count else np.isfinite(score(sums))
    units = own.sum(0)
    bounds = np.full((2, len(values)), np.nan)
    if units.max(initial=0) >= FEWEST:

        def of_samples(drawn: np.ndarray, axis: int) -> np.ndarray:
            samples = drawn.reshape(-1, count).astype(np.int64)
            places = samples + count * np.arange(len(samples))[:, None]
            times = np.bincount(places.ravel(), minlength=samples.size).reshape(samples.shape)
            return score((times @ flat).reshape(-1, *sums.shape[1:])).T

        with warnings.catch_warnings():  # of samples without a score, which the percentiles leave out
            warnings.simplefilter("ignore", DegenerateDataWarning)
            found = bootstrap(
                (np.arange(count),),
                of_samples,
                n_resamples=resamples,
                batch=max(1, DRAWN_AT_ONCE // max(count, flat.shape[1])),
                vectorized=True,
                method="percentile",
                rng=np.random.default_rng(seed),
            )
        for number in np.unique(units[units >= FEWEST]).tolist():
            alike = units == number
            shares = [tail(number), 1 - tail(number)]
            bounds[:, alike] = np.nanquantile(found.bootstrap_distribution[alike], shares, axis=1)
    numbers = zip(values.tolist(), *bounds.tolist(), units.tolist(), strict=True)
    return [Estimate(value, low, high, number) for value, low, high, number in numbers]


class ScoreSums:
    """The scores of a table as sums per patient, from which each score has its interval.

    Every score is a ratio of sums over slices, or the mean of several such ratios: a mean over slices is their scores'
    sum by their number, a pooled Dice twice the pixels found by those of both masks. Ratios whose second sum is 0 are
    left out.

    Args:
        owners: of each slice (or image, frame): its patient.
        word: what the owners are, such as ``patients``.

    Example:
        >>> sums = ScoreSums(["a", "a", "b"], "patients")
        >>> sums.add("lesion", "dice", [0.5, 1.0, float("nan")])  # the last slice has no lesion
        >>> sums.estimates()["lesion", "dice"].value
        0.75
    """

    def __init__(self, owners: Sequence[str], word: str) -> None:
        self.names, self.word = list(dict.fromkeys(owners)), word
        index = {name: number for number, name in enumerate(self.names)}
        self.places = np.array([index[owner] for owner in owners], int)
        self.cells: dict[tuple[str, str], np.ndarray] = {}  # (patients, ratios, 2)

    def add(self, row: str, column: str, above: Any, below: Any = None) -> None:
        """Add a score to the table.

        Args:
            row: name of its row.
            column: name of its column.
            above: of each slice, (N,), or (N, ratios) for the mean of several ratios.
            below: same shape; by default 1 where ``above`` is known, so that the score is the mean of ``above``.
        """
        above = np.asarray(above, float)
        below = np.isfinite(above) if below is None else np.asarray(below, float)
        pair = np.stack([np.nan_to_num(above), below], axis=-1)
        pair = pair.reshape(len(self.places), math.prod(above.shape[1:]), 2)
        sums = np.zeros((len(self.names), *pair.shape[1:]))
        np.add.at(sums, self.places, pair)
        self.cells[row, column] = sums

    def estimates(self) -> dict[tuple[str, str], Estimate]:
        """The scores by row and column."""
        if not self.cells:
            return {}
        ends = np.cumsum([cell.shape[1] for cell in self.cells.values()]).tolist()

        def score(sums: np.ndarray) -> np.ndarray:
            with np.errstate(invalid="ignore", divide="ignore"):
                ratios = np.where(sums[..., 1] > 0, sums[..., 0] / sums[..., 1], np.nan)
            return np.stack([_known_mean(part) for part in np.split(ratios, ends[:-1], axis=1)], axis=1)

        together = np.concatenate([*self.cells.values()], axis=1)
        return dict(zip(self.cells, bootstrap_estimates(together, score), strict=True))

    def save(self, path: Path) -> None:
        """Write the sums, so that intervals over the patients of several runs can be found."""
        keys = np.array([*self.cells], str).reshape(-1, 2)
        arrays: dict[str, Any] = {f"cell{number}": cell for number, cell in enumerate(self.cells.values())}
        with complete_file(path) as part:
            np.savez_compressed(part, names=np.array(self.names, str), word=self.word, keys=keys, **arrays)

    @classmethod
    def of_runs(cls, paths: Sequence[Path], wanted: Collection[tuple[str, str]] | None = None) -> ScoreSums:
        """Sums of several runs, whose scores are the means over the runs; a patient of several runs counts once.

        Each run's sums are divided by its second sum over all patients, so that runs have the same weight. Patients are
        then drawn over all runs: within each run, a few patients would vary too little.

        Args:
            paths: files from ``save``.
            wanted: rows and columns of the scores; by default all.
        """
        runs = [_loaded(path) for path in paths]
        names = [str(name) for run in runs for name in run["names"]]
        words = sorted({str(run["word"]) for run in runs})
        made = cls(names, " and ".join(words))
        index = {name: number for number, name in enumerate(made.names)}
        found: dict[tuple[str, str], list[np.ndarray]] = {}
        for run in runs:
            places = [index[str(name)] for name in run["names"]]
            for number, (row, column) in enumerate(run["keys"].tolist()):
                if wanted is not None and (row, column) not in wanted:
                    continue
                sums = run[f"cell{number}"]
                totals = sums[..., 1].sum(0)[:, None]  # (ratios, 1)
                whole = np.zeros((len(made.names), *sums.shape[1:]))
                whole[places] = np.divide(sums, totals, out=np.zeros_like(sums), where=totals > 0)
                found.setdefault((row, column), []).append(whole)
        for key, cells in found.items():
            if len({cell.shape for cell in cells}) == 1:  # else the runs had other classes
                made.cells[key] = np.sum(cells, axis=0)
        return made


def _loaded(path: Path) -> Mapping[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as content:
        return dict(content)


def _known_mean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis without NaN; NaN where there is nothing else."""
    known = np.isfinite(values)
    return np.where(known.any(-1), np.where(known, values, 0).sum(-1) / np.maximum(known.sum(-1), 1), np.nan)


def mean_interval(values: Any, owners: Sequence[str] | None = None) -> Estimate:
    """A mean with its 95 % interval.

    Args:
        values: scores (N,), of slices for example; NaN is left out.
        owners: the patient of each; by default each score is a patient's.

    Example:
        >>> mean_interval([0.61, 0.72, 0.80, 0.55, 0.69, 0.77])
        Estimate(value=0.69, low=0.59..., high=0.77..., units=6)
    """
    values = np.asarray(values, float)
    sums = ScoreSums([str(number) for number in range(len(values))] if owners is None else owners, "")
    sums.add("", "", values)
    return sums.estimates()["", ""]


def parts_of(owners: Sequence[str], count: int, groups: Sequence[str] | None = None) -> np.ndarray:
    """Number of the part, from 0, that each case belongs to; all cases of a patient are in one part.

    Args:
        owners: of each case: its patient.
        count: of parts, which hold equal numbers of patients, to one.
        groups: of each case, such as its source: each part then holds an equal share of each group.
    """
    group_of = dict(zip(owners, owners if groups is None else groups, strict=True))
    part = {name: place % count for place, name in enumerate(sorted(group_of, key=lambda name: (group_of[name], name)))}
    return np.array([part[owner] for owner in owners])


def counted(number: int, word: str) -> str:
    """A number with its noun.

    Args:
        number: how many.
        word: in the plural, such as ``patients`` or ``patients and slices``.

    Example:
        >>> counted(2, "patients"), counted(1, "patients"), counted(1, "studies")
        ('2 patients', '1 patient', '1 study')
    """
    return f"{number} {' and '.join(map(_singular, word.split(' and '))) if number == 1 else word}"


def _singular(word: str) -> str:
    """One of what a plural names."""
    if word.endswith("series"):
        return word
    return f"{word.removesuffix('ies')}y" if word.endswith("ies") else word.removesuffix("s")


def interval_over(estimates: Mapping[str, Estimate], word: str) -> str:
    """What the intervals of a row of a table are over, or why it has none.

    Scores of a row can rest on different numbers: a patient without a lesion has no recall, but may have a precision.

    Args:
        estimates: the scores of the row by column; those that are NaN do not count.
        word: what is drawn, such as ``patients``.

    Example:
        >>> interval_over({"dice": Estimate(0.5, 0.4, 0.6, 12)}, "patients")
        '12 patients'
        >>> interval_over({"dice": Estimate(0.5, units=1)}, "patients")
        'none: 1 patient, 5 needed'
        >>> interval_over({"dice": Estimate(0.5, 0.4, 0.6, 12), "recall": Estimate(0.5, units=4)}, "patients")
        'dice: 12 patients; recall: none: 4 patients, 5 needed'
    """
    units = {column: each.units for column, each in estimates.items() if not math.isnan(each.value)}
    few = sorted({number for number in units.values() if number < FEWEST}) or [0]
    fewest = counted(few[0], word) if few[0] == few[-1] else f"{few[0]} to {counted(few[-1], word)}"
    columns: dict[str, list[str]] = {}
    for column, number in units.items():
        text = counted(number, word) if number >= FEWEST else f"none: {fewest}, {FEWEST} needed"
        columns.setdefault(text, []).append(column)
    if len(columns) <= 1:
        return next(iter(columns), f"none: {fewest}, {FEWEST} needed")
    return "; ".join(f"{', '.join(names)}: {text}" for text, names in columns.items())


class Paired(NamedTuple):
    """Comparison of two scores of the same cases.

    Args:
        first: mean of the first scores.
        second: mean of the second scores.
        difference: mean of second minus first.
        pairs: number of cases.
        p: of Wilcoxon's signed-rank test over the patients' mean differences.
    """

    first: Estimate
    second: Estimate
    difference: Estimate
    pairs: int
    p: float


def paired(first: Any, second: Any, owners: Sequence[str] | None = None) -> Paired:
    """Compare two scores of the same cases: mean difference with its interval, and Wilcoxon's signed-rank test.

    The test is SciPy's, two-sided, on one number per patient, its mean difference. Differences of 0 are left out, as
    Wilcoxon did; if all are 0, p is 1. Below six patients p cannot fall below 0.05.

    Args:
        first: scores (N,); NaN in either is left out.
        second: scores of the same cases.
        owners: the patient of each case; by default each case is a patient.
    """
    pair = np.stack([np.asarray(first, float), np.asarray(second, float)])
    known = np.isfinite(pair).all(0)
    names = np.arange(len(known)).astype(str) if owners is None else np.array(owners, str)
    pair, names = pair[:, known], names[known]
    difference = pair[1] - pair[0]
    means = np.array([difference[names == name].mean() for name in dict.fromkeys(names.tolist())])
    p = 1.0 if len(means) and not means.any() else float(wilcoxon(means).pvalue) if len(means) else math.nan
    before, after, change = (mean_interval(values, names.tolist()) for values in (*pair, difference))
    return Paired(before, after, change, int(known.sum()), p)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction of p-values for several tests at once (Holm, 1979); NaN stays and counts as no test.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, float)
    order = np.argsort(p)[: np.isfinite(p).sum()]
    adjusted = np.full(len(p), np.nan)
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1) if len(order) else steps
    return adjusted.tolist()
