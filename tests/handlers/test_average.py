"""The average of the weights over the steps of a training."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from common.handlers.average import AverageWeights
from common.handlers.checkpoint import Checkpoint


def train(network: nn.Linear, values: list[float], average: AverageWeights) -> None:
    """Set the network's weight to one value after another, a step for each."""

    def step(_: Engine, value: float) -> None:
        nn.init.constant_(network.weight, value)

    engine = Engine(step)
    average.attach(engine)
    engine.run(values)


def test_it_is_the_weighted_sum_of_the_steps() -> None:
    network = nn.Linear(1, 1, bias=False)
    average = AverageWeights(network, decay=0.9)
    nn.init.constant_(network.weight, 1.0)  # loaded after the handler was made, as --pretrained is
    train(network, [3.0, 0.0], average)
    # The average keeps 1 / 10 in the first step, 2 / 11 in the second
    first = 1.0 / 10 + 3.0 * 9 / 10
    assert average.ema_model.weight.item() == pytest.approx(first * 2 / 11)
    train(network, [7.0] * 100 + [5.0], average)  # from step 81 on it keeps 0.9
    assert average.ema_model.weight.item() == pytest.approx(0.9 * 7 + 0.1 * 5, abs=1e-4)
    assert network.weight.requires_grad and not average.ema_model.weight.requires_grad


def test_the_average_is_what_is_saved_in_half_precision_where_that_is_safe(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    average = AverageWeights(network, decay=0.9)
    nn.init.constant_(average.ema_model[0].weight, 1 / 3)
    average.ema_model[1].running_var.fill_(1e-9)  # 0 in half precision
    evaluator: Any = SimpleNamespace(state=SimpleNamespace(best_metric=0.5, best_metric_epoch=1))
    handler = Checkpoint(
        tmp_path,
        *(network, torch.optim.Adam(network.parameters()), evaluator),
        others={"average": average},
        averaged=average.ema_model,
        half=True,
    )
    handler.save(SimpleNamespace(state=SimpleNamespace(epoch=1)))  # type: ignore[arg-type]
    saved = torch.load(tmp_path / "model.pt", weights_only=True)
    assert saved["0.weight"].dtype == torch.float16 and saved["0.weight"].float().mean() == pytest.approx(1 / 3, 1e-3)
    assert saved["0.bias"].dtype == torch.float32
    assert saved["1.running_var"].tolist() == pytest.approx([1e-9] * 2)
    last = torch.load(tmp_path / "last.pt", weights_only=True)
    assert torch.equal(last["network"]["0.weight"], network[0].weight)
    assert torch.equal(last["average"]["0.weight"], average.ema_model[0].weight)
