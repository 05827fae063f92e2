"""Inferers give what the network alone gives, faster."""

from __future__ import annotations

import pytest
import torch

from common.inferers import FastCall, MaskInferer, MixedPrecisionInferer, mixed_precision
from common.networks import DRSegUNet


@pytest.fixture
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return DRSegUNet().eval()


def test_a_volume_is_segmented_as_its_slices_are(network: torch.nn.Module) -> None:
    volume = torch.randn(1, 1, 48, 32, 5, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        mask = MaskInferer([1, 2, 3, 0], threshold=0.3, roi_size=(48, 32), sw_batch_size=2)(volume, network)
        for index in range(5):
            probability = network(volume[..., index]).softmax(1)
            best, channel = probability.max(1, keepdim=True)
            expected = torch.tensor([1.0, 2.0, 3.0, 0.0])[channel] * (best > 0.3)
            assert torch.equal(mask[..., index], expected)


def test_pixels_where_no_class_is_probable_enough_are_background() -> None:
    logits = torch.tensor([2.0, 1.9, 1.9, 1.9]).view(1, 4, 1, 1)  # the best class has probability 0.27
    volume = torch.zeros(1, 1, 16, 16, 1)

    def flat(x: torch.Tensor) -> torch.Tensor:
        return logits.expand(len(x), 4, 16, 16)

    assert MaskInferer([1, 2, 3, 0], threshold=0.5, roi_size=(16, 16))(volume, flat).unique().tolist() == [0.0]
    assert MaskInferer([1, 2, 3, 0], threshold=0.25, roi_size=(16, 16))(volume, flat).unique().tolist() == [1.0]


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
    inferer = MaskInferer([1, 2, 3, 0], threshold=0.0, roi_size=(64, 64), sw_batch_size=2)
    with torch.no_grad():
        cpu = inferer(volume, network)
        gpu = MaskInferer([1, 2, 3, 0], threshold=0.0, roi_size=(64, 64), sw_batch_size=2)(
            volume.cuda(), network.cuda()
        )
    assert (cpu == gpu.cpu()).float().mean() > 0.999
