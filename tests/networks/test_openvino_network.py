"""OpenVINO computes what torch computes; a network is converted once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from common.inferers import FastCall
from common.networks import openvino_network
from common.networks.by_name import segmentation_network

openvino = pytest.importorskip("openvino", reason="openvino is not installed: pip install 'covid-lung-bundles[fast]'")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, so that each test begins with nothing converted."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def small(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 2, 1)).eval()


@pytest.mark.parametrize("name", ["drsegunet", "efficientnet_lite0"])
def test_logits_are_those_of_torch(name: str) -> None:
    torch.manual_seed(0)
    network = segmentation_network(name, in_channels=1, out_channels=3, decoder="transposed", dropout=0.0).eval()
    slices = torch.randn(3, 1, 64, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = FastCall(mirror=True, temperature=2.0)(network, slices)
        found = FastCall(mirror=True, temperature=2.0, runtime="openvino")(network, slices)
    assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()))


def test_a_network_is_converted_once_and_others_are_not_taken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    x, converted = torch.ones(1, 1, 32, 32), []
    convert = openvino.convert_model
    monkeypatch.setattr(openvino, "convert_model", lambda *args, **more: converted.append(1) or convert(*args, **more))
    with torch.inference_mode():
        first = openvino_network.OpenVinoNetwork(small(0), x)(x)
        again = openvino_network.OpenVinoNetwork(small(0), x)(x)
        other = openvino_network.OpenVinoNetwork(small(1), x)(x)
    assert torch.equal(first, again) and len(converted) == 2
    assert torch.allclose(other, small(1)(x), atol=1e-4) and not torch.allclose(first, other, atol=1e-2)


def test_without_room_for_the_cache_it_works_all_the_same(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    (cache / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache / "file"))
    x = torch.ones(1, 1, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(openvino_network.OpenVinoNetwork(small(), x)(x), small()(x), atol=1e-4)


def test_auto_is_torch_where_openvino_is_not_and_asking_for_it_says_how_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cpu: Any = torch.device("cpu")
    assert openvino_network.uses_openvino("auto", cpu) and not openvino_network.uses_openvino("torch", cpu)
    assert not openvino_network.uses_openvino("auto", torch.device("cuda"))
    with pytest.raises(ValueError, match="is for CPUs"):
        openvino_network.uses_openvino("openvino", torch.device("cuda"))
    monkeypatch.setattr(openvino_network, "is_installed", lambda: False)
    assert not openvino_network.uses_openvino("auto", cpu)
    with pytest.raises(ValueError, match=r"pip install 'covid-lung-bundles\[fast\]'"):
        FastCall(runtime="openvino")
    with pytest.raises(ValueError, match="There is no runtime 'onnx'"):
        FastCall(runtime="onnx")


def test_what_openvino_does_not_use_is_refused() -> None:
    with pytest.raises(ValueError, match="--compile is of torch"):
        FastCall(compile=True, runtime="openvino")


def test_a_damaged_file_of_the_cache_is_converted_again(cache: Path) -> None:
    x = torch.ones(1, 1, 32, 32)
    with torch.inference_mode():
        expected = openvino_network.OpenVinoNetwork(small(), x)(x)
        (file,) = cache.rglob("*.xml")
        file.write_bytes(file.read_bytes()[:100])
        assert torch.equal(openvino_network.OpenVinoNetwork(small(), x)(x), expected)
