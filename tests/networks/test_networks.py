"""The networks are those of the papers."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from common.networks.blocks import DepthwiseConv2d, fold_batch_norm, keras_parameter_count
from common.networks.by_name import COMPARED, UNETS, segmentation_network
from common.networks.drsegunet import DRSegUNet
from common.networks.encoder_maps import maps_network
from common.networks.reverse_transfer import ReverseTransfer
from common.networks.unet import UNet, classic_unet

VARIANTS = [(name, decoder) for name in UNETS for decoder in ("transposed", "upsample")]
VARIANTS += [(name, "transposed") for name in COMPARED]
NORMS = {"drsegunet": [28, 9], "deeplabv3plus": [61, 0], "deeplabv3plus_stride8": [61, 0]}  # before and after folding


@pytest.mark.parametrize(("network", "count"), [(DRSegUNet, 5_484_276), (UNet, 2_158_468)])
def test_parameter_totals_are_those_of_section_5_3(network: type[torch.nn.Module], count: int) -> None:
    assert keras_parameter_count(network(in_channels=1, out_channels=4)) == count


def test_one_slice_costs_71_gflop() -> None:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        DRSegUNet().eval()(torch.zeros(1, 1, 512, 512))
    assert counter.get_total_flops() / 1e9 == pytest.approx(71.3, abs=0.1)


@pytest.mark.parametrize(("name", "decoder"), VARIANTS)
@pytest.mark.parametrize("classes", [3, 4])
def test_logits_have_the_size_of_the_input(name: str, decoder: str, classes: int) -> None:
    network = segmentation_network(name, 1, classes, decoder)
    assert network(torch.zeros(2, 1, 64, 96)).shape == (2, classes, 64, 96)


@pytest.mark.parametrize(("name", "decoder"), VARIANTS)
def test_torchscript_equals_eager(name: str, decoder: str) -> None:
    network = segmentation_network(name, 1, 4, decoder).eval()
    x = torch.randn(2, 1, 32, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(torch.jit.script(network)(x), network(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("name", "decoder"), VARIANTS)
def test_every_weight_receives_a_gradient(name: str, decoder: str) -> None:
    network = segmentation_network(name, 1, 4, decoder)
    network(torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))).square().mean().backward()
    assert [key for key, weight in network.named_parameters() if weight.grad is None] == []


@pytest.mark.parametrize(("name", "decoder"), VARIANTS)
def test_folding_batch_norm_changes_nothing_but_the_count_of_layers(name: str, decoder: str) -> None:
    network = segmentation_network(name, 1, 4, decoder)
    x = torch.randn(4, 1, 32, 64, generator=torch.Generator().manual_seed(0))
    for _ in range(3):
        network(x)  # gives the running mean and variance values of their own
    folded = fold_batch_norm(network)
    torch.testing.assert_close(folded(x), network(x), atol=1e-4, rtol=1e-4)
    norms = [sum(isinstance(layer, torch.nn.BatchNorm2d) for layer in net.modules()) for net in (network, folded)]
    assert norms == NORMS.get(name, [0, 0])


def test_receptive_field_covers_the_image() -> None:
    """A deep U-Net sees far: a change in one corner moves the logits 60 pixels away."""
    network = DRSegUNet().eval()
    x = torch.zeros(1, 1, 128, 128)
    changed = x.clone()
    changed[..., 0, 0] = 100.0
    difference = (network(changed) - network(x)).abs().sum(1)[0]
    assert difference[60, 60] > 0


def test_unknown_options_are_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match=r"Unknown network 'vnet'.*drsegunet, unet, fcn8s"):
        segmentation_network("vnet", 1, 4)
    with pytest.raises(ValueError, match=r"Unknown decoder 'bilinear'.*'transposed 2x2' or 'upsample'"):
        segmentation_network("unet", 1, 4, "bilinear")


def test_odd_sizes_are_refused_with_the_rule() -> None:
    with pytest.raises(ValueError, match="multiples of 16, got 100 x 128"):
        DRSegUNet()(torch.zeros(1, 1, 100, 128))


def test_the_classic_unet_is_that_of_ronneberger() -> None:
    # 31,030,658 is the total of figure 1 with biases, counted by hand: 18,842,048 down, 12,188,480 up, 130 in the head
    network = classic_unet(in_channels=1, out_channels=2)
    assert sum(parameter.numel() for parameter in network.parameters()) == 31_030_658
    first = network.encoder.levels[1][0].weight  # N = 3 x 3 x 64 incoming nodes
    assert float(first.detach().std()) == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)


def test_one_ultrasound_frame_costs_425_gflop() -> None:
    with FlopCounterMode(display=False) as counter, torch.device("meta"), torch.no_grad():
        classic_unet(1, 7)(torch.zeros(1, 1, 464, 624))
    assert counter.get_total_flops() / 1e9 == pytest.approx(425.2, abs=0.1)


def test_logits_depend_only_on_the_averages_of_the_maps() -> None:
    network = ReverseTransfer(classic_unet(1, 7, filters=4), classes=7).eval()
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(2, 7, 24, 40, generator=generator).softmax(1)
    shuffled = maps.flatten(2)[..., torch.randperm(24 * 40, generator=generator)].unflatten(2, (24, 40))
    torch.testing.assert_close(network.decide(shuffled), network.decide(maps), atol=1e-6, rtol=0)
    # One linear layer of the averages, worked by hand
    by_hand = maps.mean((2, 3)) @ network.classifier.weight.T + network.classifier.bias
    torch.testing.assert_close(network.decide(maps), by_hand, atol=1e-6, rtol=0)

    # Two images whose maps have equal averages get the same diagnosis: nothing bypasses the maps
    class Given(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    through = ReverseTransfer(Given(), classes=7)
    x = torch.randn(1, 7, 8, 8, generator=generator)
    torch.testing.assert_close(through(x.flip(-1, -2)), through(x))
    full = torch.randn(1, 1, 32, 48, generator=generator)
    torch.testing.assert_close(network(full), network.decide(network.segmentation(full).softmax(1)))
    gradient = torch.autograd.grad(network(full)[0, 0], list(network.parameters()))
    assert all(bool((part != 0).any()) for part in gradient), "the diagnosis trains the segmentation too"


def test_diagnosis_of_small_shares_survives_bfloat16() -> None:
    network = ReverseTransfer(torch.nn.Identity(), classes=7)
    maps = torch.randn(1, 7, 16, 16, generator=torch.Generator().manual_seed(1)).softmax(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(network.decide(maps), network.decide(maps.double().float()), atol=0, rtol=0)
        assert network.decide(maps).dtype == torch.float32


@pytest.mark.parametrize("name", ["unet", "efficientnet_lite0"])
def test_reverse_transfer_scripts(name: str) -> None:
    network = ReverseTransfer(maps_network(name, 4, filters=4, frozen=True), classes=4).eval()
    x = torch.randn(2, 1, 32, 48, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(torch.jit.script(network)(x), network(x), atol=1e-5, rtol=1e-5)


def test_depthwise_convolution_is_exact_in_training_and_fast_in_inference() -> None:
    """In bfloat16 autocast on a CPU: float32 with gradients, bfloat16 without; the same weights as a plain one."""
    torch.manual_seed(0)
    layer, plain = (
        DepthwiseConv2d(8, kernel_size=5, stride=2, padding=2),
        torch.nn.Conv2d(8, 8, 5, 2, 2, groups=8, bias=False),
    )
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(2, 8, 9, 9)
    with torch.autocast("cpu", torch.bfloat16):
        trained = layer(x.bfloat16())
        with torch.no_grad():
            inferred = layer(x)
    torch.testing.assert_close(trained, plain(x.bfloat16().float()))
    assert inferred.dtype is torch.bfloat16
    torch.testing.assert_close(inferred.float(), plain(x), rtol=0.02, atol=0.02)
    torch.testing.assert_close(torch.jit.script(layer)(x), plain(x))
