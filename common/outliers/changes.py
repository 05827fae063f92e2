"""Changes of an image that a detector learns to tell from the image as it is.

What is unusual has no examples, except these: any image can be mirrored, sharpened, blurred or cut. Learning from such
examples is outlier exposure (Hendrycks et al., *Deep Anomaly Detection with Outlier Exposure*, 2019).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from monai.networks.layers import GaussianFilter
from torch.nn.functional import interpolate

PARTS = ("texture", "content", "first axis", "second axis")  # of features, see ``common.outliers.features.pooled``
TEXTURE, CONTENT, FIRST, SECOND = PARTS
SHARPER, SMOOTHER, CUT = "sharper", "smoother", "cut"
SIGMA = 1.0  # pixels of the network's input, of the Gaussian filter
EDGES = 2.0  # by which what the filter takes away is enlarged
KEPT = 0.6  # of both sides, where the image is cut


class Change(NamedTuple):
    """A change, and by which features it is told.

    Args:
        apply: to slices (B, channels, X, Y) as the network gets them; the same shape.
        part: one of ``PARTS``.
    """

    apply: Callable[[torch.Tensor], torch.Tensor]
    part: str


def sharper(image: torch.Tensor) -> torch.Tensor:
    """Edges and noise are enlarged, as by a sharp kernel; within the range of the slice."""
    grey = image[:, :1]
    edges = grey + EDGES * (grey - _smooth(grey))
    low, high = (getattr(grey, name)((1, 2, 3), keepdim=True) for name in ("amin", "amax"))
    return torch.cat([edges.clamp(low, high), image[:, 1:]], 1)


def smoother(image: torch.Tensor) -> torch.Tensor:
    """Blurred, as by a smooth kernel."""
    return torch.cat([_smooth(image[:, :1]), image[:, 1:]], 1)


def cut(image: torch.Tensor) -> torch.Tensor:
    """The middle, enlarged to the whole: lungs are cut off."""
    x, y = (round((1 - KEPT) / 2 * size) for size in image.shape[2:])
    middle = image[:, :, x : image.shape[2] - x, y : image.shape[3] - y]
    return interpolate(middle, image.shape[2:], mode="bilinear", align_corners=False)


def _smooth(grey: torch.Tensor) -> torch.Tensor:
    return GaussianFilter(2, SIGMA).to(grey)(grey)  # type: ignore[no-any-return]


CHANGES = {
    FIRST: Change(lambda image: image.flip(2), FIRST),  # left and right of CT, top and bottom of ultrasound
    SECOND: Change(lambda image: image.flip(3), SECOND),
    SHARPER: Change(sharper, TEXTURE),
    SMOOTHER: Change(smoother, TEXTURE),
    CUT: Change(cut, CONTENT),
}


def changed(name: str) -> str:
    """Under which the features of changed images are given, those by which the change is told."""
    return f"{name}, changed"
