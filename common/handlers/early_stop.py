"""Stop where validation no longer improves."""

from __future__ import annotations

import logging

from ignite.engine import Engine, Events

logger = logging.getLogger(__name__)


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
