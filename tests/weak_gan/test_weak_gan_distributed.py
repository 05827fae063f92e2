"""The training engine of the weak GAN on two devices, simulated by two processes on the CPU."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from datetime import timedelta
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from torch import distributed, multiprocessing
from torch.utils.data import DataLoader

from common.networks.weak_gan import Critic, LesionSeparator
from common.weak_gan.losses import CriticLoss, SeparationLoss
from common.weak_gan.trainer import SeparationTrainer

DEVICES = 2
PATIENCE = 120  # seconds until both are taken to wait for each other
MIXED = (0, 1)  # labels of a batch
# labels of three batches on each of the two
LABELS = {
    "different slices": [[MIXED, MIXED, MIXED], [MIXED, MIXED, MIXED]],
    "without penalty": [[MIXED, MIXED, MIXED], [MIXED, MIXED, MIXED]],
    "no normal slice on one": [[MIXED, (1, 1), MIXED], [MIXED, MIXED, MIXED]],
    "no lesions on one": [[MIXED, MIXED, MIXED], [MIXED, (0, 0), MIXED]],
    "not a number on one": [[MIXED, MIXED, MIXED], [MIXED, MIXED, MIXED]],
}
Weights = dict[str, torch.Tensor]


def slices(name: str, device: int) -> list[dict[str, Any]]:
    """Those of one device, in order: noise that differs from device to device."""
    generator = torch.Generator().manual_seed(device)
    labels = [label for batch in LABELS[name][device] for label in batch]
    items = [{"image": torch.rand(1, 32, 32, generator=generator) * 2 - 1, "label": label} for label in labels]
    if name == "not a number on one" and device == 1:
        items[2]["image"][0, 0, 0] = float("nan")  # in the second batch
    return items


def trainer(name: str, items: Sequence[dict[str, Any]], batch_size: int = 2) -> SeparationTrainer:
    torch.manual_seed(0)
    separator, critic = LesionSeparator(filters=2), Critic(filters=2)
    # SGD where steps are compared: Adam's first ones blow up rounding errors of small gradients
    optimizer: Any = torch.optim.SGD if name == "without penalty" else torch.optim.Adam
    return SeparationTrainer(
        device="cpu",
        max_epochs=1,
        train_data_loader=DataLoader(items, batch_size=batch_size),  # type: ignore[arg-type]
        separator=separator,
        optimizer=optimizer(separator.parameters(), 1e-3),
        loss=SeparationLoss(adversarial=1.0),
        critic=critic,
        critic_optimizer=optimizer(critic.parameters(), 1e-3),
        critic_loss=CriticLoss(penalty=0.0 if name == "without penalty" else 10.0),
        made_from="lesions" if name == "no lesions on one" else "all",
    )


def record(engine: SeparationTrainer) -> dict[str, Any]:
    """Train: weights before and after each batch, the terms of each, and the error that stopped it."""
    networks: dict[str, Any] = {"separator": engine.separator, "critic": engine.critic}

    def weights() -> dict[str, Weights]:
        return {name: copy.deepcopy(network.state_dict()) for name, network in networks.items()}

    kept: dict[str, Any] = {"weights": [weights()], "terms": [], "error": ""}

    def keep(engine: Any) -> None:
        kept["weights"].append(weights())
        kept["terms"].append(set(engine.state.output[0]))

    engine.add_event_handler(Events.ITERATION_COMPLETED, keep)
    try:
        engine.run()
    except ValueError as error:
        kept["error"] = str(error)
    return kept


def one_device(device: int, folder: str) -> None:
    """All runs of one of both processes."""
    torch.set_num_threads(1)
    place, patience = f"file://{folder}/rendezvous", timedelta(seconds=PATIENCE / 2)
    distributed.init_process_group("gloo", init_method=place, rank=device, world_size=DEVICES, timeout=patience)
    runs = {name: record(trainer(name, slices(name, device))) for name in LABELS}
    torch.save(runs, Path(folder) / f"{device}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def devices(tmp_path_factory: pytest.TempPathFactory, prepared_processes: None) -> list[dict[str, Any]]:
    """What both have recorded."""
    folder = tmp_path_factory.mktemp("devices")
    processes = multiprocessing.start_processes(
        one_device, (str(folder),), nprocs=DEVICES, join=False, start_method="forkserver"
    )
    limit = time.monotonic() + PATIENCE
    try:
        while not processes.join(timeout=1):
            assert time.monotonic() < limit, "the devices wait for each other"
    finally:
        for process in processes.processes:
            process.kill()
    return [torch.load(folder / f"{device}.pt", weights_only=True) for device in range(DEVICES)]


def same(one: Weights, other: Weights) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("name", LABELS)
@pytest.mark.parametrize("network", ["separator", "critic"])
def test_devices_hold_the_same_weights_bit_by_bit_although_their_slices_differ(
    network: str, name: str, devices: list[dict[str, Any]]
) -> None:
    one, other = ([weights[network] for weights in runs[name]["weights"]] for runs in devices)
    assert len(one) == len(other) and all(map(same, one, other))
    assert not same(one[0], one[1]), "it learns"


def test_a_step_on_two_devices_equals_one_on_the_slices_of_both(devices: list[dict[str, Any]]) -> None:
    """For means over slices, with as many normal ones on each, and without penalty, whose points are random."""
    name = "without penalty"
    halves = [slices(name, device) for device in range(DEVICES)]
    both = chain.from_iterable(half[start : start + 2] for start in range(0, len(halves[0]), 2) for half in halves)
    whole = record(trainer(name, list(both), batch_size=2 * DEVICES))["weights"][-1]
    half = record(trainer(name, halves[0]))["weights"][-1]
    for network in ("separator", "critic"):
        found = devices[0][name]["weights"][-1][network]
        error, missed = (
            max(float((found[key] - other[network][key]).abs().max()) for key in found) for other in (whole, half)
        )
        assert error < 1e-3 * missed, network  # beside what leaving the other device out would change


def test_no_critic_is_trained_if_one_device_has_no_normal_slice(devices: list[dict[str, Any]]) -> None:
    for runs in devices:
        run = runs["no normal slice on one"]
        separators, critics = ([weights[key] for weights in run["weights"]] for key in ("separator", "critic"))
        assert [same(*pair) for pair in pairwise(critics)] == [False, True, False]
        assert [same(*pair) for pair in pairwise(separators)] == [False, False, False]
        assert ["critic" in terms for terms in run["terms"]] == [True, False, True]


def test_no_device_takes_a_step_if_one_has_no_lesions_to_remove(devices: list[dict[str, Any]]) -> None:
    for runs in devices:
        run = runs["no lesions on one"]
        for network in ("separator", "critic"):
            weights = [each[network] for each in run["weights"]]
            assert [same(*pair) for pair in pairwise(weights)] == [False, True, False]
        assert run["terms"][1] == {"loss"}


def test_a_loss_that_is_not_finite_on_one_device_stops_all_before_a_step(devices: list[dict[str, Any]]) -> None:
    fine, broken = (runs["not a number on one"] for runs in devices)
    assert "must be finite, got critic nan in epoch 1, iteration 2." in broken["error"]
    assert "must be finite, got NaN or infinity on another device in epoch 1, iteration 2." in fine["error"]
    assert len(fine["weights"]) == len(broken["weights"]) == 2  # before and after the first batch
