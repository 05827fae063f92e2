"""Score tables with one row per slice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ignite.engine import Engine

from ..run.distributed import gathered
from .score_table import ScoreTable


class SliceTable(ScoreTable):
    """Base of score tables that name each slice of an evaluation, and keep in ``values`` what they need of each batch.

    Args:
        output_dir: folder of the files.
    """

    def __init__(self, output_dir: str | Path) -> None:
        super().__init__(output_dir)
        self.names: list[tuple[str, int]] = []
        self.values: list[Any] = []

    def clear(self) -> None:
        """Forget the slices of an earlier evaluation."""
        self.names, self.values = [], []

    def remember(self, engine: Engine) -> None:
        """Keep case and number of each slice."""
        self.names += [(str(sample["case"]), int(sample["slice"])) for sample in decollated(engine)]

    def gather(self) -> None:
        """Add the slices of the other processes."""
        self.names = gathered(self.names)  # in the order of MONAI's metric details
        self.values = gathered(self.values)


def decollated(engine: Engine) -> list[dict[str, Any]]:
    """The samples of the current batch: MONAI's engines turn the batch into a list of them."""
    return engine.state.batch  # type: ignore[return-value]
