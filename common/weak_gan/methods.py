"""The paper's method, its ablations and what it is compared with, by their words (*Towards unbiased ... localisation*).

One place assembles what a config of ``ct_weak_gan`` names: a network, a loss, an inferer that gives heat.
"""

from __future__ import annotations

import torch
from monai.inferers import Inferer
from torch import nn

from ..networks.lesion_classifier import lesion_classifier
from ..networks.va_gan import MapNetwork
from ..networks.weak_gan import LesionSeparator
from ..transfer import load_weights
from .cam import CamInferer
from .heatmap import HeatmapInferer
from .losses import BiomarkerLoss, ClassificationLoss, MapLoss, SeparationLoss

METHODS = ("separation", "vagan", "biomarker", "cam", "gradcam")  # sections 2 and 3.2
CLASSIFIERS = ("cam", "gradcam")
ABLATIONS = ("", "fidelity", "decoder", "critic")  # section 3.3


def check(method: str, without: str = "") -> None:
    """Refuse words that mean nothing.

    Raises:
        ValueError: for an unknown method or ablation, or an ablation of another method than the paper's.
    """
    if method not in METHODS:
        raise ValueError(f"Unknown method {method!r}. Choose one of {', '.join(METHODS)}.")
    if without not in ABLATIONS:
        raise ValueError(f"Nothing is called {without!r} to leave out. Choose one of {', '.join(ABLATIONS[1:])}.")
    if without and method != "separation":
        raise ValueError(f"--without {without} is an ablation of --method separation, got --method {method}.")


def has_critic(method: str, without: str = "") -> bool:
    """Whether a critic takes part."""
    check(method, without)
    return method not in CLASSIFIERS and without != "critic"


def network(method: str, without: str = "", filters: int = 64) -> nn.Module:
    """The network of a method.

    Args:
        method: one of ``METHODS``.
        without: one of ``ABLATIONS``.
        filters: channels of its first level.

    Raises:
        ValueError: as ``check``.
    """
    check(method, without)
    if method in CLASSIFIERS:
        return lesion_classifier(filters)
    if method == "vagan":
        return MapNetwork(filters)
    return LesionSeparator(filters, lesions=method == "separation" and without != "decoder")


def loss(
    method: str,
    without: str = "",
    adversarial: float = 0.01,
    reconstruction: float = 100.0,
    fidelity: float = 100.0,
    norm: int = 1,
    map_size: float = 100.0,
    classifier: str = "",
    filters: int = 64,
    device: str | torch.device = "cpu",
) -> nn.Module:
    """The loss of a method, for ``common.weak_gan.trainer.SeparationTrainer``.

    Args:
        method: one of ``METHODS``.
        without: one of ``ABLATIONS``. Without fidelity that term's weight is 0; without decoder the reconstruction is
            perfect by definition.
        adversarial: weight of the paper's method, as the next two.
        reconstruction: the same.
        fidelity: the same.
        norm: of the last two, 1 or 2.
        map_size: of VA-GAN and biomarker localisation: weight of what they change.
        classifier: checkpoint of ``--method cam``, which biomarker localisation is taught by.
        filters: of that classifier.
        device: where it goes.

    Raises:
        ValueError: as ``check``, or without a classifier where one is needed.
        FileNotFoundError: where its file is missing.
    """
    check(method, without)
    if method in CLASSIFIERS:
        return ClassificationLoss()
    if method == "vagan":
        return MapLoss(size=map_size)
    if method == "biomarker":
        if not classifier:
            raise ValueError("--method biomarker is taught by a classifier. Train --method cam, give its --classifier.")
        advice = "Train it with --method cam."
        taught = load_weights(lesion_classifier(filters), classifier, advice, words="--filters")
        return BiomarkerLoss(taught.to(device), closeness=map_size)
    return SeparationLoss(adversarial, reconstruction, 0.0 if without == "fidelity" else fidelity, norm)


def inferer(method: str, amp: bool = False, slices_at_once: int = 1) -> Inferer:
    """What makes heat of a network: (B, 1, H, W) to heat, for separators with the normal version behind it.

    Args:
        method: one of ``METHODS``.
        amp: mixed precision, not for classifiers.
        slices_at_once: of volumes.
    """
    check(method)
    if method in CLASSIFIERS:
        return CamInferer(method, slices_at_once=slices_at_once)
    return HeatmapInferer(slices_at_once=slices_at_once, amp=amp)
