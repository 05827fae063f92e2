"""Losses that MONAI lacks: those of *Towards unbiased COVID-19 lesion localisation*, section 2.2."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


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
    """What encoder and both decoders are trained by, equations (1), (2), (4) and (5).

    Args:
        adversarial: weight of the critic's verdict on normal versions.
        reconstruction: weight of normal version and lesions giving the slice again.
        fidelity: weight of normal slices being their own normal version.
        norm: of the last two, see :func:`distance`.
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
        fidelity = distance(x, normal_version, self.norm)[is_normal]
        terms["fidelity"] = self.fidelity * fidelity.sum() / max(1, len(fidelity))
        if verdict is not None:
            terms["adversarial"] = -self.adversarial * verdict.mean()
        return terms


class CriticLoss(nn.Module):
    """What the critic is trained by, equation (3): WGAN-GP.

    Args:
        penalty: weight of the gradient penalty.
    """

    def __init__(self, penalty: float = 10.0) -> None:
        super().__init__()
        self.penalty = penalty

    def forward(
        self, critic: Callable[[torch.Tensor], torch.Tensor], real: torch.Tensor, made: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """The weighted terms by name; their sum is the loss.

        Args:
            critic: (B, 1, H, W) to (B,).
            real: normal slices (N, 1, H, W), N of 1 or more.
            made: normal versions (B, 1, H, W).
        """
        verdict = critic(made).mean() - critic(real).mean()
        pairs = real[torch.randint(len(real), (len(made),), device=real.device)]  # as many as there are versions
        return {"critic": verdict, "gradient penalty": self.penalty * gradient_penalty(critic, pairs, made)}


def gradient_penalty(
    critic: Callable[[torch.Tensor], torch.Tensor], real: torch.Tensor, made: torch.Tensor
) -> torch.Tensor:
    """Mean of (|gradient| - 1)^2 at random points between real and made slices (Gulrajani et al. 2017, section 4).

    Always in float32: a gradient's norm does not survive 16 bits.

    Args:
        critic: (B, 1, H, W) to (B,).
        real: (B, 1, H, W).
        made: the same shape.
    """
    with torch.autocast(real.device.type, enabled=False):
        real, made = real.float(), made.detach().float()
        share = torch.rand(len(real), 1, 1, 1, device=real.device)
        between = (share * real + (1 - share) * made).requires_grad_()
        (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        return (gradient.flatten(1).norm(dim=1) - 1).square().mean()
