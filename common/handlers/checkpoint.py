"""Checkpoints to resume from, and the best weights."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import nn

from ..run.distributed import gathered, is_main
from ..run.model_record import HELD, read_record, save_weights
from ..run.training_record import check_resumed
from ..transfer import load_weights, save_whole

logger = logging.getLogger(__name__)

PROGRESS = ("epoch", "best_metric", "best_metric_epoch", HELD)  # in a checkpoint, beside the states
LENGTHS = ("T_max", "total_iters", "total_steps")  # epochs or steps, of a schedule that ends


class Checkpoint:
    """``last.pt`` after every epoch, enough to resume; ``model.pt``, weights alone, whenever the key metric is best.

    ``model.json`` beside ``model.pt`` is its record: settings, classes, data, scores, hash. ``last.pt`` holds its own.

    Without validation cases (``--folds 0``), ``model.pt`` holds the last epoch.

    Files are written beside their place and then renamed, so that they are complete even if a run is killed. With
    several processes, the first one writes and all read. A training can be resumed with another number of processes.

    Args:
        save_dir: folder of both files; processes on several machines must share it.
        network, optimizer: what to save and restore.
        evaluator: the validation engine; its key metric decides which epoch is best.
        resume: continue from ``last.pt``; if there is none yet, start from the beginning.
        others: further objects with ``state_dict``, such as a critic, its optimiser, or a learning-rate scheduler;
            those that are None are left out.
        averaged: the network whose weights become ``model.pt`` in place of ``network``'s, an average of them
            (``common.handlers.average``).
        half: convolutions of ``model.pt`` are saved in half precision, which halves the file; ``last.pt`` is exact.
        record: of the training, from ``common.run.training_record.training_record``.
    """

    def __init__(
        self,
        save_dir: str | Path,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        evaluator: Engine,
        resume: bool = False,
        others: Mapping[str, Any] | None = None,
        record: Mapping[str, Any] | None = None,
        averaged: nn.Module | None = None,
        half: bool = False,
    ) -> None:
        self.averaged, self.half = averaged or network, half
        self.save_dir, self.network, self.evaluator, self.resume = Path(save_dir), network, evaluator, resume
        given = {"optimizer": optimizer, **(others or {})}
        self.states = {name: target for name, target in given.items() if target is not None}
        self.record = dict(record or {})
        self.validated = len(getattr(evaluator, "data_loader", [()])) > 0

    @property
    def last(self) -> Path:
        """Path of the checkpoint to resume from."""
        return self.save_dir / "last.pt"

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer, after its validation handler."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)
        engine.add_event_handler(Events.COMPLETED, self.tell)

    def start(self, engine: Engine) -> None:
        """Restore the state of the last completed epoch.

        Raises:
            ValueError: if ``last.pt`` belongs to another network, or to a training with other settings, data or
                objects, such as one without critic; or if only some of the processes see the file.
        """
        if engine.state.epoch > 0:  # a further round of a federated client, from the server's weights
            return
        if not self.resume:
            if self.last.exists():
                logger.warning(
                    "Starting again: %s will be overwritten. Use --resume True to continue from it.", self.last
                )
            elif (self.save_dir / "model.pt").exists():
                logger.warning(
                    "%s will be replaced by the weights of this training. To keep it, give another --ckpt_dir.",
                    self.save_dir / "model.pt",
                )
            return
        seen = gathered([self.last.exists()])
        if any(seen) and not all(seen):
            raise ValueError(
                f"All processes must see {self.last}, but only {sum(seen)} of {len(seen)} do. Give a --ckpt_dir that "
                "all machines share."
            )
        if not any(seen):
            logger.warning("Resume: no %s yet, so training starts from the beginning.", self.last)
            return
        before = read_record(self.last)
        if before and self.record:
            check_resumed(before, self.record, self.last)
        load_weights(self.network, self.last)
        content = torch.load(self.last, map_location="cpu", weights_only=True)
        held = content.keys() - {"network", *PROGRESS}
        if held != self.states.keys():
            raise ValueError(
                f"{self.last} must hold the state of {', '.join(self.states)}, got {', '.join(sorted(held))}. "
                "Resume with the settings of that training."
            )
        self.check_schedule(content)
        for name, target in self.states.items():
            target.load_state_dict(content[name])
        engine.state.epoch = content["epoch"]
        engine.state.iteration = content["epoch"] * engine.state.epoch_length  # type: ignore[operator]
        state: Any = self.evaluator.state  # MONAI adds its own attributes to ignite's State
        state.best_metric, state.best_metric_epoch = content["best_metric"], content["best_metric_epoch"]
        logger.info("Resume: after epoch %d of %d.", content["epoch"], engine.state.max_epochs)

    def check_schedule(self, content: Mapping[str, Any]) -> None:
        """Refuse another number of epochs where the learning rate follows a schedule of the first number.

        The schedule's state would bring its old length back, and its rate would rise again after its end.

        Raises:
            ValueError: with both lengths.
        """
        for name, target in self.states.items():
            state, before = target.state_dict(), content[name]
            for length in LENGTHS:
                if length in before and before[length] != state.get(length):
                    raise ValueError(
                        f"{self.last}: the learning rate falls over {before[length]} epochs, and the schedule of this "
                        f"run has {state.get(length)}. Resume with --epochs {before[length]}; or start a new training "
                        "from these weights, with --pretrained."
                    )

    def save(self, engine: Engine) -> None:
        """Write ``last.pt``, and ``model.pt`` if this epoch is the best so far."""
        if not is_main():
            return
        state: Any = self.evaluator.state
        weights = self.network.state_dict()
        scores = {"epoch": engine.state.epoch, **(self.scores(engine) if self.validated else {"validation": "none"})}
        if state.best_metric_epoch == engine.state.epoch or not self.validated:
            best = self.averaged.state_dict()
            if self.half:
                best = {name: value.half() if value.ndim > 1 else value for name, value in best.items()}
            save_weights(best, self.save_dir / "model.pt", {**self.record, "scores": scores})
        content = {
            "network": weights,
            **{name: target.state_dict() for name, target in self.states.items()},
            "epoch": engine.state.epoch,
            "best_metric": float(state.best_metric),
            "best_metric_epoch": state.best_metric_epoch,
            HELD: json.dumps({**self.record, "scores": scores}),
        }
        save_whole(content, self.last)

    def tell(self, engine: Engine) -> None:
        """Say where the weights are, at the end."""
        state: Any = self.evaluator.state
        epoch = state.best_metric_epoch if self.validated else engine.state.epoch
        logger.info("Weights: %s, of epoch %d.", self.save_dir / "model.pt", epoch)

    def scores(self, engine: Engine) -> dict[str, float]:
        """The numbers of this epoch's validation by name; none if there was no validation."""
        state: Any = self.evaluator.state
        if getattr(state, "epoch", engine.state.epoch) != engine.state.epoch:
            return {}
        metrics = getattr(state, "metrics", {})
        numbers = {name: np.asarray(value) for name, value in metrics.items()}
        return {name: round(float(value.item()), 6) for name, value in numbers.items() if value.size == 1}
