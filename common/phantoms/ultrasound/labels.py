"""Dense labels of lung ultrasound: one of seven classes for each pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_closing, binary_opening

from ..fields import Array
from .lung import Lung, PleuraRays

# Gare et al., Dense pixel-labeling for reverse-transfer and diagnostic learning on lung ultrasound, section 2.
INDICES = {
    "A-line": 1,
    "B-line": 2,
    "healthy pleural line": 3,
    "unhealthy pleural line": 4,
    "healthy region": 5,
    "unhealthy region": 6,
    "background": 7,
}

# Where a rib stops more than this share of a ray, the label is background, because nothing can be seen there.
SHADOWED = 0.1


def dense_label(lung: Lung, rays: PleuraRays, visible: list[NDArray[np.bool_]], shadow: Array) -> NDArray[np.uint8]:
    """Return the label of every sample (D, R).

    Args:
        lung: lung of the view.
        rays: the rays at the pleura, at this moment.
        visible: for each order from 2 on, the rays (R,) on which its A-line is visible.
        shadow: share of each ray (R,) that a rib stops, 0 to 1.
    """
    below = lung.z - rays.line
    half = rays.half + 0.8 * lung.probe.pulse
    label = np.where(rays.altered, INDICES["unhealthy region"], INDICES["healthy region"])
    label = np.broadcast_to(label, below.shape).astype(np.uint8)
    for order, shown in zip(lung.orders(), visible, strict=True):
        near = np.abs(lung.z - order * lung.pleura) <= lung.a_line_half()
        label[near & shown & ~rays.altered] = INDICES["A-line"]
    label[rays.b_line & (below > rays.solid)] = INDICES["B-line"]
    line = np.where(rays.altered, INDICES["unhealthy pleural line"], INDICES["healthy pleural line"])
    label = np.where(np.abs(below) <= half, line, label)
    label[(below < -half) | (shadow > SHADOWED)] = INDICES["background"]
    return label.astype(np.uint8)


def tidy(shown: NDArray[np.bool_], rays_per_mm: float) -> NDArray[np.bool_]:
    """Close gaps and remove pieces of less than a few millimetres along the rays (R,), as a human annotator does."""
    gap, piece = (max(int(length * rays_per_mm), 1) for length in (2.0, 2.5))
    padded = np.pad(shown, gap, mode="edge")
    closed = binary_closing(padded, np.ones(gap, bool))[gap:-gap]
    padded = np.pad(closed, piece, mode="edge")
    opened: NDArray[np.bool_] = binary_opening(padded, np.ones(piece, bool))[piece:-piece]
    return opened
