"""Checkpoints keep the best epoch and the last one; a resumed training ends with the same weights."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from csv_rows import rows
from ignite.engine import Engine, Events
from monai.data import DataLoader
from weak_gan_parts import Slices

from common.handlers.checkpoint import Checkpoint
from common.handlers.epoch_seed import EpochSeed
from common.handlers.metrics_table import MetricsTable
from common.networks.weak_gan import Critic, LesionSeparator
from common.weak_gan.losses import CriticLoss, SeparationLoss
from common.weak_gan.trainer import SeparationTrainer


def checkpoint(folder: Path, scores_by_epoch: list[float]) -> None:
    """Train a network of one number for as many epochs, with these validation scores."""
    network = torch.nn.Linear(1, 1, bias=False)
    evaluator: Any = SimpleNamespace(state=SimpleNamespace(best_metric=-1, best_metric_epoch=-1))
    handler = Checkpoint(folder, network, torch.optim.Adam(network.parameters()), evaluator)
    for epoch, score in enumerate(scores_by_epoch, 1):
        torch.nn.init.constant_(network.weight, epoch)
        if score > evaluator.state.best_metric:
            evaluator.state.best_metric, evaluator.state.best_metric_epoch = score, epoch
        handler.save(SimpleNamespace(state=SimpleNamespace(epoch=epoch)))  # type: ignore[arg-type]


def test_the_best_epoch_is_kept_beside_the_last(tmp_path: Path) -> None:
    checkpoint(tmp_path, [0.2, 0.7, 0.5])
    assert torch.load(tmp_path / "model.pt", weights_only=True)["weight"].item() == 2
    last = torch.load(tmp_path / "last.pt", weights_only=True)
    assert last["network"]["weight"].item() == 3
    assert (last["epoch"], last["best_metric"], last["best_metric_epoch"]) == (3, 0.7, 2)


def test_an_interrupted_write_keeps_the_previous_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint(tmp_path, [0.2])

    def cut_off(_: Any, path: Any) -> None:
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", cut_off)
    with pytest.raises(KeyboardInterrupt):
        checkpoint(tmp_path, [0.2])
    monkeypatch.undo()
    assert torch.load(tmp_path / "last.pt", weights_only=True)["epoch"] == 1


def separation(folder: Path, epochs: int, seed: int, resume: bool = False, critic: bool = True) -> SeparationTrainer:
    """Train a separator whose first weights come from ``seed``, with the handlers that a training has."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(seed)
    separator, critic_network = LesionSeparator(filters=2), Critic(filters=2)
    optimizers = [torch.optim.Adam(network.parameters(), 2e-4) for network in (separator, critic_network)]
    evaluator: Any = Engine(lambda *_: None)
    evaluator.state.best_metric = evaluator.state.best_metric_epoch = -1

    def validate(engine: Engine) -> None:
        evaluator.state.epoch, evaluator.state.metrics = engine.state.epoch, {"val_area": engine.state.epoch / 10}

    engine = SeparationTrainer(
        device="cpu",
        max_epochs=epochs,
        train_data_loader=DataLoader(Slices(), batch_size=4, shuffle=True),
        separator=separator,
        optimizer=optimizers[0],
        loss=SeparationLoss(),
        critic=critic_network if critic else None,
        critic_optimizer=optimizers[1] if critic else None,
        critic_loss=CriticLoss(),
    )
    EpochSeed(0).attach(engine)
    engine.add_event_handler(Events.EPOCH_COMPLETED, validate)
    MetricsTable(folder, evaluator, [], optimizers[0], metric="val_area", score="area").attach(engine)
    others = {"critic": engine.critic, "critic_optimizer": engine.critic_optimizer}
    Checkpoint(folder, separator, optimizers[0], evaluator, resume, others).attach(engine)
    engine.run()
    return engine


def test_a_resumed_training_with_critic_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    expected = separation(whole, epochs=3, seed=1)
    separation(cut, epochs=1, seed=1)
    resumed = separation(cut, epochs=3, seed=2, resume=True)
    for name in ("separator", "critic", "optimizer", "critic_optimizer"):
        states = [getattr(engine, name).state_dict() for engine in (expected, resumed)]
        torch.testing.assert_close(*states, rtol=0, atol=0, msg=name)
    tables = [[{**row, "seconds": ""} for row in rows(folder / "metrics.csv")] for folder in (whole, cut)]
    assert tables[0] == tables[1] and len(tables[0]) == 3


def test_a_checkpoint_of_a_training_without_critic_is_not_resumed_with_one(tmp_path: Path) -> None:
    separation(tmp_path, epochs=1, seed=1, critic=False)
    rule = (
        r"last.pt must hold the state of optimizer, critic, critic_optimizer, got optimizer\. Resume with the settings"
    )
    with pytest.raises(ValueError, match=rule):
        separation(tmp_path, epochs=2, seed=1, resume=True)


def test_a_schedule_is_not_resumed_with_another_length(tmp_path: Path) -> None:
    def handler(epochs: int) -> Checkpoint:
        network = torch.nn.Linear(1, 1)
        optimizer = torch.optim.Adam(network.parameters())
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
        evaluator: Any = SimpleNamespace(state=SimpleNamespace(best_metric=1.0, best_metric_epoch=1))
        return Checkpoint(tmp_path, network, optimizer, evaluator, resume=True, others={"scheduler": schedule})

    def engine() -> Any:
        return SimpleNamespace(state=SimpleNamespace(epoch=0, iteration=0, epoch_length=3, max_epochs=9))

    first = handler(5)
    first.save(SimpleNamespace(state=SimpleNamespace(epoch=1)))  # type: ignore[arg-type]
    handler(5).start(engine())
    with pytest.raises(ValueError, match=r"falls over 5 epochs, and the schedule of this run has 9\. Resume"):
        handler(9).start(engine())
