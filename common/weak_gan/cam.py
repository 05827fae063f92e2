"""Heatmaps of a classifier: CAM and Grad-CAM."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from monai.visualize import CAM, GradCAM
from torch import nn
from torch.nn import functional

from ..inferers import SlicesInferer


class CamInferer(SlicesInferer):
    """Compute heatmaps of a class by CAM (Zhou et al., CVPR 2016) or Grad-CAM (Selvaraju et al., ICCV 2017).

    The maps are MONAI's, interpolated to the slice's size. CAM leaves out the bias of the last layer, as its paper
    does. Each slice's map passes ReLU and is divided by its maximum; *Towards unbiased COVID-19 lesion localisation*
    does not state how it scales them. Neither method depends on whether the classifier predicts the class, so the maps
    of normal slices have a maximum of 1 too. Gradients are enabled inside, also under ``torch.no_grad``. The classifier
    is not changed.

    Args:
        method: ``cam`` or ``gradcam``.
        layer: name of the classifier's layer that gives the maps; for CAM the last layer before pooling and ``fc``.
        target: index of the class.
        slices_at_once: batch size in volumes.

    Shapes:
        (B, 1, H, W) to heatmaps (B, 1, H, W) in 0..1; (N, 1, H, W, Z) to (N, 1, H, W, Z).

    Raises:
        ValueError: for an unknown method, or a layer that the classifier does not have.
    """

    def __init__(self, method: str = "cam", layer: str = "layer4", target: int = 1, slices_at_once: int = 1) -> None:
        super().__init__(slices_at_once)
        if method not in ("cam", "gradcam"):
            raise ValueError(f"Unknown method {method!r}. Choose 'cam' or 'gradcam'.")
        self.method, self.layer, self.target = method, layer, target

    def __call__(self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        """Compute the heatmaps of slices or volumes; ``network`` is the classifier."""
        return super().__call__(inputs, self._visualiser(network))  # type: ignore[arg-type]

    def _visualiser(self, network: nn.Module) -> Callable[..., torch.Tensor]:
        """Return MONAI's function from slices to scaled maps."""
        layers = [name for name, _ in network.named_modules()]
        if self.layer not in layers:
            raise ValueError(f"The classifier has no layer {self.layer!r}. Choose one of: {', '.join(layers[1:])}.")
        with torch.inference_mode(False):
            # a copy, because MONAI adds hooks and gradients to the network, and its views fail on channels-last memory
            network = copy.deepcopy(network).requires_grad_(False).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        if self.method == "gradcam":
            return partial(GradCAM(network, self.layer, postprocessing=_scaled), class_idx=self.target)
        maps = CAM(network, self.layer, _weights, postprocessing=_scaled)
        return lambda x: maps(x, class_idx=[self.target] * len(x))

    def of_slices(self, network: Callable[..., Any], slices: torch.Tensor) -> torch.Tensor:
        """Map slices (B, 1, H, W) to heatmaps (B, 1, H, W); ``network`` is MONAI's function."""
        with torch.inference_mode(False), torch.enable_grad():
            return network(slices.clone(memory_format=torch.contiguous_format).requires_grad_()).detach()


def _weights(network: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the last layer without its bias."""
    return partial(functional.linear, weight=network.fc.weight)  # type: ignore[arg-type, union-attr]


def _scaled(maps: torch.Tensor) -> torch.Tensor:
    """Scale maps (B, 1, H, W) to 0..1, each to a maximum of 1, or to 0 where no value is positive."""
    maps = maps.relu()
    return maps / maps.amax((1, 2, 3), keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)
