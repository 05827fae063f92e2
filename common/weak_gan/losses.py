"""Losses that MONAI lacks: those of *Towards unbiased COVID-19 lesion localisation*, and of what it compares with."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional


def distance(x: torch.Tensor, y: torch.Tensor, norm: int = 1) -> torch.Tensor:
    """How far slices lie apart, (B,): mean absolute difference of pixels (1), or its root mean square (2).

    The text takes the L1 or L2 norm without saying which; divided by the number of pixels, its weights hold for any
    size.

    Args:
        x: (B, C, H, W).
        y: the same shape.
        norm: 1 or 2.

    Raises:
        ValueError: for another norm.
    """
    if norm not in (1, 2):
        raise ValueError(f"The norm is 1 or 2, got {norm}.")
    difference = (x - y).flatten(1)
    # Epsilon, since the root has no derivative where slices are equal
    return difference.abs().mean(1) if norm == 1 else (difference.square().mean(1) + 1e-12).sqrt()


class SeparationLoss(nn.Module):
    """What encoder and both decoders are trained by, section 2.2, equations (1), (2), (4) and (5).

    Args:
        adversarial: weight of the critic's verdict on normal versions.
        reconstruction: weight of normal version and lesions giving the slice again.
        fidelity: weight of normal slices being their own normal version.
        norm: of the last two, see ``distance``.
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
        verdict: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """The weighted terms by name; their sum is the loss.

        Args:
            x: slices (B, 1, H, W).
            normal_version: the same shape.
            lesions: the same shape.
            is_normal: bool (B,), slices without lesions. Where there is none, fidelity is 0.
            verdict: of the critic on the normal versions, (B,); None without critic.
        """
        terms = {"reconstruction": self.reconstruction * distance(x, normal_version + lesions, self.norm).mean()}
        terms["fidelity"] = self.fidelity * _mean(distance(x, normal_version, self.norm)[is_normal])
        if verdict is not None:
            terms["adversarial"] = -self.adversarial * verdict.mean()
        return terms


class MapLoss(nn.Module):
    """What VA-GAN's map is trained by (Baumgartner et al., CVPR 2018): the critic's verdict, and the size of the map.

    Slices with lesions alone count: train with ``SeparationTrainer(made_from="lesions")``, and ``CriticLoss``,
    whose penalty of 10 is the authors' too. As in their code (github.com/baumgach/vagan-code), the size is the mean of
    |M(x)| over pixels. Their other settings: Adam with betas 0 and 0.9 and learning rate 1e-3 (of which they say that
    1e-4 works a bit better), and 5 steps of the critic for one of the map, ``critic_steps``, each on a batch of its
    own, where SeparationTrainer takes them on one. Their 100 steps in each of the first 25 iterations and in every
    hundredth are not offered.

    Args:
        adversarial: weight of the critic's verdict on normal versions.
        size: weight of the map's size. Removing a lesion of A pixels from a slice of N can pay only where sqrt(A) <
            N adversarial / size, for the critic's slope is 1: always with 256 x 256, hardly ever with 32 x 32.
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
        verdict: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """The weighted terms by name, each 0 where no slice has lesions; see ``SeparationLoss.forward``."""
        terms = {"map": self.size * _mean(lesions.abs().mean((1, 2, 3))[~is_normal])}
        if verdict is not None:
            terms["adversarial"] = -self.adversarial * _mean(verdict[~is_normal])
        return terms


class BiomarkerLoss(nn.Module):
    """What the generator of biomarker localisation is trained by (Zhang et al., MICCAI 2019).

    Its abstract says that a classifier and a discriminator help an encoder-decoder to remove biomarkers, which are then
    input less output. The paper itself was not at hand. Chosen here: the normal version of every slice, normal ones
    too, is to be called normal by the classifier (cross-entropy), to please a WGAN-GP critic, and to stay close to the
    slice (mean absolute difference); critic and closeness are weighted as in VA-GAN, the classifier as the critic.

    Args:
        classifier: (B, 1, H, W) to logits (B, 2), normal first; trained, on the slices' device. It is frozen here, and
            always evaluates.
        adversarial: weight of the critic's verdict on normal versions.
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
        verdict: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """The weighted terms by name; see ``SeparationLoss.forward``."""
        logits = self.classifier.eval()(normal_version)  # batch norm that trains would move its running mean
        wanted = torch.zeros(len(x), dtype=torch.long, device=x.device)
        terms = {
            "closeness": self.closeness * distance(x, normal_version).mean(),
            "classified": self.classified * functional.cross_entropy(logits, wanted),
        }
        if verdict is not None:
            terms["adversarial"] = -self.adversarial * verdict.mean()
        return terms


class ClassificationLoss(nn.Module):
    """Cross-entropy of a classifier of slices, whose two logits take the places of normal version and lesions."""

    def forward(
        self,
        x: torch.Tensor,
        normal_version: torch.Tensor,
        lesions: torch.Tensor,
        is_normal: torch.Tensor,
        verdict: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """The term by name; the logits are (B, 1) each, see ``SeparationLoss.forward`` for the rest."""
        logits = torch.cat([normal_version, lesions], dim=1)
        return {"classification": nn.functional.cross_entropy(logits, (~is_normal).long())}


class CriticLoss(nn.Module):
    """What the critic is trained by, section 2.2, equation (3): WGAN-GP.

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
        made: torch.Tensor,
        judge: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> dict[str, torch.Tensor]:
        """The weighted terms by name; their sum is the loss.

        Args:
            critic: (B, 1, H, W) to (B,); the penalty is of its gradient.
            real: normal slices (N, 1, H, W), N of 1 or more.
            made: normal versions (B, 1, H, W).
            judge: the critic in mixed precision, for the other term.
        """
        judge = judge or critic
        verdict = judge(made).mean() - judge(real).mean()
        pairs = real[torch.randint(len(real), (len(made),), device=real.device)]  # as many as there are versions
        return {"critic": verdict, "gradient penalty": self.penalty * gradient_penalty(critic, pairs, made)}


def gradient_penalty(
    critic: Callable[[torch.Tensor], torch.Tensor], real: torch.Tensor, made: torch.Tensor
) -> torch.Tensor:
    """Mean of (|gradient| - 1)^2 at random points between real and made slices (Gulrajani et al. 2017, section 4).

    Always in float32: a gradient's norm does not survive 16 bits.

    Args:
        critic: (B, 1, H, W) to (B,), which does not turn to mixed precision by itself.
        real: (B, 1, H, W).
        made: the same shape.
    """
    with torch.autocast(real.device.type, enabled=False):
        real, made = real.float(), made.detach().float()
        share = torch.rand(len(real), 1, 1, 1, device=real.device)
        between = (share * real + (1 - share) * made).requires_grad_()
        (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


def _mean(values: torch.Tensor) -> torch.Tensor:
    """Mean of (N,), and 0 of nothing."""
    return values.sum() / max(1, len(values))
