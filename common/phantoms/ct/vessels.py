"""Vessels and airways: trees that fill the lungs, and their exact share of each voxel.

A tree repeatedly halves a cloud of target points, and sends a branch towards the centre of each half. It therefore
reaches every part of the lung. Tubes are rendered by distributing small volumes over the voxels, so that branches much
thinner than a voxel have the correct share of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..fields import Array, generator
from .anatomy import Body, lung_points, spine_y, to_scanner

TREE_STREAM = 1

# Halvings of the target points, 2**11 per lung and tree.
TREE_LEVELS = 11
# The radius of a parent to this power is the sum of those of its two children; measured exponents are 2 to 3.
RADIUS_EXPONENT = 2.75
# How far a branch goes towards the centre of its target points, as a share of the distance. The first branches are
# short: they divide close to each other at the hilum.
REACH = 0.46
FIRST_REACH = 0.18
FIRST_LEVELS = 4
# Bronchi are visible beside arteries up to about the seventh division.
BRONCHUS_LEVELS = 8
# Factor of the volume of tubes wider than three pixels, so that no voxel inside stays unfilled.
SURPLUS = 1.2
# Airways with a lumen radius above this, in mm, do not belong to the lung mask.
MAIN_AIRWAY = 4.0


@dataclass(frozen=True)
class Tubes:
    """Curved tubes, lengths in mm.

    Attributes:
        start: (N, 3) first points of the quadratic curves.
        bend: (N, 3) middle control points of the curves.
        end: (N, 3) last points of the curves.
        radius: (N,) radii.
    """

    start: Array
    bend: Array
    end: Array
    radius: Array

    def widened(self, radius: Array) -> Tubes:
        """Return the same tubes with other radii, in mm."""
        return Tubes(self.start, self.bend, self.end, radius)

    def chosen(self, index: NDArray[np.bool_]) -> Tubes:
        """Return the tubes where ``index`` is True."""
        return Tubes(self.start[index], self.bend[index], self.end[index], self.radius[index])


@dataclass(frozen=True)
class VesselTrees:
    """All tubes of a patient: lung vessels, great vessels, and lumen and outer wall of the airways."""

    lung: Tubes
    great: Tubes
    lumen: Tubes
    wall: Tubes


def join(groups: list[Tubes]) -> Tubes:
    """Return the tubes of all groups as one group."""
    columns = zip(*((group.start, group.bend, group.end, group.radius) for group in groups), strict=True)
    start, bend, end, radius = (np.concatenate(column).astype(np.float32) for column in columns)
    return Tubes(start, bend, end, radius)


def spread_axis(groups: Array) -> Array:
    """Return the direction (G, 3) in which each of the point groups (G, N, 3) is longest."""
    centred = groups - groups.mean(axis=1, keepdims=True)
    _, vectors = np.linalg.eigh(np.einsum("gni,gnj->gij", centred, centred))
    return vectors[:, :, 2]


def halve(groups: Array) -> Array:
    """Split each of the point groups (G, N, 3) across its longest direction, which gives (2 G, N / 2, 3)."""
    along = np.einsum("gni,gi->gn", groups, spread_axis(groups))
    ordered = np.take_along_axis(groups, np.argsort(along, axis=1)[:, :, None], axis=1)
    return ordered.reshape(2 * len(groups), -1, 3)


def grow_tree(root: Array, heading: Array, targets: Array, leaf_radius: float, rng: np.random.Generator) -> list[Tubes]:
    """Grow a tree to all target points.

    Args:
        root: start of the trunk (3,), mm.
        heading: direction of the trunk (3,).
        targets: target points (2 ** L, 3), mm.
        leaf_radius: radius of the last branches, mm.
        rng: source of the variation.

    Returns:
        The branches by generation, from the trunk (one tube) to the last branches (2 ** L tubes).
    """
    groups = targets[None]
    position, direction = root[None], heading[None]
    levels: list[Tubes] = []
    while True:
        served = groups.shape[1]
        reach = FIRST_REACH + (REACH - FIRST_REACH) * min(len(levels) / FIRST_LEVELS, 1.0) if served > 1 else 0.95
        end = position + reach * (groups.mean(axis=1) - position)
        length = np.linalg.norm(end - position, axis=1, keepdims=True)
        end = end + 0.10 * length * rng.standard_normal(end.shape)
        # A branch starts in its parent's direction, and then bends towards its own end.
        bend = position + 0.4 * length * direction + 0.06 * length * rng.standard_normal(end.shape)
        radius = np.full(len(end), leaf_radius * served ** (1 / RADIUS_EXPONENT))
        levels.append(Tubes(position, bend, end, radius * rng.uniform(0.85, 1.15, len(end))))
        if served == 1:
            return levels
        direction = (end - bend) / (np.linalg.norm(end - bend, axis=1, keepdims=True) + 1e-6)
        position, direction = np.repeat(end, 2, axis=0), np.repeat(direction, 2, axis=0)
        groups = halve(groups)


def bronchi_beside(levels: list[Tubes], rng: np.random.Generator) -> Tubes:
    """Return the lumina of bronchi beside the first generations of an arterial tree."""
    bronchi = []
    aside = rng.standard_normal(3) * [0.5, 1.0, 0.3]
    aside /= np.linalg.norm(aside)
    for level in levels[1:BRONCHUS_LEVELS]:
        shift = (1.9 * level.radius[:, None] + 0.5) * aside
        bronchi.append(Tubes(level.start + shift, level.bend + shift, level.end + shift, 0.80 * level.radius))
    return join(bronchi)


def polyline(points: list[tuple[float, float, float]], radius: float) -> Tubes:
    """Return straight tubes of one radius that connect the points, in mm."""
    line = np.array(points, np.float32)
    start, end = line[:-1], line[1:]
    return Tubes(start, (start + end) / 2, end, np.full(len(start), radius, np.float32))


def main_airways() -> Tubes:
    """Return trachea and main bronchi in the patient's frame; the right bronchus is wider and steeper."""
    trachea = polyline([(-2, 8, 150), (-2, 12, 60), (0, 18, 0)], 8.5)
    right = polyline([(0, 18, 0), (-18, 16, -16), (-30, 12, -26)], 6.8)
    left = polyline([(0, 18, 0), (20, 18, -18), (36, 16, -30)], 6.2)
    return join([trachea, right, left])


def great_vessels(body: Body) -> Tubes:
    """Return the vessels of the mediastinum in the patient's frame."""
    ascending = polyline([(6, -20, -45), (-10, -26, -20), (-8, -24, 10), (2, -14, 26)], 15.0)
    arch = polyline([(2, -14, 26), (14, 2, 30), (22, 22, 24)], 13.0)
    down = [float(z) for z in np.linspace(24, -200, 8)]
    descending = polyline([(25.0 - 0.04 * (24 - z), float(spine_y(z)) - 14.0, z) for z in down], 11.5)
    cava = polyline([(-24, -16, 45), (-25, -14, 10), (-24, -10, -45)], 9.0)
    lower_cava = polyline([(-22, 8, -80), (-22, 14, -200)], 11.0)
    trunk = polyline([(16, -38, -45), (20, -24, -18), (26, -4, -16)], 12.5)
    right_artery = polyline([(20, -16, -18), (-6, -2, -18), (-30, 4, -18)], 9.5)
    left_artery = polyline([(22, -10, -14), (34, 10, -12)], 9.5)
    upper = [(-16, -14), (-4, -12), (13, -2), (-22, -18), (18, -20)]
    branches = [polyline([(x, y, 34), (1.6 * x, y + 2, 150)], 5.0 + 0.7 * i) for i, (x, y) in enumerate(upper)]
    azygos = polyline([(-8, float(spine_y(-60)) - 20, 10), (-6, float(spine_y(-150)) - 20, -180)], 4.0)
    oesophagus = polyline([(5, 24, 110), (8, 31, 0), (12, 28, -100), (20, 20, -150)], 7.0)
    vessels = [ascending, arch, descending, cava, lower_cava, trunk, right_artery, left_artery, azygos, oesophagus]
    return join(vessels + branches)


def placed(body: Body, tubes: Tubes) -> Tubes:
    """Convert tubes from the patient's frame to scanner coordinates."""
    start, bend, end = (to_scanner(body, points) for points in (tubes.start, tubes.bend, tubes.end))
    return Tubes(start, bend, end, tubes.radius)


def make_trees(body: Body, seed: int) -> VesselTrees:
    """Generate arteries, veins and bronchi of both lungs, the great vessels and the main airways."""
    rng = generator(seed, TREE_STREAM)
    points = lung_points(body, 6 * 2**TREE_LEVELS, rng)
    lung: list[Tubes] = []
    airways = [main_airways()]
    for side in (-1, 1):
        own = points[np.sign(points[:, 0]) == side]
        artery_targets, vein_targets = own[: 2**TREE_LEVELS], own[2**TREE_LEVELS : 2 ** (TREE_LEVELS + 1)]
        heading = np.array([side, 0.3, -0.3])
        arteries = grow_tree(np.array([26.0 * side, 6, -16]), heading, artery_targets, body.vessel_radius, rng)
        veins = grow_tree(np.array([22.0 * side, -2, -36]), heading, vein_targets, 0.9 * body.vessel_radius, rng)
        airways.append(bronchi_beside(arteries, rng))
        lung += arteries + veins
    lumen = placed(body, join(airways))
    wall = lumen.widened(1.12 * lumen.radius + 0.45)
    return VesselTrees(placed(body, join(lung)), placed(body, great_vessels(body)), lumen, wall)


def repeated(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Repeat each index by its count: counts (2, 3) give owners (0, 0, 1, 1, 1) and numbers (0, 1, 0, 1, 2)."""
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)


def curve_points(tubes: Tubes, step: float) -> tuple[Array, Array, Array, Array]:
    """Sample the axes of tubes every ``step`` mm.

    Returns:
        Positions (P, 3), unit tangents (P, 3), radii (P,), and lengths of axis (P,) that the points stand for.
    """
    length = np.linalg.norm(tubes.bend - tubes.start, axis=1) + np.linalg.norm(tubes.end - tubes.bend, axis=1)
    counts = np.maximum(np.ceil(length / step), 1).astype(np.int64)
    owner, number = repeated(counts)
    t = ((number + 0.5) / counts[owner]).astype(np.float32)[:, None]
    start, bend, end = tubes.start[owner], tubes.bend[owner], tubes.end[owner]
    position = (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end
    tangent = 2 * (1 - t) * (bend - start) + 2 * t * (end - bend)
    speed = np.linalg.norm(tangent, axis=1) + 1e-6
    return position, tangent / speed[:, None], tubes.radius[owner], speed / counts[owner]


def disc_points(
    tangent: Array, radius: Array, length: Array, spacing: float
) -> tuple[NDArray[np.int64], Array, NDArray[np.int64]]:
    """Fill a disc around each axis point with points about ``spacing`` mm apart.

    Args:
        tangent: (P, 3) unit directions of the axis.
        radius: (P,) radii, mm.
        length: (P,) length of axis that each disc stands for, mm.
        spacing: distance between neighbouring points of a disc, mm.

    Returns:
        Owner (Q,) and offset (Q, 3) in mm of each of the Q new points, and the number of points per owner (P,).
    """
    counts = np.maximum(np.ceil(np.pi * (radius / spacing) ** 2), 1).astype(np.int64)
    owner, number = repeated(counts)
    # Sunflower pattern, rotated from one disc to the next so that no lines appear along the tube.
    away = np.where(counts[owner] > 1, radius[owner] * np.sqrt((number + 0.5) / counts[owner]), 0)
    angle = 2.39996 * (number + 0.37 * owner)
    helper = np.where(np.abs(tangent[:, 2:]) < 0.8, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    side = np.cross(tangent, helper)
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    other = np.cross(tangent, side)
    offset = (away * np.cos(angle))[:, None] * side[owner] + (away * np.sin(angle))[:, None] * other[owner]
    # Points are also staggered along the tube, because whole discs would interfere with the slices in wide tubes.
    stagger = (0.618034 * number + 0.754878 * owner) % 1 - 0.5
    offset += np.where(counts > 1, length, 0)[owner, None] * stagger[:, None] * tangent[owner]
    return owner, offset.astype(np.float32), counts


def tube_share(tubes: Tubes, x: Array, y: Array, z: Array, thickness: float) -> Array:
    """Return the share (0..1) of each voxel that the tubes fill.

    Args:
        tubes: tubes in scanner coordinates, mm.
        x: evenly spaced voxel centres along the first axis, mm.
        y: evenly spaced voxel centres along the second axis, mm.
        z: centres of the slices, ascending, mm.
        thickness: thickness of a slice, mm; the share is the average over it.

    Returns:
        Array of shape (len(x), len(y), len(z)).
    """
    pixel = float(x[1] - x[0])
    step = 0.6 * min(pixel, thickness)
    axis = curve_points(tubes, step)
    # Only discs that can meet a slice are filled, because this takes most of the time.
    reach = axis[2] + thickness / 2 + step
    near = np.searchsorted(z, axis[0][:, 2] - reach) < np.searchsorted(z, axis[0][:, 2] + reach)
    position, tangent, radius, length = (column[near] for column in axis)
    owner, offset, counts = disc_points(tangent, radius, length, 0.55 * pixel)
    points = position[owner] + offset
    volume = (np.pi * radius**2 * length / counts)[owner] / (pixel * pixel * thickness)
    # Points are spaced unevenly. The surplus fills all voxels inside wide tubes; shares above 1 are clipped below.
    volume[radius[owner] > 1.5 * pixel] *= SURPLUS
    share = np.zeros((len(z), len(x) * len(y)), np.float32)
    # Sorted by height, the points of each slice are contiguous.
    order = np.argsort(points[:, 2])
    points, volume = points[order], volume[order]
    first = np.searchsorted(points[:, 2], z - thickness / 2)
    last = np.searchsorted(points[:, 2], z + thickness / 2)
    for k in range(len(z)):
        run = slice(first[k], last[k])
        share[k] = spread_in_plane((points[run, 0] - x[0]) / pixel, (points[run, 1] - y[0]) / pixel, volume[run], x, y)
    return np.minimum(share, 1).reshape(len(z), len(x), len(y)).transpose(1, 2, 0)


def spread_in_plane(column: Array, row: Array, volume: Array, x: Array, y: Array) -> Array:
    """Distribute volumes at fractional pixel positions over the four nearest pixels; return len(x) * len(y) sums."""
    total = np.zeros(len(x) * len(y))
    left, top = np.floor(column).astype(int), np.floor(row).astype(int)
    for i in (0, 1):
        for j in (0, 1):
            weight = volume * np.abs(1 - i - (column - left)) * np.abs(1 - j - (row - top))
            inside = (left + i >= 0) & (left + i < len(x)) & (top + j >= 0) & (top + j < len(y))
            index = (left + i)[inside] * len(y) + (top + j)[inside]
            total += np.bincount(index, weight[inside], minlength=len(total))
    return total
