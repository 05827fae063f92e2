"""Early stopping."""

from __future__ import annotations

import logging

from ignite.engine import Engine, Events

logger = logging.getLogger(__name__)


class EarlyStop:
    """End training when validation has not improved for a number of epochs.

    It counts from the best epoch, whose number checkpoints hold. A run that was interrupted and resumed therefore ends
    at the same epoch as one that was not; ignite's ``EarlyStopping`` would count from 0 again.

    Args:
        evaluator: the validation engine; its key metric decides which epoch is best.
        patience: epochs without improvement.
    """

    def __init__(self, evaluator: Engine, patience: int) -> None:
        self.evaluator, self.patience = evaluator, patience

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer, after its checkpoint."""
        engine.add_event_handler(Events.STARTED | Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Stop the trainer if the best epoch lies ``patience`` epochs back."""
        best = getattr(self.evaluator.state, "best_metric_epoch", -1)
        if best > 0 and engine.state.epoch - best >= self.patience:
            logger.info("Early stop after epoch %d: epoch %d was the best.", engine.state.epoch, best)
            engine.terminate()
