"""The methods and ablations of *Towards unbiased COVID-19 lesion localisation*, by the names that configs use.

Each has a network, a loss, and an inferer that gives heatmaps.
"""

from __future__ import annotations

import torch
from monai.inferers import Inferer
from torch import nn

from ..networks.lesion_classifier import lesion_classifier
from ..networks.va_gan import MapNetwork
from ..networks.weak_gan import LesionSeparator
from ..outliers.monitor import Monitor
from ..transfer import load_weights
from .cam import CamInferer
from .heatmap import HeatmapInferer, ReferenceInferer
from .losses import BiomarkerLoss, ClassificationLoss, MapLoss, SeparationLoss

CLASSIFIERS = ("cam", "gradcam")
REFERENCES = ("lung", "brightness")  # heatmaps that need no network; not in the paper
METHODS = ("separation", "vagan", "biomarker", *CLASSIFIERS, *REFERENCES)  # sections 2 and 3.2
ABLATIONS = ("", "fidelity", "decoder", "critic")  # section 3.3


def check(method: str, without: str = "") -> None:
    """Check the names of method and ablation.

    Raises:
        ValueError: for an unknown method or ablation, or for an ablation of another method than ``separation``.
    """
    if method not in METHODS:
        raise ValueError(f"Unknown method {method!r}. Choose one of {', '.join(METHODS)}.")
    if without not in ABLATIONS:
        raise ValueError(f"Unknown ablation {without!r}. Choose one of {', '.join(ABLATIONS[1:])}.")
    if without and method != "separation":
        raise ValueError(
            f"--without {without} is an ablation of --method separation, got --method {method}. Leave out one of them."
        )


def has_critic(method: str, without: str = "") -> bool:
    """Return whether the method trains a critic."""
    check(method, without)
    return method not in (*CLASSIFIERS, *REFERENCES) and without != "critic"


def network(method: str, without: str = "", filters: int = 64) -> nn.Module:
    """Build the network of a method; references have none and get an identity.

    Args:
        method: one of ``METHODS``.
        without: one of ``ABLATIONS``.
        filters: channels of the first level.

    Raises:
        ValueError: as ``check`` does.
    """
    check(method, without)
    if method in REFERENCES:
        return nn.Identity()
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
    """Build the loss of a method, for ``common.weak_gan.trainer.SeparationTrainer``.

    Args:
        method: one of ``METHODS``.
        without: one of ``ABLATIONS``. ``fidelity`` sets the weight of that term to 0. With ``decoder``, the
            reconstruction is exact by definition.
        adversarial: weight of the critic's score, for ``separation``.
        reconstruction: weight of the reconstruction, for ``separation``.
        fidelity: weight of the fidelity, for ``separation``.
        norm: norm of reconstruction and fidelity, 1 or 2.
        map_size: weight of the size of the change, for ``vagan`` and ``biomarker``.
        classifier: path of the weights of a classifier trained with ``--method cam``, for ``biomarker``.
        filters: channels of the first level of that classifier.
        device: device of that classifier.

    Raises:
        ValueError: as ``check`` does, for a reference, or if ``biomarker`` has no classifier.
        FileNotFoundError: if the classifier's file does not exist.
    """
    check(method, without)
    if method in REFERENCES:
        raise ValueError(f"--method {method} has no network to train. Evaluate it, beside the weights of any method.")
    if method in CLASSIFIERS:
        return ClassificationLoss()
    if method == "vagan":
        return MapLoss(size=map_size)
    if method == "biomarker":
        if not classifier:
            raise ValueError(
                "--method biomarker needs a trained classifier, got none. Train one with --method cam, and give its "
                "model.pt as --classifier."
            )
        trained = load_weights(lesion_classifier(filters), classifier, "--classifier, trained with --method cam")
        return BiomarkerLoss(trained.to(device), closeness=map_size)
    return SeparationLoss(adversarial, reconstruction, 0.0 if without == "fidelity" else fidelity, norm)


def inferer(
    method: str,
    amp: bool = False,
    slices_at_once: int = 1,
    heat: str = "positive",
    monitor: Monitor | None = None,
) -> Inferer:
    """Build the inferer that gives the heatmaps of a method; for separators, the normal version is a second channel.

    Args:
        method: one of ``METHODS``.
        amp: mixed precision; classifiers ignore it.
        slices_at_once: batch size in volumes.
        heat: how a separator's lesions become heat, see ``common.weak_gan.heatmap.HeatmapInferer``; others ignore it.
        monitor: see ``common.inferers.FastCall``; of separators.

    Shapes:
        (B, 1, H, W) to (B, 1 or 2, H, W), or (N, 1, H, W, Z) to (N, 1 or 2, H, W, Z).
    """
    check(method)
    if method in CLASSIFIERS:
        return CamInferer(method, slices_at_once=slices_at_once)
    if method in REFERENCES:
        return ReferenceInferer(method, slices_at_once)
    return HeatmapInferer(heat, slices_at_once, amp, monitor)
