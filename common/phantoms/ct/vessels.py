"""Vessels and airways: trees that fill the lungs, and their exact share of each voxel.

A tree divides a cloud of target points in two again and again and sends a branch towards the middle of each part, so
it reaches every part of the lung. Tubes are drawn by spreading small amounts of volume over the voxels; branches far
below the voxel size keep their right share of the voxel in this way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..fields import Array, generator
from .anatomy import Body, lung_points, spine_y, to_scanner

TREE_STREAM = 1

# Branch points per lung and tree are a power of two, so that every division is in equal halves.
TREE_LEVELS = 11
# A parent's radius to this power is the sum over its two children; measured exponents lie between 2 and 3.
RADIUS_EXPONENT = 2.75
# How far a branch goes towards the middle of the part of the lung that it serves: the first divisions follow each other
# closely at the hilum.
REACH = 0.46
FIRST_REACH = 0.18
FIRST_LEVELS = 4
# Bronchi are visible beside arteries down to about the seventh division.
BRONCHUS_LEVELS = 8
# Surplus volume given to tubes wider than three pixels.
SURPLUS = 1.2
# Air-filled airways wider than this (lumen radius in mm) do not belong to the lung mask.
MAIN_AIRWAY = 4.0


@dataclass(frozen=True)
class Tubes:
    """Curved tubes in scanner coordinates (mm): `start`, `bend`, `end` (N, 3) of quadratic curves, `radius` (N,)."""

    start: Array
    bend: Array
    end: Array
    radius: Array

    def widened(self, radius: Array) -> Tubes:
        """Returns the same courses with other radii (mm)."""
        return Tubes(self.start, self.bend, self.end, radius)

    def chosen(self, index: NDArray[np.bool_]) -> Tubes:
        """Returns the tubes at which the boolean array `index` is set."""
        return Tubes(self.start[index], self.bend[index], self.end[index], self.radius[index])


@dataclass(frozen=True)
class VesselTrees:
    """All tubes of a patient: lung vessels, great vessels, and the airways' lumen and outer wall."""

    lung: Tubes
    great: Tubes
    lumen: Tubes
    wall: Tubes


def join(parts: list[Tubes]) -> Tubes:
    """Returns all tubes of the parts as one."""
    columns = zip(*((part.start, part.bend, part.end, part.radius) for part in parts), strict=True)
    start, bend, end, radius = (np.concatenate(column).astype(np.float32) for column in columns)
    return Tubes(start, bend, end, radius)


def spread_axis(groups: Array) -> Array:
    """Returns for each of (G, N, 3) point groups the direction (G, 3) in which it is longest."""
    centred = groups - groups.mean(axis=1, keepdims=True)
    _, vectors = np.linalg.eigh(np.einsum("gni,gnj->gij", centred, centred))
    return vectors[:, :, 2]


def halve(groups: Array) -> Array:
    """Splits each of (G, N, 3) point groups across its longest direction and returns (2 G, N / 2, 3)."""
    along = np.einsum("gni,gi->gn", groups, spread_axis(groups))
    ordered = np.take_along_axis(groups, np.argsort(along, axis=1)[:, :, None], axis=1)
    return ordered.reshape(2 * len(groups), -1, 3)


def grow_tree(root: Array, heading: Array, targets: Array, leaf_radius: float, rng: np.random.Generator) -> list[Tubes]:
    """Grows a tree from `root` (3,) in mm to all of the 2 ** L points `targets` (2 ** L, 3).

    Returns:
        The branches by generation, from the trunk (one tube) to the tips (2 ** L tubes).
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
        # A branch leaves along its parent's course and then turns to its own goal.
        bend = position + 0.4 * length * direction + 0.06 * length * rng.standard_normal(end.shape)
        radius = np.full(len(end), leaf_radius * served ** (1 / RADIUS_EXPONENT))
        levels.append(Tubes(position, bend, end, radius * rng.uniform(0.85, 1.15, len(end))))
        if served == 1:
            return levels
        direction = (end - bend) / (np.linalg.norm(end - bend, axis=1, keepdims=True) + 1e-6)
        position, direction = np.repeat(end, 2, axis=0), np.repeat(direction, 2, axis=0)
        groups = halve(groups)


def bronchi_beside(levels: list[Tubes], rng: np.random.Generator) -> Tubes:
    """Returns airway lumina that run beside the first generations of an arterial tree."""
    parts = []
    aside = rng.standard_normal(3) * [0.5, 1.0, 0.3]
    aside /= np.linalg.norm(aside)
    for level in levels[1:BRONCHUS_LEVELS]:
        shift = (1.9 * level.radius[:, None] + 0.5) * aside
        parts.append(Tubes(level.start + shift, level.bend + shift, level.end + shift, 0.80 * level.radius))
    return join(parts)


def polyline(points: list[tuple[float, float, float]], radius: float) -> Tubes:
    """Returns straight tubes of one radius (mm) that join the points."""
    line = np.array(points, np.float32)
    start, end = line[:-1], line[1:]
    return Tubes(start, (start + end) / 2, end, np.full(len(start), radius, np.float32))


def main_airways() -> Tubes:
    """Returns trachea and main bronchi of the patient's frame; the right bronchus is wider and steeper."""
    trachea = polyline([(-2, 8, 150), (-2, 12, 60), (0, 18, 0)], 8.5)
    right = polyline([(0, 18, 0), (-18, 16, -16), (-30, 12, -26)], 6.8)
    left = polyline([(0, 18, 0), (20, 18, -18), (36, 16, -30)], 6.2)
    return join([trachea, right, left])


def great_vessels(body: Body) -> Tubes:
    """Returns the vessels of the mediastinum in the patient's frame."""
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
    parts = [ascending, arch, descending, cava, lower_cava, trunk, right_artery, left_artery, azygos, oesophagus]
    return join(parts + branches)


def placed(body: Body, tubes: Tubes) -> Tubes:
    """Moves tubes from the patient's frame into scanner coordinates."""
    start, bend, end = (to_scanner(body, points) for points in (tubes.start, tubes.bend, tubes.end))
    return Tubes(start, bend, end, tubes.radius)


def make_trees(body: Body, seed: int) -> VesselTrees:
    """Grows arteries, veins and bronchi of both lungs and adds the great vessels and main airways."""
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
    """Returns for counts (2, 3) the owners (0, 0, 1, 1, 1) and the running numbers (0, 1, 0, 1, 2)."""
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)


def curve_points(tubes: Tubes, step: float) -> tuple[Array, Array, Array, Array]:
    """Samples the tubes' axes every `step` mm: positions (P, 3), unit tangents (P, 3), radii (P,), lengths (P,)."""
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
    """Fills a disc around each point of an axis with points about `spacing` mm apart.

    Args:
        tangent: (P, 3) unit directions of the axis.
        radius: (P,) radii, mm.
        length: (P,) lengths of axis that each disc stands for, mm.
        spacing: distance between neighbouring points of a disc, mm.

    Returns:
        For each of the Q new points its owner (Q,) and offset (Q, 3) in mm; and the number of points per owner (P,).
    """
    counts = np.maximum(np.ceil(np.pi * (radius / spacing) ** 2), 1).astype(np.int64)
    owner, number = repeated(counts)
    # Sunflower pattern, turned from one section to the next so that no lines appear along the tube.
    away = np.where(counts[owner] > 1, radius[owner] * np.sqrt((number + 0.5) / counts[owner]), 0)
    angle = 2.39996 * (number + 0.37 * owner)
    helper = np.where(np.abs(tangent[:, 2:]) < 0.8, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    side = np.cross(tangent, helper)
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    other = np.cross(tangent, side)
    offset = (away * np.cos(angle))[:, None] * side[owner] + (away * np.sin(angle))[:, None] * other[owner]
    # Points are staggered along the tube, too: whole discs would beat against the slices in wide tubes.
    stagger = (0.618034 * number + 0.754878 * owner) % 1 - 0.5
    offset += np.where(counts > 1, length, 0)[owner, None] * stagger[:, None] * tangent[owner]
    return owner, offset.astype(np.float32), counts


def tube_share(tubes: Tubes, x: Array, y: Array, z: Array, thickness: float) -> Array:
    """Returns the share (0..1) of each voxel that the tubes fill.

    Args:
        tubes: in scanner coordinates, mm.
        x: evenly spaced voxel centres along the first axis, mm.
        y: the same along the second axis.
        z: centres of the slices, rising, mm.
        thickness: of a slice, mm; the share is the average through it.

    Returns:
        Array of shape (len(x), len(y), len(z)).
    """
    pixel = float(x[1] - x[0])
    step = 0.6 * min(pixel, thickness)
    axis = curve_points(tubes, step)
    # Filling the discs takes most of the time, so it is done only where they can meet a slice.
    reach = axis[2] + thickness / 2 + step
    near = np.searchsorted(z, axis[0][:, 2] - reach) < np.searchsorted(z, axis[0][:, 2] + reach)
    position, tangent, radius, length = (column[near] for column in axis)
    owner, offset, counts = disc_points(tangent, radius, length, 0.55 * pixel)
    points = position[owner] + offset
    volume = (np.pi * radius**2 * length / counts)[owner] / (pixel * pixel * thickness)
    # Inside wide tubes the points' uneven spacing must not leave voxels unfilled; any surplus is cut off at 1.
    volume[radius[owner] > 1.5 * pixel] *= SURPLUS
    share = np.zeros((len(z), len(x) * len(y)), np.float32)
    # Points come in no order of height; sorting them once lets each slice pick a contiguous run.
    order = np.argsort(points[:, 2])
    points, volume = points[order], volume[order]
    first = np.searchsorted(points[:, 2], z - thickness / 2)
    last = np.searchsorted(points[:, 2], z + thickness / 2)
    for k in range(len(z)):
        run = slice(first[k], last[k])
        share[k] = spread_in_plane((points[run, 0] - x[0]) / pixel, (points[run, 1] - y[0]) / pixel, volume[run], x, y)
    return np.minimum(share, 1).reshape(len(z), len(x), len(y)).transpose(1, 2, 0)


def spread_in_plane(column: Array, row: Array, volume: Array, x: Array, y: Array) -> Array:
    """Sums volumes at fractional pixel positions into the four pixels around each; returns len(x) * len(y) values."""
    total = np.zeros(len(x) * len(y))
    left, top = np.floor(column).astype(int), np.floor(row).astype(int)
    for i in (0, 1):
        for j in (0, 1):
            weight = volume * np.abs(1 - i - (column - left)) * np.abs(1 - j - (row - top))
            inside = (left + i >= 0) & (left + i < len(x)) & (top + j >= 0) & (top + j < len(y))
            index = (left + i)[inside] * len(y) + (top + j)[inside]
            total += np.bincount(index, weight[inside], minlength=len(total))
    return total
