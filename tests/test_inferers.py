"""Inferers give the same results as the network alone, faster."""

from __future__ import annotations

import pytest
import torch
from monai.inferers import SliceInferer

from common.inferers import (
    FastCall,
    MaskInferer,
    MixedPrecisionInferer,
    lesions_first,
    mixed_precision,
    native_bfloat16,
)
from common.networks.drsegunet import DRSegUNet
from common.transforms.masks import LesionsFirstd


@pytest.fixture
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return DRSegUNet().eval()


@pytest.mark.parametrize("slices_at_once", [1, 2, 8])
def test_masks_are_those_of_monais_slice_inferer(network: torch.nn.Module, slices_at_once: int) -> None:
    volume = torch.randn(2, 1, 48, 32, 5, generator=torch.Generator().manual_seed(1))

    def decided(x: torch.Tensor) -> torch.Tensor:
        best, channel = network(x).softmax(1).max(1, keepdim=True)
        return torch.tensor([1.0, 2.0, 3.0, 0.0])[channel] * (best > 0.3)

    with torch.no_grad():
        expected = SliceInferer(spatial_dim=2, roi_size=(48, 32), overlap=0)(volume, decided)
        mask = MaskInferer([1, 2, 3, 0], threshold=0.3, slices_at_once=slices_at_once)(volume, network)
    assert mask.dtype == torch.uint8 and 0 < (mask == 0).float().mean() < 1
    assert torch.equal(mask.float(), expected)


def test_pixels_where_no_class_is_probable_enough_are_background() -> None:
    logits = torch.tensor([2.0, 1.9, 1.9, 1.9]).view(1, 4, 1, 1)  # the best class has probability 0.27
    volume = torch.zeros(1, 1, 16, 16, 1)

    def flat(x: torch.Tensor) -> torch.Tensor:
        return logits.expand(len(x), 4, 16, 16)

    assert MaskInferer([1, 2, 3, 0], threshold=0.5)(volume, flat).unique().tolist() == [0]
    assert MaskInferer([1, 2, 3, 0], threshold=0.25)(volume, flat).unique().tolist() == [1]


def test_lesions_come_first_where_their_kinds_together_reach_the_threshold() -> None:
    """Four pixels by hand: kinds that only together are likely, one that is not, equality, and no lesion at all."""
    probabilities = torch.tensor([
        [0.15, 0.20, 0.40, 0.25],  # 0.35 together: the likelier kind, consolidation, though lung leads
        [0.05, 0.20, 0.35, 0.40],  # 0.25: background
        [0.30, 0.00, 0.70, 0.00],  # not above 0.3: lung
        [0.00, 0.00, 0.00, 1.00],
    ]).T.view(1, 4, 2, 2)  # fmt: skip
    channels = lesions_first(probabilities, lesions=[0, 1], threshold=0.3)
    assert channels.flatten().tolist() == [1, 3, 2, 3]
    decided = LesionsFirstd("pred", lesions=[0, 1], threshold=0.3)({"pred": probabilities[0]})["pred"]
    assert decided.sum(0).unique().tolist() == [1] and decided.argmax(0).flatten().tolist() == [1, 3, 2, 3]
    inferer = MaskInferer([1, 2, 3, 0], lesions=[0, 1], lesion_threshold=0.3)
    assert inferer.decide(probabilities.log()).flatten().tolist() == [2, 0, 3, 0]


@pytest.mark.skipif(mixed_precision(torch.device("cpu")) is None, reason="this processor has no bfloat16")
def test_mixed_precision_gives_float32_logits_close_to_full_precision(network: torch.nn.Module) -> None:
    x = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        full, mixed = network(x), MixedPrecisionInferer(amp=True)(x, network)
    assert mixed.dtype == torch.float32
    assert (full - mixed).norm() / full.norm() < 0.03  # bfloat16 keeps 8 bits: 0.4 % a rounding


def test_without_mixed_precision_logits_are_the_networks_own(network: torch.nn.Module) -> None:
    x = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        torch.testing.assert_close(FastCall()(network, x), network(x), atol=1e-5, rtol=1e-5)


@pytest.mark.gpu
def test_gpu_masks_equal_cpu_masks(network: torch.nn.Module) -> None:
    volume = torch.randn(1, 1, 64, 64, 3, generator=torch.Generator().manual_seed(4))
    inferer = MaskInferer([1, 2, 3, 0], threshold=0.0, slices_at_once=2)
    with torch.no_grad():
        cpu = inferer(volume, network)
        gpu = MaskInferer([1, 2, 3, 0], threshold=0.0, slices_at_once=2)(volume.cuda(), network.cuda())
    assert (cpu == gpu.cpu()).float().mean() > 0.999


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ({"avx512_f": True, "avx512_bf16": True}, True),
        ({"avx512_f": True, "amx_bf16": True}, True),
        ({"avx512_f": True, "avx512_bf16": False}, False),  # oneDNN would emulate it, four times slower than float32
        ({"avx2": True}, False),
    ],
)
def test_bfloat16_is_used_only_where_the_processor_has_it(features: dict[str, bool], expected: bool) -> None:
    assert native_bfloat16({"architecture": "x86_64", **features}) is expected


def test_a_mirrored_call_averages_a_slice_and_its_left_right_mirror_image() -> None:
    """A network that sees only the left half, X below 2, sees both halves; the result is mirrored back."""
    left = torch.zeros(1, 1, 4, 3)
    left[:, :, :2] = 1
    x = torch.arange(12.0).reshape(1, 1, 4, 3)
    expected = x / 2  # each half is seen by one of both passes
    torch.testing.assert_close(FastCall(mirror=True)(lambda slices: slices * left, x), expected)


def test_a_temperature_divides_logits_and_keeps_the_likeliest_class() -> None:
    """Logits 2 and 0 give 0.881; at a temperature of 2 they are 1 and 0, which give 0.731."""
    x = torch.tensor([2.0, 0.0]).view(1, 2, 1, 1)
    for temperature, expected in ((1.0, 0.8808), (2.0, 0.7311)):
        inferer = MaskInferer([1, 0], lesions=[0], lesion_threshold=0.8, probabilities=True, temperature=temperature)
        mask, lesion, other = inferer(x, lambda slices: slices)[0, :, 0, 0].tolist()
        assert (lesion, lesion + other) == (round(255 * expected), 255)
        assert mask == (1 if temperature == 1 else 0), "the threshold is of the probability that is saved"


def test_two_networks_called_in_turn_by_one_inferer_keep_their_own_outputs() -> None:
    call, x = FastCall(), torch.ones(1, 1, 2, 2)
    networks = [torch.nn.Conv2d(1, 1, 1, bias=False) for _ in range(2)]
    for factor, network in enumerate(networks, start=2):
        torch.nn.init.constant_(network.weight, factor)
    with torch.no_grad():
        outputs = [call(network, x).unique().item() for network in [*networks, *networks]]
        for factor in range(20):  # networks that are gone leave their ids to new ones
            network = torch.nn.Conv2d(1, 1, 1, bias=False)
            torch.nn.init.constant_(network.weight, factor)
            assert call(network, x).unique().item() == factor
    assert outputs == [2, 3, 2, 3]


def test_small_regions_are_left_out_or_become_the_first_kind() -> None:
    """Two slices: a region of 4 pixels and one of 2 that touches it at a corner; one of 3."""
    probabilities = torch.zeros(2, 3, 6, 6)
    probabilities[:, 2] = 1.0  # background
    pixels = [(0, 1, 1), (0, 1, 2), (0, 2, 1), (0, 2, 2), (0, 3, 3), (0, 3, 4), (1, 0, 0), (1, 0, 1), (1, 1, 0)]
    for batch, row, column in pixels:
        probabilities[batch, :, row, column] = torch.tensor([0.3, 0.7, 0.0])
    for smallest, left in ((0, 9), (2, 9), (3, 7), (4, 4), (5, 0)):
        channels = lesions_first(probabilities, [0, 1], 0.5, (0, smallest))
        assert ((channels == 1).sum(), (channels == 0).sum()) == (left, 9 - left), smallest
        channels = lesions_first(probabilities, [0, 1], 0.5, (smallest, 0))
        assert ((channels == 1).sum(), (channels == 2).sum()) == (left, 72 - left), smallest
    kept = lesions_first(probabilities, [0, 1], 0.5, (3, 3))[1, 0]
    assert (kept == 1).nonzero().tolist() == [[0, 0], [0, 1], [1, 0]]
    with pytest.raises(ValueError, match=r"--smallest_regions \[3, 3\] needs a threshold for lesions"):
        MaskInferer([1, 2, 0], smallest=(3, 3))
