"""What the score tables of an evaluation share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ignite.engine import Engine, Events

from ..run.distributed import is_main
from ..statistics import ScoreSums


class ScoreTable:
    """Base of the handlers that write the scores of an evaluation.

    What an evaluation has kept is gathered from all processes when it ends; the first process writes the tables.

    Args:
        output_dir: folder of the files.
    """

    def __init__(self, output_dir: str | Path) -> None:
        self.output_dir = Path(output_dir)

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.STARTED, lambda _: self.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.remember)
        engine.add_event_handler(Events.COMPLETED, self.finish)

    def finish(self, engine: Engine) -> None:
        """Gather what all processes have kept; the first one writes."""
        self.gather()
        if is_main():
            self.write(engine)

    def clear(self) -> None:
        """Forget the samples of an earlier evaluation."""
        raise NotImplementedError

    def remember(self, engine: Engine) -> None:
        """Keep what the tables need of the current batch."""
        raise NotImplementedError

    def gather(self) -> None:
        """Add what the other processes have kept."""
        raise NotImplementedError

    def write(self, engine: Engine) -> None:
        """Write the tables."""
        raise NotImplementedError


def sums_over(
    cases: Sequence[str], patients: Sequence[str], single: str = "slices", several: str = "volumes"
) -> ScoreSums:
    """An empty table whose intervals are over patients; where one is not named, over the cases.

    Args:
        cases: the case of each slice.
        patients: its patient; empty if it is not named.
        single: word for cases if each has one slice.
        several: word for cases that have more.
    """
    if all(patients):
        return ScoreSums(patients, "patients")
    return ScoreSums(cases, several if len(set(cases)) < len(cases) else single)
