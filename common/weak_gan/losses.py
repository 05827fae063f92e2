"""Losses of *Towards unbiased COVID-19 lesion localisation*, and of the methods that it is compared with."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional


def distance(x: torch.Tensor, y: torch.Tensor, norm: int = 1) -> torch.Tensor:
    """Return the distance between slices, (B,): mean absolute (1) or root mean square (2) difference of the pixels.

    The paper uses the L1 or L2 norm, but does not state which. The mean over the pixels makes the weights of the losses
    independent of the image size.

    Args:
        x: slices (B, C, H, W).
        y: slices of the same shape.
        norm: 1 or 2.

    Raises:
        ValueError: for another norm.
    """
    if norm not in (1, 2):
        raise ValueError(f"norm must be 1 or 2, got {norm}. Choose one of them.")
    difference = (x - y).flatten(1)
    # 1e-12, because the root has no derivative where slices are equal
    return difference.abs().mean(1) if norm == 1 else (difference.square().mean(1) + 1e-12).sqrt()


class SeparationLoss(nn.Module):
    """Loss of the separator: encoder and both decoders (section 2.2, equations 1, 2, 4 and 5).

    Args:
        adversarial: weight of the critic's score of the normal versions.
        reconstruction: weight of the distance between a slice and the sum of its normal version and lesions.
        fidelity: weight of the distance between a normal slice and its normal version.
        norm: norm of these two distances; see ``distance``.
    """

    def __init__(
        self, adversarial: float = 0.01, reconstruction: float = 100.0, fidelity: float = 100.0, norm: int = 1
    ) -> None:
        super().__init__()
        self.adversarial, self.reconstruction, self.fidelity = adversarial, reconstruction, fidelity
        self.norm = norm

    def forward(
        self,
        x: torch.Tensor,
        normal_version: torch.Tensor,
        lesions: torch.Tensor,
        is_normal: torch.Tensor,
        critic_score: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Compute the weighted terms by name; their sum is the loss.

        Args:
            x: slices (B, 1, H, W).
            normal_version: their normal versions, of the same shape.
            lesions: their lesions, of the same shape.
            is_normal: bool (B,), True for slices without lesions. Without any, fidelity is 0.
            critic_score: the critic's scores of the normal versions, (B,); None without critic.
        """
        terms = {"reconstruction": self.reconstruction * distance(x, normal_version + lesions, self.norm).mean()}
        terms["fidelity"] = self.fidelity * _mean_or_zero(distance(x, normal_version, self.norm)[is_normal])
        if critic_score is not None:
            terms["adversarial"] = -self.adversarial * critic_score.mean()
        return terms


class MapLoss(nn.Module):
    """Loss of VA-GAN's map (Baumgartner et al., CVPR 2018): the critic's score, and the size of the map.

    Only slices with lesions count. Train with ``SeparationTrainer(made_from="lesions")`` and ``CriticLoss``, whose
    penalty of 10 the authors use too. The size is the mean of |M(x)| over the pixels, as in their code
    (github.com/baumgach/vagan-code).

    The authors' other settings are Adam with betas 0 and 0.9, a learning rate of 1e-3 (they note that 1e-4 works a bit
    better), and five steps of the critic per step of the map (``critic_steps``). They take each of the five steps on a
    new batch; ``SeparationTrainer`` takes all on one batch. In the first 25 iterations and in every hundredth they take
    100 steps of the critic, which is not offered here.

    Args:
        adversarial: weight of the critic's score of the normal versions.
        size: weight of the map's size. Removing a lesion of A pixels from a slice of N pixels can lower the loss only
            if sqrt(A) < N adversarial / size, because the critic's slope is 1. This always holds with 256 x 256 pixels,
            and hardly ever with 32 x 32.
    """

    def __init__(self, adversarial: float = 1.0, size: float = 100.0) -> None:
        super().__init__()
        self.adversarial, self.size = adversarial, size

    def forward(
        self,
        x: torch.Tensor,
        normal_version: torch.Tensor,
        lesions: torch.Tensor,
        is_normal: torch.Tensor,
        critic_score: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Compute the weighted terms by name, 0 if no slice has lesions; see ``SeparationLoss.forward``."""
        terms = {"map": self.size * _mean_or_zero(lesions.abs().mean((1, 2, 3))[~is_normal])}
        if critic_score is not None:
            terms["adversarial"] = -self.adversarial * _mean_or_zero(critic_score[~is_normal])
        return terms


class BiomarkerLoss(nn.Module):
    """Loss of the generator of biomarker localisation (Zhang et al., MICCAI 2019).

    According to its abstract, a classifier and a discriminator train an encoder-decoder to remove biomarkers, which are
    then the input minus the output. The full paper was not available, so the terms are our choice. They apply to the
    normal version of every slice, normal slices included: the classifier should call it normal (cross-entropy), a
    WGAN-GP critic should score it as normal, and it should stay close to the slice (mean absolute difference). Critic
    and closeness have the weights of VA-GAN; the classifier has the weight of the critic.

    Args:
        classifier: trained network (B, 1, H, W) to logits (B, 2), normal first, on the device of the slices. It is
            frozen and stays in evaluation mode.
        adversarial: weight of the critic's score of the normal versions.
        classified: weight of the classifier's cross-entropy.
        closeness: weight of the distance between slice and normal version.
    """

    def __init__(
        self, classifier: nn.Module, adversarial: float = 1.0, classified: float = 1.0, closeness: float = 100.0
    ) -> None:
        super().__init__()
        self.classifier = classifier.requires_grad_(False)
        self.adversarial, self.classified, self.closeness = adversarial, classified, closeness

    def forward(
        self,
        x: torch.Tensor,
        normal_version: torch.Tensor,
        lesions: torch.Tensor,
        is_normal: torch.Tensor,
        critic_score: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Compute the weighted terms by name; see ``SeparationLoss.forward``."""
        logits = self.classifier.eval()(normal_version)  # in training mode, batch norm would change its running mean
        normal = torch.zeros(len(x), dtype=torch.long, device=x.device)
        terms = {
            "closeness": self.closeness * distance(x, normal_version).mean(),
            "classified": self.classified * functional.cross_entropy(logits, normal),
        }
        if critic_score is not None:
            terms["adversarial"] = -self.adversarial * critic_score.mean()
        return terms


class ClassificationLoss(nn.Module):
    """Cross-entropy of a slice classifier, whose two logits stand in for normal version and lesions."""

    def forward(
        self,
        x: torch.Tensor,
        normal_version: torch.Tensor,
        lesions: torch.Tensor,
        is_normal: torch.Tensor,
        critic_score: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Compute the term by name. The logits are (B, 1) each; for the rest see ``SeparationLoss.forward``."""
        logits = torch.cat([normal_version, lesions], dim=1)
        return {"classification": nn.functional.cross_entropy(logits, (~is_normal).long())}


class CriticLoss(nn.Module):
    """Loss of the critic: WGAN-GP (section 2.2, equation 3).

    Args:
        penalty: weight of the gradient penalty.
    """

    def __init__(self, penalty: float = 10.0) -> None:
        super().__init__()
        self.penalty = penalty

    def forward(
        self,
        critic: Callable[[torch.Tensor], torch.Tensor],
        real: torch.Tensor,
        fake: torch.Tensor,
        score: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> dict[str, torch.Tensor]:
        """Compute the weighted terms by name; their sum is the loss.

        Args:
            critic: network (B, 1, H, W) to scores (B,); its gradient is penalised.
            real: normal slices (N, 1, H, W), N at least 1.
            fake: normal versions (B, 1, H, W).
            score: the critic in mixed precision, for the term without gradient; by default ``critic``.
        """
        score = score or critic
        difference = score(fake).mean() - score(real).mean()
        pairs = real[torch.randint(len(real), (len(fake),), device=real.device)]  # one real slice per fake slice
        return {"critic": difference, "gradient penalty": self.penalty * gradient_penalty(critic, pairs, fake)}


def gradient_penalty(
    critic: Callable[[torch.Tensor], torch.Tensor], real: torch.Tensor, fake: torch.Tensor
) -> torch.Tensor:
    """Return the mean of (|gradient| - 1)^2 between real and fake slices (Gulrajani et al. 2017, section 4).

    The gradient is that of the critic, at a random point between each real slice and its fake slice. It is computed in
    float32, because 16 bits are too few for its norm.

    Args:
        critic: network (B, 1, H, W) to scores (B,), which does not switch to mixed precision itself.
        real: real slices (B, 1, H, W).
        fake: fake slices of the same shape.
    """
    with torch.autocast(real.device.type, enabled=False):
        real, fake = real.float(), fake.detach().float()
        share = torch.rand(len(real), 1, 1, 1, device=real.device)
        between = (share * real + (1 - share) * fake).requires_grad_()
        (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


def _mean_or_zero(values: torch.Tensor) -> torch.Tensor:
    """Return the mean of values (N,), or 0 if N is 0."""
    return values.sum() / max(1, len(values))
