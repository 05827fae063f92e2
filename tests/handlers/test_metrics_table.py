"""The table of a training has one row per epoch and a column for each term of the losses."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from csv_rows import rows
from ignite.engine import Engine, Events

from common.handlers.metrics_table import MetricsTable

CLASSES = ["ground-glass", "consolidation", "lung", "background"]


def test_a_resumed_table_drops_rows_of_epochs_that_run_again(tmp_path: Path) -> None:
    network = torch.nn.Linear(1, 1)
    state = SimpleNamespace(epoch=0, metric_details={}, metrics={"val_mean_dice": 0.5})
    evaluator: Any = SimpleNamespace(state=state)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for epochs in ([1, 2, 3], [3, 4]):  # killed after the row of epoch 3, before its checkpoint
        table = MetricsTable(tmp_path, evaluator, CLASSES, optimizer)
        for epoch in epochs:
            engine: Any = SimpleNamespace(state=SimpleNamespace(epoch=epoch))
            table.begin(engine)
            table.losses = {"loss": [1.0 / epoch]}
            table.write(engine)
    assert [row["epoch"] for row in rows(tmp_path / "metrics.csv")] == ["1", "2", "3", "4"]


@pytest.mark.parametrize(("stop", "row"), [(4, ["4", "2", "1"]), (9, ["6", "2", "0"])])
def test_the_length_of_a_training_is_counted_from_its_first_epoch(tmp_path: Path, stop: int, row: list[str]) -> None:
    evaluator: Any = SimpleNamespace(state=SimpleNamespace(epoch=-1, best_metric_epoch=2))
    optimizer = torch.optim.Adam(torch.nn.Linear(1, 1).parameters(), lr=1e-3)
    for resumed_after in (0, 3, stop):  # the last one has nothing left to do
        trainer = Engine(lambda *_: [{"loss": 1.0}])

        def end(engine: Engine, limit: int = stop) -> None:
            if engine.state.epoch >= limit:
                engine.terminate()

        def start(engine: Engine, epoch: int = min(resumed_after, 6)) -> None:
            engine.state.epoch = epoch

        trainer.add_event_handler(Events.STARTED, start)
        trainer.add_event_handler(Events.STARTED | Events.EPOCH_COMPLETED, end)
        MetricsTable(tmp_path, evaluator, [], optimizer, metric="val").attach(trainer)
        trainer.run([0], max_epochs=6)
        (written,) = rows(tmp_path / "training.csv")
        assert written == dict(zip(("row", "epochs", "best_epoch", "stopped_early"), ["training", *row], strict=True))


def test_every_loss_term_has_a_column_with_its_mean(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    evaluator: Any = SimpleNamespace(state=SimpleNamespace(epoch=1, metrics={"val_area": 0.25}))
    optimizer = torch.optim.Adam(torch.nn.Linear(1, 1).parameters(), lr=1e-3)
    table = MetricsTable(tmp_path, evaluator, [], optimizer, metric="val_area", score="area")
    engine: Any = SimpleNamespace(state=SimpleNamespace(epoch=1))
    table.begin(engine)
    for engine.state.output in ([{"critic": -2.0, "fidelity": 3.0, "loss": 3.0}], [{"fidelity": 5.0, "loss": 5.0}]):
        table.remember(engine)
    with caplog.at_level("INFO"):
        table.write(engine)
    (row,) = rows(tmp_path / "metrics.csv")
    assert list(row) == ["epoch", "loss", "critic", "fidelity", "learning_rate", "seconds", "val_area"]
    assert [float(row[name]) for name in ("loss", "critic", "fidelity", "val_area")] == [4.0, -2.0, 4.0, 0.25]
    assert "Epoch 1: loss 4.000000, area 0.2500 (" in caplog.text
