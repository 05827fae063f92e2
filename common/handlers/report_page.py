"""The page on an evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from ..report.html.scores import write_scores_page
from ..run.distributed import is_main


class ReportPage:
    """Write ``report.html`` of what the other handlers have written: give it after them.

    Args:
        output_dir: folder of the tables and figures; receives the page.
        metadata: path of the bundle's ``metadata.json``.
        weights: path of the file that is evaluated, or several.
    """

    def __init__(self, output_dir: str | Path, metadata: str | Path, weights: Any = None) -> None:
        self.output_dir, self.metadata, self.weights = Path(output_dir), metadata, weights

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator; handlers of one event are called in the order in which they were attached."""
        engine.add_event_handler(Events.COMPLETED, self.write)

    def write(self, engine: Engine) -> None:
        """Write the page, in the first process."""
        if is_main():
            write_scores_page(self.output_dir, self.metadata, self.weights)
