"""A patient's opacities: where they lie, and how much they add to the HU of the lung."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..fields import Array, SmoothField, generator, smoothstep
from .anatomy import Body, lung_depth, lung_points, to_scanner

LESION_STREAM = 2

# A voxel is ground-glass if the opacity adds more than this to the aerated lung, HU, before vessels, airways, blur and
# noise.
GROUND_GLASS_ADDS = 110.0
# A voxel is consolidation if more than this share of its air is replaced.
CONSOLIDATED_SHARE = 0.5

# Share of patients by extent of their opacities, similar to published CT series.
SEVERITIES = {"none": 0.06, "mild": 0.25, "moderate": 0.39, "severe": 0.30}
# For each severity: range of the number of opacities, and their median radius in mm.
EXTENT: dict[str, tuple[tuple[int, int], float]] = {
    "none": ((0, 1), 10.0),
    "mild": ((3, 10), 20.0),
    "moderate": ((8, 20), 26.0),
    "severe": ((14, 32), 37.0),
}


@dataclass(frozen=True)
class Lesions:
    """One patient's opacities in scanner coordinates (mm).

    Attributes:
        centre: (N, 3) centres.
        radius: (N,) radii.
        flatness: (N,) how closely the opacity follows the pleura, at the depth of its centre; 0 is a ball.
        depth: (N,) depth of the centre below the pleura.
        core: (N,) radius of the consolidated core; 0 without core.
        added: HU that full ground-glass adds.
        softness: width of the borders of ground-glass.
        raggedness: how far noise displaces the borders.
        paving: HU that the thickened septa of crazy paving add; 0 without crazy paving.
        consolidation: HU of consolidated lung.
    """

    centre: Array
    radius: Array
    flatness: Array
    depth: Array
    core: Array
    added: float
    softness: float
    raggedness: float
    paving: float
    consolidation: float


def preference(body: Body, points: Array, depth: Array, peripheral: float) -> Array:
    """Return the relative odds of an opacity at each point, higher in peripheral, posterior and lower lung."""
    below_pleura = np.exp(-np.maximum(depth, 0) / peripheral)
    behind = 1 / (1 + np.exp(-(points[:, 1] - 10.0) / 16.0))
    lower = 1 / (1 + np.exp((points[:, 2] + 35.0) / 35.0))
    odds: Array = (0.03 + below_pleura) * (0.15 + behind) * (0.2 + lower)
    return odds


def make_lesions(body: Body, seed: int) -> Lesions:
    """Generate the opacities of the patient with this seed."""
    rng = generator(seed, LESION_STREAM)
    severity = rng.choice(list(SEVERITIES), p=list(SEVERITIES.values()))
    (fewest, most), middle_radius = EXTENT[severity]
    number = int(rng.integers(fewest, most))
    points = lung_points(body, 4000, rng)
    depth = lung_depth(body, points[:, 0], points[:, 1], points[:, 2])
    odds = preference(body, points, depth, rng.uniform(5.0, 14.0))
    if rng.random() < 0.15:  # one-sided disease
        odds = odds * np.where(np.sign(points[:, 0]) == rng.choice([-1, 1]), 1.0, 0.0)
    chosen = rng.choice(len(points), number, replace=False, p=odds / odds.sum())
    radius = np.clip(middle_radius * np.exp(rng.normal(0, 0.4, number)), 5.0, 60.0)
    return Lesions(
        centre=to_scanner(body, points[chosen]),
        radius=radius.astype(np.float32),
        flatness=rng.uniform(0.0, 1.6, number).astype(np.float32),
        depth=depth[chosen],
        core=draw_cores(radius, rng),
        added=float(rng.uniform(190.0, 430.0)),
        softness=float(rng.uniform(5.0, 16.0)),
        raggedness=float(rng.uniform(3.0, 7.0)),
        paving=float(max(rng.uniform(-90.0, 130.0), 0.0)),
        consolidation=float(rng.uniform(-60.0, 50.0)),
    )


def draw_cores(radius: Array, rng: np.random.Generator) -> Array:
    """Draw radii (mm) of the consolidated cores: none in a fifth of the patients, many in later stages."""
    stage = rng.choice([0.0, 0.35, 0.75], p=[0.2, 0.4, 0.4])
    has = rng.random(len(radius)) < stage
    core = np.where(has, radius * rng.uniform(0.35, 0.85, len(radius)), 0.0)
    return np.where(core > 4.0, core, 0.0).astype(np.float32)


Opacity = Callable[[float, Array, Array], tuple[Array, Array]]


def no_opacity(z: float, depth: Array, lung: Array) -> tuple[Array, Array]:
    """Return no opacity: the function of ``opacity_on`` for a patient without lesions."""
    empty = np.zeros_like(depth)
    return empty, empty


def opacity_on(lesions: Lesions, seed: int, x: Array, y: Array) -> Opacity:
    """Return the function that computes the opacities on a pixel grid.

    Args:
        lesions: the opacities.
        seed: seed of the patient.
        x: pixel centres along the first axis, mm.
        y: pixel centres along the second axis, mm.

    Returns:
        A function of height in mm, depth below the pleura (X, Y) in mm and lung coverage (X, Y). It returns the HU that
        ground-glass adds and the consolidated share (0..1), both (X, Y).
    """
    if not len(lesions.radius):
        return no_opacity
    rng = generator(seed, LESION_STREAM + 100)
    coarse, middle, fine, septa, patches = (SmoothField(rng, scale).on(x, y) for scale in (24, 11, 5, 6, 45))

    def opacity(z: float, depth: Array, lung: Array) -> tuple[Array, Array]:
        inside, core = depth_in_opacities(lesions, x, y, z, depth)
        if inside.max() < -4 * lesions.raggedness:
            return no_opacity(z, depth, lung)
        ragged = lesions.raggedness * (0.9 * coarse(z) + 0.6 * middle(z) + 0.22 * fine(z))
        share = smoothstep((inside + ragged) / lesions.softness)
        strength = lesions.added * np.clip(1 + 0.22 * patches(z) + 0.1 * middle(z) + 0.08 * fine(z), 0.6, 1.5)
        lines = np.exp(-((septa(z) / 0.22) ** 2))
        added = share * strength + lesions.paving * lines * share * share
        solid = smoothstep((core + 1.1 * ragged + 1.2 * fine(z)) / (0.6 * lesions.softness) + 0.5)
        return added * (lung > 0), solid * (lung > 0)

    return opacity


def depth_in_opacities(lesions: Lesions, x: Array, y: Array, z: float, depth: Array) -> tuple[Array, Array]:
    """Return the depth (mm) of each pixel inside the nearest opacity and the nearest core; negative outside."""
    inside = np.full(depth.shape, -60.0, np.float32)
    core = np.full(depth.shape, -60.0, np.float32)
    for i, radius in enumerate(lesions.radius):
        margin = 4 * lesions.raggedness
        if abs(lesions.centre[i, 2] - z) > radius + margin:
            continue
        centre = lesions.centre[i]
        columns = slice(*np.searchsorted(x, [centre[0] - radius - margin, centre[0] + radius + margin]))
        rows = slice(*np.searchsorted(y, [centre[1] - radius - margin, centre[1] + radius + margin]))
        off = lesions.flatness[i] * (depth[columns, rows] - lesions.depth[i])
        across = (x[columns, None] - centre[0]).astype(np.float32)
        along = (y[None, rows] - centre[1]).astype(np.float32)
        distance = np.sqrt(across**2 + along**2 + (z - centre[2]) ** 2 + off * off)
        np.maximum(inside[columns, rows], radius - distance, out=inside[columns, rows])
        if lesions.core[i] > 0:
            np.maximum(core[columns, rows], lesions.core[i] - distance, out=core[columns, rows])
    return inside, core
