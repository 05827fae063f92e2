"""The networks are those of the texts."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from common.networks import DRSegUNet, UNet, fold_batch_norm, keras_parameter_count, segmentation_network

VARIANTS = [(name, decoder) for name in ("drsegunet", "unet") for decoder in ("transposed", "upsample")]


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
    assert network(torch.zeros(2, 1, 48, 80)).shape == (2, classes, 48, 80)


@pytest.mark.parametrize(("name", "decoder"), VARIANTS)
def test_torchscript_equals_eager(name: str, decoder: str) -> None:
    network = segmentation_network(name, 1, 4, decoder).eval()
    x = torch.randn(2, 1, 32, 48, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(torch.jit.script(network)(x), network(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("name", "decoder"), VARIANTS)
def test_every_weight_receives_a_gradient(name: str, decoder: str) -> None:
    network = segmentation_network(name, 1, 4, decoder)
    network(torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))).square().mean().backward()
    assert [key for key, weight in network.named_parameters() if weight.grad is None] == []


@pytest.mark.parametrize(("name", "decoder"), VARIANTS)
def test_folding_batch_norm_changes_nothing_but_the_count_of_layers(name: str, decoder: str) -> None:
    network = segmentation_network(name, 1, 4, decoder)
    x = torch.randn(4, 1, 32, 48, generator=torch.Generator().manual_seed(0))
    for _ in range(3):
        network(x)  # gives the running mean and variance values of their own
    folded = fold_batch_norm(network)
    torch.testing.assert_close(folded(x), network(x), atol=1e-4, rtol=1e-4)
    norms = [sum(isinstance(layer, torch.nn.BatchNorm2d) for layer in net.modules()) for net in (network, folded)]
    assert norms == ([28, 9] if name == "drsegunet" else [0, 0])


def test_receptive_field_reaches_across_the_picture() -> None:
    """A deep U-Net sees far: a change in one corner moves the logits 60 pixels away."""
    network = DRSegUNet().eval()
    x = torch.zeros(1, 1, 128, 128)
    changed = x.clone()
    changed[..., 0, 0] = 100.0
    difference = (network(changed) - network(x)).abs().sum(1)[0]
    assert difference[60, 60] > 0


def test_unknown_words_are_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match=r"Unknown network 'vnet'.*drsegunet, unet"):
        segmentation_network("vnet", 1, 4)
    with pytest.raises(ValueError, match=r"Unknown decoder 'bilinear'.*'transposed' or 'upsample'"):
        segmentation_network("unet", 1, 4, "bilinear")


def test_odd_sizes_are_refused_with_the_rule() -> None:
    with pytest.raises(ValueError, match="multiples of 16, got 100 x 128"):
        DRSegUNet()(torch.zeros(1, 1, 100, 128))
