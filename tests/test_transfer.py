"""Weights load completely or not at all, and never as code."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from common.networks.drsegunet import DRSegUNet
from common.networks.unet import UNet
from common.transfer import load_weights, start_from


def test_weights_load_as_they_were_saved(tmp_path: Path) -> None:
    torch.manual_seed(0)
    saved, loaded = DRSegUNet(), DRSegUNet()
    torch.save(saved.state_dict(), tmp_path / "model.pt")
    torch.save({"network": saved.state_dict(), "epoch": 3}, tmp_path / "last.pt")
    for name in ("model.pt", "last.pt"):
        load_weights(loaded, tmp_path / name)
        assert all(
            torch.equal(a, b) for a, b in zip(saved.state_dict().values(), loaded.state_dict().values(), strict=True)
        )


def test_the_message_on_missing_weights_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"model\.pt\. Train the bundle first, or give a file with --weights\."):
        load_weights(DRSegUNet(), tmp_path / "model.pt")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "train.json").touch()
    for path, option in ((tmp_path / "models" / "model.pt", "--pretrained"), (tmp_path / "model.pt", "--trained")):
        message = rf"first \(python -m monai.bundle run training --config_file .*train\.json\), or give .* {option}\."
        with pytest.raises(FileNotFoundError, match=message):
            load_weights(DRSegUNet(), path, option)


def test_weights_of_another_network_change_nothing(tmp_path: Path) -> None:
    torch.save(UNet().state_dict(), tmp_path / "unet.pt")
    network = DRSegUNet()
    before = [value.clone() for value in network.state_dict().values()]
    with pytest.raises(
        ValueError, match=r"unet\.pt: every weight must fit DRSegUNet; \d+ of 208 do: .*such as .*--network"
    ):
        load_weights(network, tmp_path / "unet.pt")
    assert all(torch.equal(a, b) for a, b in zip(before, network.state_dict().values(), strict=True))


def test_weights_of_another_number_of_classes_are_refused(tmp_path: Path) -> None:
    torch.save(DRSegUNet(out_channels=3).state_dict(), tmp_path / "three.pt")
    with pytest.raises(
        ValueError, match=r"206 of 208 do: 2 of another shape \(such as head\.weight \(3, 32, 1, 1\) instead"
    ):
        load_weights(DRSegUNet(out_channels=4), tmp_path / "three.pt")


def test_a_training_starts_from_what_fits_and_the_log_names_what_does_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saved, network = DRSegUNet(out_channels=3), DRSegUNet(out_channels=4)
    torch.save(saved.state_dict(), tmp_path / "model.pt")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with caplog.at_level("INFO"):
        start_from(network, tmp_path / "model.pt")
    assert "206 of 208 tensors" in caplog.text
    assert "Left at random values: head.weight ((3, 32, 1, 1) instead of (4, 32, 1, 1)), head.bias" in caplog.text
    for name, value in network.state_dict().items():
        expected = before[name] if name.startswith("head.") else saved.state_dict()[name]
        assert torch.equal(value, expected), name
    with pytest.raises(
        ValueError, match=r"model\.pt: no weight fits Conv2d, which starts with weight; those of the file"
    ):
        start_from(torch.nn.Conv2d(1, 1, 1), tmp_path / "model.pt")
    with pytest.raises(FileNotFoundError, match=r"No weights at none\.pt\. Give a model\.pt with --pretrained"):
        start_from(network, "none.pt")
    assert start_from(network, "none") is network


def test_truncated_checkpoints_are_refused(tmp_path: Path) -> None:
    torch.save(UNet().state_dict(), tmp_path / "model.pt")
    (tmp_path / "model.pt").write_bytes((tmp_path / "model.pt").read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"model\.pt: a checkpoint must hold tensors only; it is truncated"):
        load_weights(UNet(), tmp_path / "model.pt")


class Payload:
    """Pickles as a call that leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.trace),)


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    torch.save({"network": Payload(tmp_path / "ran")}, tmp_path / "model.pt")
    with pytest.raises(ValueError, match="pickled code, which is never run"):
        load_weights(UNet(), tmp_path / "model.pt")
    assert not (tmp_path / "ran").exists()
