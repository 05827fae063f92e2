"""The scores of finished experiments."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..statistics import Estimate, ScoreSums
from .table import PaperTable, Place

Runs = Mapping[str, Mapping[str, Path | None]]  # file of scores by variant and run; None if a run is not done
UNKNOWN = Estimate(math.nan)


@dataclass(frozen=True)
class Cell:
    """Scores of one variant under one heading.

    Args:
        values: by run; runs without a score are absent.
        interval: estimate of their mean over the patients of all runs, if the runs have written what it needs.
    """

    values: Mapping[str, float]
    interval: Estimate = UNKNOWN

    @property
    def mean(self) -> float | None:
        """Mean over the runs that have a score."""
        return statistics.fmean(self.values.values()) if self.values else None

    @property
    def std(self) -> float | None:
        """Standard deviation of the sample (divided by n - 1); None for fewer than two runs."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else None


@dataclass(frozen=True)
class Measured:
    """The scores of a table's runs.

    Args:
        table: the paper's table.
        runs: names of the runs that each variant has when it is complete.
        scores: by variant, run, and place; runs that are not done are absent.
        word: word for runs, such as ``folds``.
        intervals: of the means over runs, by variant and place.
        units: what the intervals are over, such as ``12 to 15 patients``.
    """

    table: PaperTable
    runs: Mapping[str, Sequence[str]]
    scores: Mapping[str, Mapping[str, Mapping[Place, float]]]
    word: str
    intervals: Mapping[str, Mapping[Place, Estimate]] = field(default_factory=dict)
    units: str = ""

    def cells(self, variant: str) -> dict[str, Cell]:
        """A variant's scores by heading."""
        runs = self.scores[variant].items()
        known = self.intervals.get(variant, {})
        return {
            heading: Cell({run: scores[place] for run, scores in runs if place in scores}, known.get(place, UNKNOWN))
            for heading, place in self.table.columns.items()
        }

    def missing(self, variant: str) -> list[str]:
        """Runs that are not done."""
        return [run for run in self.runs[variant] if run not in self.scores[variant]]

    def present(self, variant: str) -> str:
        """Number of finished runs, such as ``2 of 3``."""
        return f"{len(self.scores[variant])} of {len(self.runs[variant])}"

    def notes(self) -> list[str]:
        """What a reader must know before trusting the table."""
        notes = [
            f"INCOMPLETE: {variant} has {self.present(variant)} {self.word}, without {', '.join(missing)}."
            for variant in self.table.variants
            if (missing := self.missing(variant))
        ]
        found = [scores for each in self.scores.values() for scores in each.values()]
        for heading, place in self.table.columns.items():
            if found and not any(place in scores for scores in found):
                notes.append(f"No {place.file} has a number in row {place.row!r}, column {place.column!r} ({heading}).")
        return notes


def intervals_over_runs(table: PaperTable, runs: Runs) -> tuple[dict[str, dict[Place, Estimate]], str]:
    """Intervals of the means over a table's runs, from the sums per patient that evaluations write beside their CSV.

    A score has none if one of the runs has not written its sums.

    Args:
        table: the paper's table.
        runs: file of scores of every variant and run; None if a run is not done.

    Returns:
        Estimates by variant and place, and what they are over, such as ``12 to 15 patients``; empty without any.
    """
    found: dict[str, dict[Place, Estimate]] = {}
    words: dict[str, None] = {}
    for variant in table.variants:
        done = [path for path in runs[variant].values() if path is not None and path.is_file()]
        found[variant] = {}
        for file in dict.fromkeys(place.file for place in table.columns.values()):
            places = {(place.row, place.column): place for place in table.columns.values() if place.file == file}
            paths = [path.with_name(file).with_suffix(".npz") for path in done]
            if done and all(path.is_file() for path in paths):
                sums = ScoreSums.of_runs(paths, places)
                found[variant] |= {places[key]: each for key, each in sums.estimates().items()}
                words[sums.word] = None
    units = [each.units for row in found.values() for each in row.values() if not math.isnan(each.low)]
    count = f"{min(units)}" + (f" to {max(units)}" if max(units) > min(units) else "") if units else ""
    return found, f"{count} {' or '.join(words)}" if units else ""
