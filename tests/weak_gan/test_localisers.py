"""The methods that the separator is compared with: classifier and its maps, VA-GAN, biomarker localisation."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from monai.engines import SupervisedEvaluator
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader
from weak_gan_parts import Slices, trainer, watch

from common.networks.lesion_classifier import lesion_classifier
from common.networks.va_gan import MapNetwork
from common.networks.weak_gan import LesionSeparator
from common.weak_gan.cam import CamInferer
from common.weak_gan.heatmap import HeatmapInferer
from common.weak_gan.losses import BiomarkerLoss, MapLoss

SQUARE = 11.5  # centre of the square of Slices, in both directions; it is 8 pixels wide


def stacked(slices: Slices) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (N, 1, H, W) and labels (N,)."""
    return torch.stack([item["image"] for item in slices.items]), torch.tensor([item["label"] for item in slices.items])


@pytest.fixture(scope="module")
def classifier() -> nn.Module:
    """Trained on slices whose square lies anywhere."""
    torch.manual_seed(0)
    images, labels = stacked(Slices(16, 64))
    network = lesion_classifier(filters=8)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(60):
        shift = torch.randint(64, (2,)).tolist()
        optimizer.zero_grad()
        functional.cross_entropy(network(images.roll(shift, (2, 3))), labels).backward()
        optimizer.step()
    return network.eval()


def test_the_classifier_is_resnet18_with_one_channel_and_two_classes() -> None:
    # ResNet18 has 11,689,512 parameters; two of three input channels and 998 of 1000 classes go
    parameters = 11_689_512 - 2 * 64 * 7 * 7 - 998 * (512 + 1)
    assert sum(parameter.numel() for parameter in lesion_classifier().parameters()) == parameters == 11_171_266
    assert lesion_classifier(filters=4)(torch.zeros(2, 1, 64, 32)).shape == (2, 2)


def test_grad_cam_finds_the_square_wherever_it_lies(classifier: nn.Module) -> None:
    images, labels = stacked(Slices(16, 64))
    assert torch.equal(classifier(images).argmax(1), labels)
    for down, right in ((0, 0), (24, 32), (40, 8)):
        heat = CamInferer("gradcam", layer="layer2")(images[labels == 1].roll((down, right), (2, 3)), classifier)
        assert heat.shape == (8, 1, 64, 64)
        highest = heat.flatten(1).argmax(1)
        distance = torch.stack([highest // 64 - SQUARE - down, highest % 64 - SQUARE - right]).abs()
        assert distance.max() <= 4 + 8  # within one cell of the map, 8 pixels, of the square


@pytest.mark.parametrize("method", ["cam", "gradcam"])
@pytest.mark.parametrize("target", [0, 1])
def test_maps_are_last_feature_maps_weighted_by_the_last_layer(method: str, target: int) -> None:
    torch.manual_seed(1)
    network = lesion_classifier(filters=4).eval()
    nn.init.normal_(network.fc.weight)  # type: ignore[union-attr]
    network.fc.bias.data[:] = 100.0  # type: ignore[union-attr]  # CAM ignores it
    x = torch.randn(2, 1, 128, 96)
    features: list[torch.Tensor] = []
    with network.layer4.register_forward_hook(lambda *each: features.append(each[2])), torch.no_grad():
        network(x)
    maps = torch.einsum("bchw,c->bhw", features[0], network.fc.weight[target].detach())[:, None]  # type: ignore
    if method == "gradcam":  # the gradient of an average over the map is fc's weight, up to a factor that scaling takes
        maps = maps.relu()
    expected = functional.interpolate(maps, (128, 96), mode="bilinear").relu()
    heat = CamInferer(method, target=target)(x, network)
    torch.testing.assert_close(heat, expected / expected.amax((1, 2, 3), keepdim=True))
    assert heat.amax((1, 2, 3)).tolist() == pytest.approx([1, 1])


@pytest.mark.parametrize("method", ["cam", "gradcam"])
def test_the_heatmap_is_zero_if_nothing_speaks_for_the_class(method: str) -> None:
    network = lesion_classifier(filters=4)
    nn.init.constant_(network.fc.weight, -1.0)  # type: ignore[union-attr]
    assert CamInferer(method)(torch.randn(2, 1, 64, 64), network).unique().tolist() == [0]


@pytest.mark.parametrize("method", ["cam", "gradcam"])
@pytest.mark.parametrize("around", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_maps_do_not_depend_on_the_mode_and_do_not_change_the_classifier(
    classifier: nn.Module, method: str, around: Any
) -> None:
    x = stacked(Slices(2, 64))[0]
    expected = CamInferer(method)(x, classifier)
    network = copy.deepcopy(classifier).requires_grad_(False)  # frozen, as biomarker localisation leaves it
    network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    before = copy.deepcopy(network.state_dict())
    with around():
        heat = CamInferer(method)(x.clone(), network)
    torch.testing.assert_close(heat, expected, atol=1e-4, rtol=1e-4)
    assert not heat.requires_grad and network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks or module._backward_hooks for module in network.modules())


def test_grad_cam_works_in_monais_evaluator(classifier: nn.Module) -> None:
    batches: list[torch.Tensor] = []
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Slices(4, 64), batch_size=2),  # type: ignore[arg-type]
        network=classifier,
        inferer=CamInferer("gradcam"),
        decollate=False,
    )
    evaluator.add_event_handler("ITERATION_COMPLETED", lambda engine: batches.append(engine.state.output["pred"]))
    evaluator.run()
    images = stacked(Slices(4, 64))[0]
    torch.testing.assert_close(torch.cat(batches), CamInferer("gradcam")(images, classifier))


def test_unknown_methods_and_layers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Unknown method 'grad-cam'. Choose 'cam' or 'gradcam'"):
        CamInferer("grad-cam")
    with pytest.raises(ValueError, match=r"has no layer 'layer5'. Choose one of: conv1, .*layer4"):
        CamInferer(layer="layer5")(torch.zeros(1, 1, 32, 32), lesion_classifier(filters=2))


def test_the_heatmap_of_a_volume_is_that_of_its_slices(classifier: nn.Module) -> None:
    torch.manual_seed(0)
    volume = torch.rand(2, 1, 32, 48, 3) * 2 - 1
    for inferer, network in (
        (HeatmapInferer(slices_at_once=2), LesionSeparator(filters=2).eval()),
        (CamInferer("cam", slices_at_once=2), classifier),
    ):
        with torch.no_grad():
            whole = inferer(volume, network)
            single = torch.stack([inferer(volume[..., index], network) for index in range(3)], dim=-1)
        torch.testing.assert_close(whole, single, atol=1e-4, rtol=1e-4)


def test_the_heatmap_is_the_positive_part_of_the_lesions_beside_the_normal_version() -> None:
    outputs = torch.tensor([[-0.9, 0.1, 0.2, 0.3], [-0.5, 0.0, 0.4, 1.5]]).view(1, 2, 2, 2)  # VA-GAN's may exceed 1
    heat, normal_version = HeatmapInferer()(torch.zeros(1, 1, 2, 2), lambda x: outputs)[0]
    torch.testing.assert_close(heat.flatten(), torch.tensor([0.0, 0.0, 0.4, 1.0]))
    assert torch.equal(normal_version, outputs[0, 0])
    affine = HeatmapInferer("affine")(torch.zeros(1, 1, 2, 2), lambda x: outputs)[0, 0]
    torch.testing.assert_close(affine.flatten(), torch.tensor([0.25, 0.5, 0.7, 1.0]))  # -1..1 to 0..1


def test_normal_version_and_lesions_of_a_map_give_the_slice() -> None:
    x = torch.rand(2, 1, 32, 16) * 2 - 1
    both = MapNetwork(filters=2)(x)
    assert both.shape == (2, 2, 32, 16) and both[:, 1].abs().mean() > 0
    torch.testing.assert_close(both.sum(1, keepdim=True), x)


def test_the_terms_of_a_map_count_only_slices_with_lesions() -> None:
    x, lesions = torch.zeros(3, 1, 2, 2), torch.zeros(3, 1, 2, 2)
    lesions[0], lesions[1], lesions[2, 0, 0, 0] = 0.5, 0.9, -0.4  # mean sizes 0.5, 0.9, 0.1
    is_normal, critic_score = torch.tensor([False, True, False]), torch.tensor([1.0, 50.0, 3.0])
    terms = MapLoss()(x, x - lesions, lesions, is_normal, critic_score)
    assert {name: float(value) for name, value in terms.items()} == pytest.approx({"map": 30.0, "adversarial": -2.0})
    none = MapLoss()(x, x - lesions, lesions, torch.tensor([True] * 3))
    assert {name: float(value) for name, value in none.items()} == {"map": 0.0}


class Decided(nn.Module):
    """A classifier that gives lesions three times the odds, whatever it sees."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tensor([0.0, math.log(3)]).expand(len(x), 2)


def test_the_terms_of_biomarker_localisation_are_worked_by_hand() -> None:
    x, normal_version = torch.full((2, 1, 2, 2), 0.5), torch.full((2, 1, 2, 2), 0.2)
    loss = BiomarkerLoss(Decided(), adversarial=0.5, classified=2.0, closeness=10.0)
    terms = loss(x, normal_version, x - normal_version, torch.tensor([True, False]), torch.tensor([1.0, 3.0]))
    assert {name: float(value) for name, value in terms.items()} == pytest.approx(
        {"closeness": 10 * 0.3, "classified": 2 * math.log(4), "adversarial": -0.5 * 2}
    )


def test_biomarker_localisation_trains_generator_and_critic_but_not_the_classifier(
    classifier: nn.Module,
) -> None:
    frozen = copy.deepcopy(classifier).requires_grad_(True).train()
    before = copy.deepcopy(frozen.state_dict())
    engine = trainer(separator=LesionSeparator(filters=4, lesions=False), loss=BiomarkerLoss(frozen))
    taught = watch(engine)
    engine.run()
    assert taught == [engine.critic, engine.separator] * 2
    assert all(torch.equal(value, before[name]) for name, value in frozen.state_dict().items())
    assert all(parameter.grad is None for parameter in frozen.parameters())


def test_the_classifier_shows_the_generator_where_the_lesion_is(classifier: nn.Module) -> None:
    images, labels = stacked(Slices(2, 64))
    lesion = images[labels == 1].requires_grad_()
    loss = BiomarkerLoss(copy.deepcopy(classifier), closeness=0.0)
    loss(lesion, lesion, lesion, labels == 0)["classified"].backward()
    gradient = lesion.grad[0, 0].abs()  # type: ignore[index]
    assert gradient[8:16, 8:16].mean() > 2 * gradient.mean() > 0


def test_va_gan_makes_normal_versions_only_of_slices_with_lesions() -> None:
    engine = trainer(separator=MapNetwork(filters=4), loss=MapLoss(), made_from="lesions", critic_steps=2)
    taught = watch(engine)
    seen: list[torch.Tensor] = []
    engine.separator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    engine.run()
    assert taught == [engine.critic, engine.critic, engine.separator] * 2
    images, labels = stacked(Slices())
    batches = [images[:4][labels[:4] == 1], images[4:][labels[4:] == 1]]
    torch.testing.assert_close(seen, batches)  # one pass serves all steps
    assert set(engine.state.output[0]) == {"critic", "gradient penalty", "map", "adversarial", "loss"}  # type: ignore


def test_va_gan_learns_nothing_from_a_batch_without_lesions() -> None:
    normal = DataLoader(Slices().items[::2], batch_size=4)  # type: ignore[arg-type]
    engine = trainer(separator=MapNetwork(filters=4), loss=MapLoss(), made_from="lesions", train_data_loader=normal)
    taught = watch(engine)
    engine.run()
    assert taught == [] and engine.state.output == [{"loss": 0}]


def test_normal_versions_are_made_from_one_of_two_sets_of_slices() -> None:
    with pytest.raises(ValueError, match=r"made_from must be 'all' or 'lesions', got 'normal'"):
        trainer(made_from="normal")
