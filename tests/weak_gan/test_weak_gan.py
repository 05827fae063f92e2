"""Separator, critic, their losses and their training engine."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from ignite.engine import Events
from torch import nn
from torch.utils.data import DataLoader
from weak_gan_parts import Slices, trainer, watch

from common import inferers
from common.networks.weak_gan import Critic, LesionSeparator
from common.weak_gan.losses import CriticLoss, SeparationLoss, distance, gradient_penalty


class Linear(nn.Module):
    """A critic whose gradient is known: its weights."""

    def __init__(self, weights: torch.Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * self.weights).sum((1, 2, 3))


def test_gradient_penalty_of_a_linear_critic_is_worked_by_hand() -> None:
    critic = Linear(torch.tensor([[3.0, 0.0], [0.0, 4.0]]))  # |gradient| = 5 everywhere
    real, fake = torch.rand(3, 1, 2, 2), torch.rand(3, 1, 2, 2)
    penalty = gradient_penalty(critic, real, fake)
    assert float(penalty.detach()) == pytest.approx((5 - 1) ** 2)
    penalty.backward()
    # d/dw (|w| - 1)^2 = 2 (|w| - 1) w / |w|
    torch.testing.assert_close(critic.weights.grad, 2 * 4 * critic.weights.detach() / 5)


def test_the_critics_loss_is_wasserstein_with_penalty() -> None:
    critic = Linear(torch.full((2, 2), 0.5))  # |gradient| = 1, no penalty
    real, fake = torch.ones(2, 1, 2, 2), torch.zeros(3, 1, 2, 2)
    terms = CriticLoss(penalty=10)(critic, real, fake)
    assert float(terms["critic"].detach()) == pytest.approx(-2.0)  # 0 for fake slices, 4 * 0.5 for real ones
    assert float(terms["gradient penalty"].detach()) == pytest.approx(0.0, abs=1e-12)
    doubled = CriticLoss(penalty=10)(Linear(torch.full((2, 2), 1.0)), real, fake)
    assert float(doubled["gradient penalty"].detach()) == pytest.approx(10.0)


def test_gradient_penalty_is_float32_under_mixed_precision() -> None:
    critic = Critic(filters=2)
    real, fake = torch.rand(2, 1, 16, 16), torch.rand(2, 1, 16, 16)
    torch.manual_seed(0)
    plain = gradient_penalty(critic, real, fake)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = gradient_penalty(critic, real, fake.bfloat16().float())
    assert mixed.dtype == torch.float32
    assert float(mixed.detach()) == pytest.approx(float(plain.detach()), rel=1e-3)


@pytest.mark.parametrize("norm", [1, 2])
def test_a_perfectly_separated_normal_slice_has_no_loss(norm: int) -> None:
    x = torch.rand(2, 1, 4, 4) * 2 - 1
    terms = SeparationLoss(norm=norm)(x, x, torch.zeros_like(x), torch.tensor([True, True]))
    assert float(sum(terms.values())) == pytest.approx(0.0, abs=2e-4)


def test_the_separators_loss_terms_have_the_papers_weights() -> None:
    x, normal, lesions = torch.full((2, 1, 2, 2), 0.5), torch.full((2, 1, 2, 2), 0.2), torch.zeros(2, 1, 2, 2)
    is_normal, critic_score = torch.tensor([True, False]), torch.tensor([1.0, 3.0])
    terms = SeparationLoss()(x, normal, lesions, is_normal, critic_score)
    assert float(terms["reconstruction"]) == pytest.approx(100 * 0.3)
    assert float(terms["fidelity"]) == pytest.approx(100 * 0.3)  # of the normal slice alone
    assert float(terms["adversarial"]) == pytest.approx(-0.01 * 2)
    ill = SeparationLoss()(x, normal, lesions, torch.tensor([False, False]))
    assert float(ill["fidelity"]) == 0 and "adversarial" not in ill
    assert distance(x, normal, 2).tolist() == pytest.approx([0.3, 0.3])


def test_networks_have_the_papers_shapes_and_ranges() -> None:
    x = torch.rand(2, 1, 32, 48) * 2 - 1
    both = LesionSeparator(filters=4)(x)
    assert both.shape == (2, 2, 32, 48) and both.abs().max() <= 1
    rest = LesionSeparator(filters=4, lesions=False)(x)
    torch.testing.assert_close(rest.sum(1, keepdim=True), x)
    critic = Critic(filters=4)
    assert critic(x).shape == (2,)
    assert sum(isinstance(layer, (nn.Conv2d, nn.Linear)) for layer in critic.modules()) == 7
    assert critic.decision.in_features == 4 + 8 + 16  # the averages of all three down-sampled maps


def test_each_step_trains_one_network_and_does_not_change_the_other() -> None:
    engine = trainer()
    taught = watch(engine)
    engine.run()
    assert taught == [engine.critic, engine.separator] * 2
    assert set(engine.state.output[0]) == {  # type: ignore[arg-type]
        *("critic", "gradient penalty", "reconstruction", "fidelity", "adversarial", "loss")
    }


def test_mixed_precision_leaves_the_penalty_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inferers, "mixed_precision", lambda _: torch.bfloat16)
    engine = trainer(inferer=inferers.MixedPrecisionInferer(amp=True, half=False))
    seen: list[torch.dtype] = []
    engine.critic.pairs[0][0].register_forward_hook(lambda *call: seen.append(call[2].dtype))  # type: ignore
    engine.run()
    # fake, real, between the two, and the separator's step
    assert seen[:4] == [torch.bfloat16, torch.bfloat16, torch.float32, torch.bfloat16]


def test_without_critic_the_loss_has_no_adversarial_terms() -> None:
    engine = trainer(critic=False)
    engine.run()
    assert set(engine.state.output[0]) == {"reconstruction", "fidelity", "loss"}  # type: ignore[arg-type]


def test_training_lowers_the_reconstruction() -> None:
    engine = trainer(epochs=25, rate=1e-2)
    seen: list[float] = []
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda e: seen.append(e.state.output[0]["reconstruction"]))
    engine.run()
    assert np.mean(seen[-4:]) < 0.5 * np.mean(seen[:4])


def test_a_loss_that_is_not_finite_stops_the_run_with_its_name_and_changes_nothing() -> None:
    engine = trainer()
    batch = Slices().items[:2]
    batch[0]["image"][0, 0, 0] = float("nan")
    engine.data_loader = DataLoader(batch, batch_size=2)  # type: ignore[arg-type]
    before = copy.deepcopy(engine.critic.state_dict())  # type: ignore[union-attr]
    with pytest.raises(ValueError, match=r"Every loss must be finite, got critic nan in epoch 1, iteration 1.*last.pt"):
        engine.run()
    assert all(torch.equal(value, before[name]) for name, value in engine.critic.state_dict().items())  # type: ignore
