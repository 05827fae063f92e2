"""Score tables with one row per slice."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ignite.engine import Engine

from ..run.distributed import gathered
from ..statistics import ScoreSums
from .score_table import ScoreTable, sums_over


class SliceTable(ScoreTable):
    """Base of score tables that name each slice of an evaluation, and keep in ``values`` what they need of each batch.

    Args:
        output_dir: folder of the files.
    """

    def __init__(self, output_dir: str | Path) -> None:
        super().__init__(output_dir)
        self.names: list[tuple[str, int]] = []
        self.patients: list[str] = []  # empty where none is named
        self.values: list[Any] = []

    def clear(self) -> None:
        """Forget the slices of an earlier evaluation."""
        self.names, self.patients, self.values = [], [], []

    def remember(self, engine: Engine) -> None:
        """Keep case, number and patient of each slice."""
        self.names += [(str(sample["case"]), int(sample["slice"])) for sample in decollated(engine)]
        self.patients += [str(sample.get("patient", "")) for sample in decollated(engine)]

    def gather(self) -> None:
        """Add the slices of the other processes."""
        self.names = gathered(self.names)  # in the order of MONAI's metric details
        self.patients = gathered(self.patients)
        self.values = gathered(self.values)

    def sums(self) -> ScoreSums:
        """An empty table of scores, whose intervals are over patients, or over volumes or slices if not all are named.

        Its values are given by slice, in the order of ``names``.
        """
        return sums_over([case for case, _ in self.names], self.patients)

    def named_rows(self, values: Iterable[Iterable[Any]]) -> list[list[Any]]:
        """Rows with case, patient and number of each slice before its values."""
        rows = zip(self.names, self.patients, values, strict=True)
        return [[case, patient, number, *each] for (case, number), patient, each in rows]


def decollated(engine: Engine) -> list[dict[str, Any]]:
    """The samples of the current batch: MONAI's engines turn the batch into a list of them."""
    return engine.state.batch  # type: ignore[return-value]
