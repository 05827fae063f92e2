"""FCN-8s and DeepLabV3+ are those of their papers."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import ResNet
from torch.nn.functional import interpolate

from common.networks.by_name import segmentation_network
from common.networks.deeplab import AtrousResNet, DeepLabV3Plus
from common.networks.fcn import FCN8s


def parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameter_totals_at_the_published_widths_are_those_counted_by_hand() -> None:
    with torch.device("meta"):
        # VGG16's convolutions 14,714,688; 7x7x512x4096 and 4096x4096 with biases 119,545,856; scores of 21 classes
        # (4096 + 512 + 256 + 3) x 21 = 102,207; two 4x4x21x21 up-samplings 14,112
        assert parameters(FCN8s(3, 21, filters=64)) == 14_714_688 + 119_545_856 + 102_207 + 14_112
        # ResNet50 without its classifier 23,508,032; pyramid 524,800 + 3 x 4,719,104 + 524,544, joined 328,192;
        # first stage to 48 channels 12,384; decoder 304x9x256 + 512 and 256x9x256 + 512; classes 257 x 21
        total = 23_508_032 + 524_800 + 14_157_312 + 524_544 + 328_192 + 12_384 + 700_928 + 590_336 + 5_397
        assert [parameters(DeepLabV3Plus(3, 21, 64, output_stride=stride)) for stride in (8, 16)] == [total, total]


@pytest.mark.parametrize("stride", [8, 16])
def test_atrous_convolutions_see_what_strides_do_with_values_between(stride: int) -> None:
    atrous = AtrousResNet(1, 4, stride).eval()
    ordinary = ResNet(
        "bottleneck", [3, 4, 6, 3], [4, 8, 16, 32], 2, 1, conv1_t_stride=2, feed_forward=False, bias_downsample=False
    ).eval()
    ordinary.load_state_dict(atrous.state_dict())
    x = torch.randn(1, 1, 96, 128, generator=torch.Generator().manual_seed(0))
    first, last = atrous(x)
    low = ordinary.layer1(ordinary.maxpool(ordinary.act(ordinary.bn1(ordinary.conv1(x)))))
    deep = ordinary.layer4(ordinary.layer3(ordinary.layer2(low)))
    assert first.shape == (1, 16, 24, 32) and last.shape == (1, 128, 96 // stride, 128 // stride)
    assert deep.shape == (1, 128, 3, 4), "the ordinary stride is 32"
    step = 32 // stride
    torch.testing.assert_close(last[..., ::step, ::step], deep, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(first, low)


def test_a_batch_of_one_slice_trains_deeplab() -> None:
    DeepLabV3Plus(filters=4).train()(torch.randn(1, 1, 32, 32)).sum().backward()


def test_fcn_adds_the_scores_of_three_strides_interpolated() -> None:
    network = FCN8s(1, 2, filters=4).eval()
    x = torch.randn(1, 1, 96, 160, generator=torch.Generator().manual_seed(0))
    assert network(x).abs().max() == 0, "scores start at 0"
    maps = [torch.randn(1, 2, 96 // stride, 160 // stride) for stride in (32, 16, 8)]
    for score, given in zip(network.scores, maps, strict=True):
        score.register_forward_hook(lambda *_, given=given: given)
    coarse, middle, fine = maps

    def doubled(scores: torch.Tensor) -> torch.Tensor:
        return interpolate(scores, scale_factor=2.0, mode="bilinear")

    expected = interpolate(doubled(doubled(coarse) + middle) + fine, scale_factor=8.0, mode="bilinear")
    inside = slice(40, -40)  # a coarse pixel and a half from the border, where a convolution takes 0
    torch.testing.assert_close(network(x)[..., inside, inside], expected[..., inside, inside])


def test_a_choice_that_has_no_effect_is_refused() -> None:
    with pytest.raises(ValueError, match=r"fcn8s has one decoder, got 'upsample'\. Leave out --decoder, or choose"):
        segmentation_network("fcn8s", 1, 4, "upsample")
    with pytest.raises(ValueError, match="multiples of 32, got 48 x 64"):
        segmentation_network("fcn8s", 1, 4)(torch.zeros(1, 1, 48, 64))
