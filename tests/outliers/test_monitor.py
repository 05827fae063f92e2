"""Features come from the pass that segments, whatever computes it, and a verdict from the features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from common.inferers import FastCall, MaskInferer
from common.networks.blocks import fold_batch_norm
from common.networks.by_name import segmentation_network
from common.networks.drsegunet import DRSegUNet
from common.networks.encoder_maps import maps_network
from common.networks.ensemble import Ensemble
from common.outliers.changes import FIRST, PARTS, SECOND, changed
from common.outliers.detector import fit
from common.outliers.features import WithFeatures, pooled, watched
from common.outliers.monitor import RECORD, Monitor
from common.run.model_record import save_weights

SIZE = (64, 96)


def networks() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {
        "drsegunet": DRSegUNet(),
        "unet": segmentation_network("unet", 1, 3, filters=4),
        "efficientnet_lite0": segmentation_network("efficientnet_lite0", 1, 3),
        "deeplabv3plus": segmentation_network("deeplabv3plus", 1, 3, filters=4),
        "maps": maps_network("efficientnet_lite0", 3),
        "ensemble": Ensemble([DRSegUNet(), DRSegUNet()], "softmax"),
    }


def images(count: int = 3) -> torch.Tensor:
    return torch.randn(count, 1, *SIZE, generator=torch.Generator().manual_seed(1))


def watching(path: Path) -> Monitor:
    return Monitor(path / "model.pt", every=True)


@pytest.mark.parametrize("name", ["drsegunet", "unet"])
def test_folded_networks_have_the_same_features(name: str) -> None:
    network = WithFeatures(networks()[name].eval())
    with torch.inference_mode():
        expected, found = network(images()), fold_batch_norm(network)(images())
    assert all(torch.allclose(*pair, atol=1e-3) for pair in zip(expected, found, strict=True))


@pytest.mark.parametrize("name", networks())
def test_logits_are_those_of_the_network_alone(name: str) -> None:
    network = networks()[name].eval()
    with torch.inference_mode():
        expected = network(images())
        logits, *features = WithFeatures(network)(images())
    assert torch.equal(logits, expected)
    assert len(features) == len(PARTS) and all(len(each) == 3 and each.ndim == 2 for each in features)
    assert features[2].shape == features[3].shape


def test_features_by_hand() -> None:
    """Means, deviations, and differences of outer and inner quarters."""
    plane = torch.tensor([[1.0, 2.0], [3.0, 6.0]]).view(1, 1, 2, 2)
    grid = torch.arange(16.0).view(1, 1, 4, 4)
    texture, content, rows, columns = pooled([grid, plane])
    assert texture[0].tolist() == pytest.approx([7.5, 4.7610, 3, 2.1602], abs=1e-4)
    assert content.item() == 3
    assert rows[0].tolist() == [1.5 - 13.5, 5.5 - 9.5] and columns[0].tolist() == [6 - 9, 7 - 8]


def test_a_mirror_image_has_the_opposite_differences_and_else_the_same_features() -> None:
    maps = [torch.randn(2, 3, 8, 8), torch.randn(2, 5, 4, 6)]
    plain, turned = pooled(maps), pooled([each.flip(2) for each in maps])
    for number, sign in enumerate((1, 1, -1, 1)):
        assert torch.allclose(turned[number], sign * plain[number], atol=1e-6)


def test_a_network_without_an_encoder_is_named() -> None:
    with pytest.raises(ValueError, match="Conv2d has no encoder"):
        WithFeatures(nn.Conv2d(1, 1, 1))


def test_a_network_of_ones_own_is_judged_only_where_that_is_asked_for(tmp_path: Path) -> None:
    network, knows = nn.Conv2d(1, 1, 1), watching(tmp_path)
    with pytest.raises(ValueError, match="Conv2d has no encoder"):
        watched(network, knows)
    knows.every = False  # it has a record, and does not learn
    assert watched(network, knows) is network


def test_mirror_images_of_the_inference_are_not_watched(tmp_path: Path) -> None:
    network, monitor = DRSegUNet().eval(), watching(tmp_path)
    with torch.inference_mode():
        plain = FastCall(mirror=True)(network, images())
        seen = FastCall(mirror=True, monitor=monitor)(watched(network, monitor), images())
        features = monitor.take()
        _, *expected = WithFeatures(network)(images())
    assert torch.allclose(plain, seen, atol=1e-5)
    assert all(np.allclose(features[part], each, atol=1e-5) for part, each in zip(PARTS, expected, strict=True))
    assert monitor.take() == {}


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_features_of_a_volume_do_not_depend_on_batches_and_runtime(
    runtime: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    network = segmentation_network("unet", 1, 3, filters=4).eval()
    volume = torch.randn(1, 1, 32, 32, 5, generator=torch.Generator().manual_seed(1))
    found = []
    for count, kind in ((1, "torch"), (2, runtime)):
        monitor = watching(tmp_path)
        with torch.inference_mode():
            MaskInferer([1, 2, 0], slices_at_once=count, runtime=kind, monitor=monitor)(
                volume, watched(network, monitor)
            )
        found.append(monitor.take())
    for part in PARTS:
        assert found[0][part].shape[0] == 5
        assert np.allclose(found[0][part], found[1][part], atol=1e-3)


def record_of(path: Path, values: dict[str, np.ndarray]) -> Path:
    names = [f"p{number}" for number in range(len(values["texture"]))]
    detector = fit(values, ["a"] * len(names), names, names)
    detector.data["axes"] = {"first axis": "left and right", "second axis": "front and back"}  # type: ignore[index]
    save_weights({"x": torch.zeros(1)}, path, {"settings": {}, RECORD: detector.to_record()})
    return path


def test_a_verdict_says_what_is_unusual(rng: np.random.Generator, tmp_path: Path) -> None:
    values = {part: rng.normal(1, 0.2, (60, 4)) for part in PARTS}
    values |= {changed(axis): rng.normal(-1, 0.2, (60, 4)) for axis in (FIRST, SECOND)}
    monitor = Monitor(record_of(tmp_path / "model.pt", values))

    def verdict(change: dict[str, float]) -> tuple[str, str]:
        monitor.add([torch.full((2, 4), change.get(part, 1.0)) for part in PARTS])
        found = monitor.verdict()
        return found.word, found.reason

    assert verdict({}) == ("usual", "")
    assert verdict({"first axis": -1.0}) == ("unusual", "left and right seem to be exchanged")
    assert verdict({"second axis": -1.0}) == ("unusual", "front and back seem to be exchanged")
    assert verdict({"content": 9.0}) == ("unusual", "it does not look like the training data")
    both = verdict({"texture": 9.0, "first axis": -1.0})[1]
    assert both.startswith("noise, sharpness or grey levels") and both.endswith("exchanged")


def test_weights_that_do_not_know_what_is_usual_give_no_verdict(tmp_path: Path) -> None:
    save_weights({"x": torch.zeros(1)}, tmp_path / "model.pt", {"settings": {}})
    monitor = Monitor(tmp_path / "model.pt")
    assert not monitor.active
    network = DRSegUNet()
    assert watched(network, monitor) is network
    assert monitor.verdict().word == ""
