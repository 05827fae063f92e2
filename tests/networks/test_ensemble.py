"""An ensemble averages probabilities, and its output is taken as the logits of one network are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from common.networks.blocks import fold_batch_norm
from common.networks.drsegunet import DRSegUNet
from common.networks.ensemble import Ensemble, members
from common.transfer import load_weights


class Constant(torch.nn.Module):
    """Gives the same logits for any input."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = torch.tensor(logits).view(1, -1, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(x), -1, *x.shape[2:])


@pytest.mark.parametrize(
    ("activation", "logits", "expected"),
    [
        # 0.9 and 0.5: the mean is 0.7, whereas the mean of the logits would give 0.75
        ("sigmoid", [(2.1972246,), (0.0,)], [0.7]),
        # (0.9, 0.1) and (0.5, 0.5)
        ("softmax", [(2.1972246, 0.0), (0.0, 0.0)], [0.7, 0.3]),
        ("sigmoid", [(-100.0,), (-100.0,)], [0.0]),
        ("softmax", [(100.0, -100.0), (100.0, -100.0)], [1.0, 0.0]),
    ],
)
def test_probabilities_are_averaged(activation: str, logits: list[tuple[float, ...]], expected: list[float]) -> None:
    output = Ensemble([Constant(*each) for each in logits], activation)(torch.zeros(2, 1, 3, 4))
    found = output.softmax(1) if activation == "softmax" else output.sigmoid()
    assert found.shape == (2, len(expected), 3, 4)
    torch.testing.assert_close(found[1, :, 2, 3], torch.tensor(expected), atol=1e-6, rtol=0)


def test_each_member_loads_its_own_file_and_folding_batch_norms_changes_nothing(tmp_path: Path) -> None:
    files, networks = [], []
    for seed in (0, 1):
        torch.manual_seed(seed)
        networks.append(DRSegUNet().eval())
        files.append(str(tmp_path / f"{seed}.pt"))
        torch.save(networks[-1].state_dict(), files[-1])
    loaded = load_weights(members(DRSegUNet(), files, "softmax"), files).eval()
    x = torch.rand(1, 1, 32, 32)
    with torch.inference_mode():
        mean = torch.stack([network(x).softmax(1) for network in networks]).mean(0)
        torch.testing.assert_close(loaded(x).softmax(1), mean)
        torch.testing.assert_close(fold_batch_norm(loaded)(x).softmax(1), mean, atol=1e-4, rtol=0)


def test_one_file_needs_no_ensemble_and_a_list_is_not_for_one_network() -> None:
    network = torch.nn.Conv2d(1, 1, 1)
    assert members(network, "a.pt", "sigmoid") is network
    with pytest.raises(ValueError, match=r"--weights must be one file here, got 2: a\.pt, b\.pt"):
        load_weights(network, ["a.pt", "b.pt"])
    with pytest.raises(ValueError, match=r"Unknown activation 'relu'\. Choose"):
        members(network, ["a.pt", "b.pt"], "relu")
