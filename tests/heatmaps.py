"""An evaluator of given heatmaps, for tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.engines import SupervisedEvaluator
from monai.engines.utils import IterationEvents


def given(engine: Any, batch: Any) -> Any:
    """Take a batch for the output of a network."""
    engine.state.output = batch
    engine.fire_event(IterationEvents.MODEL_COMPLETED)  # which has both decollated
    return engine.state.output


def evaluate(heats: Any, truths: Any, *handlers: Any, **more: torch.Tensor) -> None:
    """Run an evaluator whose output holds these slices (N, X, Y), and ``more`` of them."""
    data = [
        {
            "image": torch.as_tensor(np.asarray(heat, np.float32))[None] * 2 - 1,
            "pred": torch.as_tensor(np.asarray(heat, np.float32))[None],
            **({} if truths is None else {"truth": torch.as_tensor(np.asarray(truths[index]).astype(np.uint8))[None]}),
            **{key: value[index] for key, value in more.items()},
            "case": f"case{index // 2}",
            "slice": index,
        }
        for index, heat in enumerate(heats)
    ]
    SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=torch.utils.data.DataLoader(data, batch_size=2),
        network=torch.nn.Identity(),
        iteration_update=given,
        val_handlers=list(handlers),
    ).run()
