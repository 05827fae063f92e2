"""Scores are those of an independent reference; epochs repeat; checkpoints keep the best."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.handlers import ConfusionMatrix, MeanDice, MeanIoUHandler, from_engine
from monai.transforms import Activationsd, AsDiscreted, Compose, RandFlipd
from sklearn.metrics import f1_score, jaccard_score
from weak_gan_parts import Slices

from common.handlers.checkpoint import Checkpoint
from common.handlers.class_scores import ClassScores
from common.handlers.epoch_seed import EpochSeed
from common.handlers.metrics_table import MetricsTable
from common.networks.weak_gan import Critic, LesionSeparator
from common.weak_gan.losses import CriticLoss, SeparationLoss
from common.weak_gan.trainer import SeparationTrainer

CLASSES = ["ground-glass", "consolidation", "lung", "background"]


class Told(torch.nn.Module):
    """Predicts the class that the image's value says."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 1, H, W) of class indices to logits (B, 4, H, W)."""
        return 20.0 * torch.nn.functional.one_hot(x[:, 0].long(), 4).movedim(-1, 1).float()


def scores(told: np.ndarray, truth: np.ndarray, folder: Path) -> dict[str, dict[str, str]]:
    """Evaluate as evaluate.yaml does; class maps (N, H, W)."""
    data = [
        {"image": torch.tensor(a)[None].float(), "label": torch.tensor(b)[None], "case": str(index), "slice": index}
        for index, (a, b) in enumerate(zip(told, truth, strict=True))
    ]
    pair = from_engine(["pred", "label"])
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(data), batch_size=2),
        network=Told(),
        postprocessing=Compose(
            [
                Activationsd("pred", softmax=True),
                AsDiscreted(["pred", "label"], threshold=[0.5, None], to_onehot=[None, 4]),
            ]
        ),
        key_val_metric={"val_mean_dice": MeanDice(include_background=True, output_transform=pair)},
        additional_metrics={
            "val_mean_iou": MeanIoUHandler(include_background=True, output_transform=pair),
            "val_f1": ConfusionMatrix(metric_name="f1 score", output_transform=pair),
        },
        val_handlers=[ClassScores(folder, CLASSES)],
    )
    evaluator.run()
    with (folder / "scores.csv").open() as file:
        return {row["class"]: row for row in csv.DictReader(file)}


def test_pooled_f1_agrees_with_scikit_learn(tmp_path: Path, rng: np.random.Generator) -> None:
    told, truth = rng.integers(0, 4, (2, 5, 16, 16))
    found = scores(told, truth, tmp_path)
    reference = f1_score(truth.ravel(), told.ravel(), average=None)
    assert [float(found[name]["f1"]) for name in CLASSES] == pytest.approx(reference, abs=1e-4)
    assert float(found["mean"]["f1"]) == pytest.approx(reference.mean(), abs=1e-4)


def test_dice_and_iou_are_means_over_slices(tmp_path: Path, rng: np.random.Generator) -> None:
    told, truth = rng.integers(0, 4, (2, 5, 16, 16))
    found = scores(told, truth, tmp_path)
    for score, reference in (("dice", f1_score), ("iou", jaccard_score)):
        values = [reference(b.ravel(), a.ravel(), average=None) for a, b in zip(told, truth, strict=True)]
        expected = np.mean(values, axis=0)
        assert [float(found[name][score]) for name in CLASSES] == pytest.approx(expected, abs=1e-4)


def test_slices_without_a_class_count_in_f1_but_not_in_dice(tmp_path: Path) -> None:
    truth = np.full((2, 2, 2), 3)
    told = truth.copy()
    truth[0, 0] = told[0, 0] = 0  # two pixels of ground-glass, found
    told[1, 0] = 0  # two pixels of ground-glass, where there are none
    found = scores(told, truth, tmp_path)
    assert found["ground-glass"] == {
        "class": "ground-glass",
        "dice": "1.0000",
        "iou": "1.0000",
        "f1": "0.6667",
        "slices": "1",
    }
    assert (found["consolidation"]["dice"], found["consolidation"]["f1"]) == ("", ""), "no slice's truth holds it"
    # Ground-glass 2 * 2 / (4 + 2), background 2 * 4 / (4 + 6); consolidation and lung have no score.
    assert float(found["mean"]["f1"]) == pytest.approx((4 / 6 + 8 / 10) / 2, abs=1e-4)


def numbers(seed: int, epochs: list[int]) -> list[list[float]]:
    """Random flips and numbers that a training sees in each of the epochs."""
    data = Dataset([{"image": torch.arange(4.0).view(1, 2, 2)}] * 3, RandFlipd("image", prob=0.5))
    seen: list[list[float]] = []
    engine = Engine(lambda _, batch: None)
    engine.data_loader = DataLoader(data, batch_size=1, shuffle=True)  # type: ignore[attr-defined]
    EpochSeed(seed).attach(engine)
    for epoch in epochs:
        engine.state.epoch = epoch
        engine.fire_event(Events.EPOCH_STARTED)
        flips = [float(batch["image"].flatten()[0]) for batch in engine.data_loader]  # type: ignore[attr-defined]
        seen.append([*flips, float(torch.rand(())), float(np.random.rand())])
    return seen


def test_an_epoch_repeats_whatever_came_before() -> None:
    whole, resumed = numbers(0, [1, 2, 3, 4]), numbers(0, [3, 4])
    assert whole[2:] == resumed
    assert whole[0] != whole[1] and numbers(1, [1]) != numbers(0, [1])


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


def test_a_write_that_is_cut_off_leaves_the_checkpoint_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint(tmp_path, [0.2])

    def cut_off(_: Any, path: Any) -> None:
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", cut_off)
    with pytest.raises(KeyboardInterrupt):
        checkpoint(tmp_path, [0.2])
    monkeypatch.undo()
    assert torch.load(tmp_path / "last.pt", weights_only=True)["epoch"] == 1


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
    with (tmp_path / "metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3", "4"]


def separation(folder: Path, epochs: int, seed: int, resume: bool = False, critic: bool = True) -> SeparationTrainer:
    """Train a separator whose first weights come from ``seed``, with the handlers that a training has."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(seed)
    separator, judge = LesionSeparator(filters=2), Critic(filters=2)
    optimizers = [torch.optim.Adam(network.parameters(), 2e-4) for network in (separator, judge)]
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
        critic=judge if critic else None,
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


def test_a_resumed_training_with_critic_ends_with_the_weights_of_one_in_one_go(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    expected = separation(whole, epochs=3, seed=1)
    separation(cut, epochs=1, seed=1)
    resumed = separation(cut, epochs=3, seed=2, resume=True)
    for name in ("separator", "critic", "optimizer", "critic_optimizer"):
        states = [getattr(engine, name).state_dict() for engine in (expected, resumed)]
        torch.testing.assert_close(*states, rtol=0, atol=0, msg=name)
    tables = [[{**row, "seconds": ""} for row in metrics(folder)] for folder in (whole, cut)]
    assert tables[0] == tables[1] and len(tables[0]) == 3


def test_a_checkpoint_of_a_training_without_critic_is_not_resumed_with_one(tmp_path: Path) -> None:
    separation(tmp_path, epochs=1, seed=1, critic=False)
    rule = (
        r"last.pt must hold the state of optimizer, critic, critic_optimizer, got optimizer\. Resume with the settings"
    )
    with pytest.raises(ValueError, match=rule):
        separation(tmp_path, epochs=2, seed=1, resume=True)


def metrics(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_every_term_of_the_losses_has_a_column_of_its_means(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    evaluator: Any = SimpleNamespace(state=SimpleNamespace(epoch=1, metrics={"val_area": 0.25}))
    optimizer = torch.optim.Adam(torch.nn.Linear(1, 1).parameters(), lr=1e-3)
    table = MetricsTable(tmp_path, evaluator, [], optimizer, metric="val_area", score="area")
    engine: Any = SimpleNamespace(state=SimpleNamespace(epoch=1))
    table.begin(engine)
    for engine.state.output in ([{"critic": -2.0, "fidelity": 3.0, "loss": 3.0}], [{"fidelity": 5.0, "loss": 5.0}]):
        table.remember(engine)
    with caplog.at_level("INFO"):
        table.write(engine)
    (row,) = metrics(tmp_path)
    assert list(row) == ["epoch", "loss", "critic", "fidelity", "learning_rate", "seconds", "val_area"]
    assert [float(row[name]) for name in ("loss", "critic", "fidelity", "val_area")] == [4.0, -2.0, 4.0, 0.25]
    assert "Epoch 1: loss 4.000000, area 0.2500 (" in caplog.text
