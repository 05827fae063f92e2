"""What the tables of an evaluation have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from ..run.distributed import gathered, is_main


class SliceTable:
    """Tables of an evaluation, slice by slice.

    Args:
        output_dir: folder of the files.
    """

    def __init__(self, output_dir: str | Path) -> None:
        self.output_dir = Path(output_dir)
        self.names: list[tuple[str, int]] = []

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator that computes the metrics which the table holds."""
        engine.add_event_handler(Events.STARTED, lambda _: self.names.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.remember)
        engine.add_event_handler(Events.COMPLETED, self.finish)

    def remember(self, engine: Engine) -> None:
        """Keep case and slice of each sample."""
        self.names += [(str(sample["case"]), int(sample["slice"])) for sample in decollated(engine)]

    def finish(self, engine: Engine) -> None:
        """Gather what all processes have kept; the first one writes."""
        self.gather()
        if is_main():
            self.write(engine)

    def gather(self) -> None:
        """Take over what the other processes have kept."""
        self.names = gathered(self.names)  # in the order of MONAI's metric details

    def write(self, engine: Engine) -> None:
        """Write the tables."""
        raise NotImplementedError


def decollated(engine: Engine) -> list[dict[str, Any]]:
    """The samples of the current batch: MONAI's engines turn the batch into a list of them."""
    return engine.state.batch  # type: ignore[return-value]
