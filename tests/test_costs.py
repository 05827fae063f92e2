"""Costs of a network worked by hand, and measured without changing it."""

from __future__ import annotations

import copy
import csv
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from common.costs import gflop, measure_costs, memory_gib

SIZE = (32, 32)
COPIES = 2**14  # of 4 x 32 x 32 values of 4 bytes: 256 MiB


class Wide(nn.Module):
    """A 3x3 convolution from 1 to 4 channels, whose output passes through a tensor of 256 MiB a slice."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 1, H, W) to (B, 4, H, W)."""
        return self.convolution(x).repeat(COPIES, 1, 1, 1).unflatten(0, (COPIES, -1)).mean(0)


class Choosy(nn.Module):
    """Two 1x1 convolutions, of which one runs, by a value that shapes do not tell."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.four = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 1, H, W) to (B, 1 or 4, H, W)."""
        return self.four(x) if x.max().item() > 0.5 else self.one(x)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, float], Path]:
    folder = tmp_path_factory.mktemp("costs")
    return measure_costs(Wide(), SIZE, folder, batch_size=2, rounds=3), folder / "costs.csv"


def test_costs_of_a_3x3_convolution_agree_with_values_worked_by_hand(measured: tuple[dict[str, float], Path]) -> None:
    costs, _ = measured
    assert costs["parameters_million"] == pytest.approx((3 * 3 * 4 + 4) / 1e6)
    assert costs["gflop"] == pytest.approx(2 * 9 * 4 * 32 * 32 / 1e9)
    assert 0 < costs["slices_per_second"] < 100  # a tensor of 256 MiB takes more than 10 ms
    assert costs["threads"] == torch.get_num_threads()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system has no /proc")
def test_memory_is_the_largest_intermediate_and_grows_with_the_training_batch(
    measured: tuple[dict[str, float], Path],
) -> None:
    costs, _ = measured
    assert costs["memory_gib"] == pytest.approx(0.25, rel=0.2)
    assert 1.6 * 0.25 < costs["training_memory_gib"] < 5 * 0.25  # two slices, and maybe their gradient


def test_the_table_has_one_row_of_what_is_returned(measured: tuple[dict[str, float], Path]) -> None:
    costs, path = measured
    with path.open() as file:
        (row,) = csv.DictReader(file)
    assert ",".join(row) == ("row,parameters_million,gflop,slices_per_second,memory_gib,training_memory_gib,threads")
    assert row.pop("row") == "network"
    assert {name: float(value) for name, value in row.items()} == pytest.approx(costs, rel=1e-5)


def test_the_network_does_not_change_and_values_that_cannot_be_measured_are_blank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.costs.PROCESS", tmp_path / "proc")  # as on macOS
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)).train()
    network[1].eval()
    network(torch.ones(2, 3, 8, 8)).sum().backward()
    before, strides = copy.deepcopy(network.state_dict()), [weight.stride() for weight in network.parameters()]
    gradients = [weight.grad.clone() for weight in network.parameters()]
    random = torch.get_rng_state()
    costs = measure_costs(network, (8, 8), tmp_path, in_channels=3, amp=True)
    assert costs["parameters_million"] == pytest.approx(130 * 1e-6)  # 112 + 8 + 10; two statistics do not count
    assert (tmp_path / "costs.csv").read_text().splitlines()[1].split(",")[4:6] == ["", ""]
    monkeypatch.undo()
    monkeypatch.setattr("common.costs._peaks", None)
    assert math.isnan(measure_costs(network, (8, 8), tmp_path, in_channels=3, memory=False)["memory_gib"])
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)
    assert [weight.stride() for weight in network.parameters()] == strides, "channels-last where it was not"
    torch.testing.assert_close([weight.grad for weight in network.parameters()], gradients, rtol=0, atol=0)
    assert [part.training for part in network] == [True, False, True] and network.training
    assert torch.equal(torch.get_rng_state(), random)


def test_a_network_that_branches_on_values_is_counted() -> None:
    assert gflop(Choosy(), (1, 1, 8, 8)) == pytest.approx(2 * 4 * 64 / 1e9)


@pytest.mark.gpu
def test_memory_on_a_gpu_is_the_largest_intermediate() -> None:
    network = Wide().cuda()
    memory_gib(network, (1, 1, *SIZE))  # the first call allocates workspaces that stay
    assert memory_gib(network, (1, 1, *SIZE)) == pytest.approx(0.25, rel=0.05)


def test_impossible_sizes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"two numbers.*got \[32\], 1, 1, 5"):
        measure_costs(Wide(), (32,), tmp_path)
    with pytest.raises(ValueError, match=r"from 1, got \[32, 32\], 1, 0, 5"):
        measure_costs(Wide(), SIZE, tmp_path, batch_size=0)
