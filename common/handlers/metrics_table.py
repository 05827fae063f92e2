"""A table and curves of a training."""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events

from ..report.curves import curves
from ..run.distributed import gathered, is_main
from ..tables import column_means

logger = logging.getLogger(__name__)


class MetricsTable:
    """``metrics.csv`` and ``curves.png``: a row an epoch with loss, learning rate, seconds and the validation's scores.

    Where the trainer's output holds the terms of its losses, as that of ``weak_gan.trainer.SeparationTrainer``, each
    has a column and a curve beside ``loss``: means over the iterations that have it, of all processes.

    Args:
        output_dir: folder of both files.
        evaluator: the validation engine.
        classes: names in channel order, for the scores per class; without any, the key metric stands alone.
        optimizer: whose learning rate is written.
        metric: name of the evaluator's key metric.
        per_class: name of the score per class: in the evaluator's metrics, or in their details, (samples, classes).
        score: what that score is called: prefix of its columns, title of its curves.
    """

    def __init__(
        self,
        output_dir: str | Path,
        evaluator: Engine,
        classes: Sequence[str],
        optimizer: torch.optim.Optimizer,
        metric: str = "val_mean_dice",
        per_class: str = "val_mean_dice",
        score: str = "Dice",
    ) -> None:
        self.output_dir, self.evaluator, self.classes = Path(output_dir), evaluator, list(classes)
        self.optimizer, self.metric, self.per_class, self.score = optimizer, metric, per_class, score
        self.rows: list[dict[str, Any]] = []
        self.losses: dict[str, list[Any]] = {"loss": []}  # of an epoch's iterations, by name
        self.began = 0.0

    @property
    def columns(self) -> list[str]:
        """Header of the table."""
        return ["epoch", *self.losses, "learning_rate", "seconds", self.metric, *self.score_columns]

    @property
    def score_columns(self) -> list[str]:
        """``dice_lung`` and so on."""
        return [f"{self.score.lower()}_{name}" for name in self.classes]

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer, between its validation handler and its checkpoint."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.remember)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.write)

    def remember(self, engine: Engine) -> None:
        """Keep the losses of an iteration."""
        output: Any = engine.state.output
        terms = output[0] if "image" not in output[0] else {"loss": output[0]["loss"]}  # MONAI's samples share one loss
        for name, value in terms.items():
            self.losses.setdefault(name, []).append(value)

    def begin(self, engine: Engine) -> None:
        """On the first epoch of a resumed run, take over the rows before it."""
        self.losses, self.began = {name: [] for name in self.losses}, time.monotonic()
        path = self.output_dir / "metrics.csv"
        if is_main() and not self.rows and engine.state.epoch > 1 and path.exists():
            with path.open(newline="") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row["epoch"]) < engine.state.epoch]

    def write(self, engine: Engine) -> None:
        """Append this epoch's row and draw the curves anew."""
        parts = gathered([{name: [float(loss) for loss in losses] for name, losses in self.losses.items()}])
        if not is_main():
            return
        losses = {name: [loss for part in parts for loss in part.get(name, [])] for name in self.losses}
        state: Any = self.evaluator.state
        validated = state.epoch == engine.state.epoch
        per_class = self.scores(state) if validated and self.classes else [float("nan")] * len(self.classes)
        row: dict[str, Any] = {
            "epoch": engine.state.epoch,
            **{name: _mean(values) for name, values in losses.items()},
            "learning_rate": f"{self.optimizer.param_groups[0]['lr']:g}",
            "seconds": f"{time.monotonic() - self.began:.1f}",
            self.metric: f"{state.metrics[self.metric]:.4f}" if validated else "",
            **{
                column: "" if np.isnan(value) else f"{value:.4f}"
                for column, value in zip(self.score_columns, per_class, strict=True)
            },
        }
        self.rows.append(row)
        with (self.output_dir / "metrics.csv").open("w", newline="") as file:
            table = csv.DictWriter(file, self.columns, extrasaction="ignore")
            table.writeheader()
            table.writerows(self.rows)
        scores = ", ".join(
            f"{name} {row[column] or '-'}" for name, column in zip(self.classes, self.score_columns, strict=True)
        )
        scores = scores or row[self.metric] or "-"
        logger.info("Epoch %d: loss %s, %s %s (%s s).", row["epoch"], row["loss"], self.score, scores, row["seconds"])
        numbers = [
            {key: float(value) if value != "" else float("nan") for key, value in each.items()} for each in self.rows
        ]
        shown = self.score_columns or [self.metric]
        curves(self.output_dir / "curves.png", numbers, list(self.losses), shown, score=self.score)

    def scores(self, state: Any) -> list[float]:
        """Scores per class of the last validation, NaN where there is none."""
        value = state.metrics.get(self.per_class)
        if value is not None and (np.ndim(value) or len(self.classes) == 1):
            return [float(each) for each in np.atleast_1d(value)]
        return column_means(state.metric_details[self.per_class].cpu().numpy())


def _mean(losses: Sequence[float]) -> str:
    """Of an epoch, as the table holds it; blank where there is none."""
    return f"{np.mean(losses):.6f}" if losses else ""
