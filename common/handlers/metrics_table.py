"""Table and curves of a training."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events

from ..report.curves import draw_curves
from ..run.distributed import gathered, is_main
from ..tables import cell_text, column_means, read_csv, write_csv

logger = logging.getLogger(__name__)


class MetricsTable:
    """``metrics.csv``, ``curves.png``, ``training.csv``.

    ``metrics.csv`` has one row per epoch with loss, learning rate, seconds and validation scores; ``training.csv`` says
    how long the training was.

    If the trainer's output holds the terms of its losses, as that of ``weak_gan.trainer.SeparationTrainer`` does, each
    term has a column and a curve beside ``loss``: means over the iterations that have it, of all processes.

    Args:
        output_dir: folder of the files.
        evaluator: the validation engine.
        classes: names in channel order, for the scores per class; if empty, only the key metric is written.
        optimizer: its learning rate is written.
        metric: name of the evaluator's key metric.
        per_class: name of the score per class: in the evaluator's metrics, or in their details, (samples, classes).
        score: name of that score, the prefix of its columns and the title of its curves.
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
        self.started = 0.0

    @property
    def columns(self) -> list[str]:
        """Names of the table's columns."""
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
        engine.add_event_handler(Events.COMPLETED, self.write_length)

    def remember(self, engine: Engine) -> None:
        """Keep the losses of an iteration."""
        output: Any = engine.state.output
        terms = output[0] if "image" not in output[0] else {"loss": output[0]["loss"]}  # MONAI's samples share one loss
        for name, value in terms.items():
            self.losses.setdefault(name, []).append(value)

    def begin(self, engine: Engine) -> None:
        """Start an epoch; at the first one of a resumed run, read the rows before it."""
        self.losses, self.started = {name: [] for name in self.losses}, time.monotonic()
        path = self.output_dir / "metrics.csv"
        if is_main() and not self.rows and engine.state.epoch > 1 and path.exists():
            self.rows = [row for row in read_csv(path) if int(row["epoch"]) < engine.state.epoch]

    def write(self, engine: Engine) -> None:
        """Add this epoch's row and redraw the curves."""
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
            "seconds": f"{time.monotonic() - self.started:.1f}",
            self.metric: f"{state.metrics[self.metric]:.4f}" if validated else "",
            **{column: cell_text(value) for column, value in zip(self.score_columns, per_class, strict=True)},
        }
        self.rows.append(row)
        cells = ([each.get(column, "") for column in self.columns] for each in self.rows)
        write_csv(self.output_dir / "metrics.csv", self.columns, cells)
        scores = ", ".join(
            f"{name} {row[column] or '-'}" for name, column in zip(self.classes, self.score_columns, strict=True)
        )
        scores = scores or row[self.metric] or "-"
        logger.info("Epoch %d: loss %s, %s %s (%s s).", row["epoch"], row["loss"], self.score, scores, row["seconds"])
        numbers = [
            {key: float(value) if value != "" else float("nan") for key, value in each.items()} for each in self.rows
        ]
        shown = self.score_columns or [self.metric]
        draw_curves(self.output_dir / "curves.png", numbers, list(self.losses), shown, score=self.score)

    def write_length(self, engine: Engine) -> None:
        """Write ``training.csv``: epochs of the training, the best of them, and whether it stopped early, 1 or 0.

        A training that is resumed counts from its first epoch. It stopped early if it had more epochs left.
        """
        if is_main():
            epoch, most = engine.state.epoch, engine.state.max_epochs or engine.state.epoch
            best = getattr(self.evaluator.state, "best_metric_epoch", -1)
            row = ["training", epoch, best if best > 0 else None, int(epoch < most)]
            write_csv(self.output_dir / "training.csv", ["row", "epochs", "best_epoch", "stopped_early"], [row])

    def scores(self, state: Any) -> list[float]:
        """Scores per class of the last validation; NaN for a missing one."""
        value = state.metrics.get(self.per_class)
        if value is not None and (np.ndim(value) or len(self.classes) == 1):
            return [float(each) for each in np.atleast_1d(value)]
        return column_means(state.metric_details[self.per_class].cpu().numpy())


def _mean(losses: Sequence[float]) -> str:
    """Mean of an epoch as the table holds it; blank if there are no losses."""
    return f"{np.mean(losses):.6f}" if losses else ""
