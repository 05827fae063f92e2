"""The scores of finished experiments."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .table import PaperTable, Place

Runs = Mapping[str, Mapping[str, Path | None]]  # file of scores by variant and run; None if a run is not done


@dataclass(frozen=True)
class Cell:
    """Scores of one variant under one heading, by run; runs without a score are absent."""

    values: Mapping[str, float]

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
    """

    table: PaperTable
    runs: Mapping[str, Sequence[str]]
    scores: Mapping[str, Mapping[str, Mapping[Place, float]]]
    word: str

    def cells(self, variant: str) -> dict[str, Cell]:
        """A variant's scores by heading."""
        runs = self.scores[variant].items()
        return {
            heading: Cell({run: scores[place] for run, scores in runs if place in scores})
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
