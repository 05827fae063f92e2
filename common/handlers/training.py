"""Epochs that can be repeated, checkpoints to resume from, a table of metrics."""

from __future__ import annotations

import csv
import logging
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data.utils import set_rnd
from torch import nn

from ..distributed import gathered, is_main, rank
from ..report.figures import curves
from ..transfer import load_weights, save_whole
from .scores import column_means

logger = logging.getLogger(__name__)

PROGRESS = ("epoch", "best_metric", "best_metric_epoch")  # of a checkpoint, beside states


class EpochSeed:
    """Make the randomness of an epoch a function of seed and epoch alone.

    Order of samples, augmentation and dropout of epoch 7 are then the same in a run that was cut off and resumed as in
    one that was not, without random states in checkpoints. With several processes the sampler decides on the order, and
    all else differs from process to process.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer, before its other handlers."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Seed Python, NumPy, torch and the data set's random transforms."""
        # Leaves room for the data set, which counts on from it, and for a thousand epochs of each process.
        seed = self.seed + 1000 * engine.state.epoch + 1_000_000 * rank()
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        set_rnd(engine.data_loader.dataset, seed)  # type: ignore[attr-defined]


class Checkpoint:
    """``last.pt`` after every epoch, enough to resume; ``model.pt``, weights alone, whenever the key metric is best.

    Files are written beside and renamed, so that a run killed at any moment leaves whole ones. Of several processes the
    first one writes, and all read; any number of them goes on from what any other number has left.

    Args:
        save_dir: folder of both files; processes on several machines must share it.
        network, optimizer: what to save and restore.
        evaluator: the validation engine, whose key metric decides what is best.
        resume: continue from ``last.pt``; where there is none yet, start from the beginning.
        others: further objects with ``state_dict``, such as a critic, its optimiser, or a learning-rate scheduler;
            those that are None are left out.
    """

    def __init__(
        self,
        save_dir: str | Path,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        evaluator: Engine,
        resume: bool = False,
        others: Mapping[str, Any] | None = None,
    ) -> None:
        self.save_dir, self.network, self.evaluator, self.resume = Path(save_dir), network, evaluator, resume
        given = {"optimizer": optimizer, **(others or {})}
        self.states = {name: target for name, target in given.items() if target is not None}

    @property
    def last(self) -> Path:
        """Path of the checkpoint to resume from."""
        return self.save_dir / "last.pt"

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer, after its validation handler."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)

    def start(self, engine: Engine) -> None:
        """Restore the state of the last completed epoch.

        Raises:
            ValueError: where ``last.pt`` is of another network, or of a training with other objects, such as one
                without critic; where not all processes see it.
        """
        if engine.state.epoch > 0:  # a further round of a federated client, from the server's weights
            return
        if not self.resume:
            if self.last.exists():
                logger.warning("Starting anew: %s will be overwritten. Use --resume True to go on with it.", self.last)
            return
        seen = gathered([self.last.exists()])
        if any(seen) and not all(seen):
            raise ValueError(
                f"All processes must see {self.last}, got {sum(seen)} of {len(seen)} that do. Give a --ckpt_dir that "
                "all machines share."
            )
        if not any(seen):
            logger.warning("Resume: no %s yet, so training starts from the beginning.", self.last)
            return
        load_weights(self.network, self.last)
        content = torch.load(self.last, map_location="cpu", weights_only=True)
        held = content.keys() - {"network", *PROGRESS}
        if held != self.states.keys():
            raise ValueError(
                f"{self.last} must hold the state of {', '.join(self.states)}, got {', '.join(sorted(held))}. "
                "Resume with the settings that it was trained with."
            )
        for name, target in self.states.items():
            target.load_state_dict(content[name])
        engine.state.epoch = content["epoch"]
        engine.state.iteration = content["epoch"] * engine.state.epoch_length  # type: ignore[operator]
        state: Any = self.evaluator.state  # MONAI adds its own attributes to ignite's State
        state.best_metric, state.best_metric_epoch = content["best_metric"], content["best_metric_epoch"]
        logger.info("Resume: after epoch %d of %d.", content["epoch"], engine.state.max_epochs)

    def save(self, engine: Engine) -> None:
        """Write ``last.pt``, and ``model.pt`` if this epoch validated best."""
        if not is_main():
            return
        state: Any = self.evaluator.state
        weights = self.network.state_dict()
        if state.best_metric_epoch == engine.state.epoch:
            save_whole(weights, self.save_dir / "model.pt")
        content = {
            "network": weights,
            **{name: target.state_dict() for name, target in self.states.items()},
            "epoch": engine.state.epoch,
            "best_metric": float(state.best_metric),
            "best_metric_epoch": state.best_metric_epoch,
        }
        save_whole(content, self.last)


class EarlyStop:
    """End training when validation has not improved for a number of epochs.

    It counts from the epoch that validated best, which checkpoints hold, so that a resumed run ends where one that was
    not cut off does; ignite's ``EarlyStopping`` starts to count anew.

    Args:
        evaluator: the validation engine, whose key metric decides what is best.
        patience: epochs without improvement.
    """

    def __init__(self, evaluator: Engine, patience: int) -> None:
        self.evaluator, self.patience = evaluator, patience

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer, after its checkpoint."""
        engine.add_event_handler(Events.STARTED | Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Compare epochs."""
        best = getattr(self.evaluator.state, "best_metric_epoch", -1)
        if best > 0 and engine.state.epoch - best >= self.patience:
            logger.info("Early stop after epoch %d: epoch %d validated best.", engine.state.epoch, best)
            engine.terminate()


class MetricsTable:
    """``metrics.csv`` and ``curves.png``: a row an epoch with loss, learning rate, seconds and the validation's scores.

    Where the trainer's output holds the terms of its losses, as that of :class:`common.engines.SeparationTrainer`, each
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
