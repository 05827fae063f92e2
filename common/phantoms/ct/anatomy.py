"""The shape of a patient's chest: lungs, diaphragm and mediastinum as depths in millimetres.

Coordinates are in mm in the patient's own frame: x to the patient's left, y to posterior, z to superior. The carina
is at z = 0, the midline at x = 0. All functions take arrays that broadcast together. They convert a height that is a
plain number to float32, because it would otherwise turn whole slices into float64.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from ..fields import Array, generator, smooth_minimum, smoothstep

BODY_STREAM = 0

# Height of the lung apex above the carina in a patient of average height, in mm.
APEX = 98.0
# Where the chest begins to narrow towards the apex, in mm.
SHOULDER = -40.0
# Usual distance from the origin to the inner surface of the sternum in front of it, in mm.
FRONT = 84.0
# Drop of the diaphragm from the top of its dome to its rim, in mm.
DOME_FALL = 78.0

# Ranges of the uniform distributions that each patient's measures are drawn from, with their units.
RANGES: dict[str, tuple[float, float]] = {
    "half_width": (116.0, 136.0),  # of the thoracic cavity, mm
    "half_depth": (80.0, 98.0),  # of the thoracic cavity, mm
    "height": (0.88, 1.1),  # stretch along z, factor
    "fat": (5.0, 20.0),  # subcutaneous fat, mm
    "muscle": (15.0, 22.0),  # chest wall between pleura and fat, mm
    "dome": (-112.0, -78.0),  # top of the right hemidiaphragm, mm: the breathing level
    "dome_difference": (4.0, 14.0),  # how much lower the left dome lies, mm
    "heart": (0.88, 1.15),  # size of the heart, factor
    "shift_x": (-8.0, 8.0),  # of the patient on the table, mm
    "shift_y": (-12.0, 4.0),  # mm
    "rotation": (-6.0, 6.0),  # about the long axis, degrees
    "lean": (-0.04, 0.04),  # sideways, mm per mm of height
    "density": (-895.0, -825.0),  # aerated lung at mid depth, HU: emphysema to poor inspiration
    "gravity": (50.0, 115.0),  # dependent minus non-dependent lung, HU
    "vessel_radius": (0.38, 0.58),  # of the finest branches, mm
    "atelectasis": (-4.0, 7.0),  # thickness of the dependent band, mm; none if negative
    "emphysema": (-110.0, 90.0),  # how much darker its spots are, HU; none if negative
    "motion": (3.0, 9.0),  # travel of the diaphragm during the scan, mm
    "rib_phase": (0.0, 26.0),  # height of the ribs, mm
    "stomach_gas": (0.0, 28.0),  # height of the gas over the fluid, mm
}


@dataclass(frozen=True)
class Body:
    """The measures of one patient; see ``RANGES`` for the meaning and unit of each."""

    half_width: float
    half_depth: float
    height: float
    fat: float
    muscle: float
    dome: float
    dome_difference: float
    heart: float
    shift_x: float
    shift_y: float
    rotation: float
    lean: float
    density: float
    gravity: float
    vessel_radius: float
    atelectasis: float
    emphysema: float
    motion: float
    rib_phase: float
    stomach_gas: float


def make_body(seed: int) -> Body:
    """Draw the measures of the patient with this seed."""
    rng = generator(seed, BODY_STREAM)
    return Body(**{field.name: float(rng.uniform(*RANGES[field.name])) for field in fields(Body)})


def lung_span(body: Body) -> tuple[float, float]:
    """Return the lowest and highest scanned height in mm: the lungs with a margin."""
    lowest = (body.dome - body.dome_difference - DOME_FALL) * body.height
    return lowest - 2.0, APEX * body.height + 10.0


def to_patient(body: Body, x: Array, y: Array, z: float) -> tuple[Array, Array, float]:
    """Convert scanner positions in mm to the patient's frame, at one height."""
    angle = np.deg2rad(body.rotation)
    across = x - np.float32(body.shift_x + body.lean * z)
    along = y - np.float32(body.shift_y)
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return cosine * across + sine * along, cosine * along - sine * across, z / body.height


def to_scanner(body: Body, points: Array) -> Array:
    """Convert positions (N, 3) in the patient's frame to scanner positions, both in mm."""
    angle = np.deg2rad(body.rotation)
    height = points[:, 2] * body.height
    x = np.cos(angle) * points[:, 0] - np.sin(angle) * points[:, 1] + body.shift_x + body.lean * height
    y = np.sin(angle) * points[:, 0] + np.cos(angle) * points[:, 1] + body.shift_y
    return np.stack([x, y, height], axis=1).astype(np.float32)


def ellipse_depth(x: Array, y: Array, half_x: Array | float, half_y: Array | float) -> Array:
    """Return the depth (mm) inside an ellipse around the origin, along the ray from its centre."""
    across, along = x * x + np.float32(1e-3), y * y
    # The small term avoids 0 / 0 at the centre.
    return np.sqrt(across + along) * (1 / np.sqrt(across / half_x**2 + along / half_y**2) - 1)


def rounded_depth(x: Array, y: Array, half_x: Array | float, half_y: Array | float) -> Array:
    """Return the depth (mm) inside |x|**2.25 + |y|**2.25 = 1, an outline nearer to a chest than ``ellipse_depth``."""
    across, along = np.abs(x / half_x) + 1e-3, np.abs(y / half_y) + 1e-3
    level = (across**2 * np.sqrt(np.sqrt(across)) + along**2 * np.sqrt(np.sqrt(along))) ** np.float32(1 / 2.25)
    return np.sqrt(x * x + y * y) * (1 / level - 1)


def cavity_depth(body: Body, x: Array, y: Array, z: Array | float) -> Array:
    """Return the depth (mm) inside the inner surface of the ribs: one cavity below, two domes at the apices."""
    z = np.asarray(z, np.float32)
    rise = np.clip((z - SHOULDER) / (APEX - SHOULDER), 0, 1)
    low = np.clip((-100.0 - z) / 100.0, 0, 1)
    closing = np.sqrt(np.maximum(1 - rise**9, 1e-4))
    centre = 44.0 * smoothstep(rise * 1.3 - 0.3)
    # A chest is narrower in front than at the back.
    front = smoothstep((15.0 - y) / (1.2 * body.half_depth))
    left = smoothstep((x + 20.0) / 40.0)
    wall = body.half_width * (1 - 0.40 * rise**1.7) * (1 - 0.08 * low) * (1 - 0.13 * front) * (1 - 0.025 * left)
    half_y = body.half_depth * (1 - 0.40 * rise**2.2) * closing
    # Towards the apex the front recedes more than the back, towards the base the back recedes more than the front.
    middle = 14.0 * rise**1.5 + 4.0
    return rounded_depth(np.maximum(np.abs(x) - centre, 0), y - middle, (wall - centre) * closing, half_y)


def dome_height(body: Body, x: Array, y: Array) -> Array:
    """Return the height (mm) of the diaphragm above each point of the axial plane."""
    left = smoothstep((x + 20.0) / 40.0)
    top = body.dome - body.dome_difference * left
    across = (np.abs(x) - 62.0) / (0.74 * body.half_width)
    along = (y + 8.0) / (body.half_depth + 4.0)
    away = across * across + along * along
    return top - DOME_FALL * away * np.sqrt(np.sqrt(away))


def heart_depth(body: Body, x: Array, y: Array, z: Array | float) -> Array:
    """Return the depth (mm) inside the heart with its pericardium: an egg that points left, forwards and down."""
    z = np.asarray(z, np.float32)
    # Lower parts lie further to the left: the long axis of the heart.
    across = x - 16.0 + 0.32 * (z + 60.0)
    along = y + 22.0
    turned_x = 0.86 * across - 0.5 * along
    turned_y = 0.5 * across + 0.86 * along
    profile = np.sqrt(np.maximum(1 - ((z + 66.0) / 60.0) ** 2, 1e-4))
    return ellipse_depth(turned_x, turned_y, 60.0 * body.heart * profile, 43.0 * body.heart * profile)


def spine_depth(x: Array, y: Array, z: Array | float) -> Array:
    """Return the depth (mm) inside the vertebral column and the soft tissue beside it."""
    return ellipse_depth(x, y - spine_y(z) - 8.0, 27.0, 32.0)


def spine_y(z: Array | float) -> Array:
    """Return y (mm) of the centre of the vertebral bodies, which follows the thoracic kyphosis."""
    z = np.asarray(z, np.float32)
    centre: Array = 54.0 - 14.0 * ((z + 40.0) / 130.0) ** 2
    return centre


def vessel_bulge_depth(x: Array, y: Array, z: Array | float) -> Array:
    """Return the depth (mm) inside the bulges beside the midline: aortic arch, descending aorta and both hila."""
    z = np.asarray(z, np.float32)
    descending = 14.5 - np.hypot(x - 25.0, y - spine_y(z) + 14.0) - np.maximum(z - 22.0, 0)
    arch = ellipse_depth(x - 10.0, y - 2.0, 24.0, 34.0) - np.abs(z - 24.0) * 1.2
    spread = np.maximum(1 - ((z + 20.0) / 34.0) ** 2, 1e-4)
    hila = ellipse_depth(np.abs(x) - 26.0, y - 6.0, 21.0 * np.sqrt(spread), 19.0 * np.sqrt(spread))
    return np.maximum(np.maximum(descending, arch), hila)


def septum_depth(x: Array, y: Array, z: Array | float) -> Array:
    """Return the depth (mm) inside the middle of the mediastinum: thin in front, wide at the great vessels."""
    wide = 3.5 + 20.0 * smoothstep((y + 0.85 * FRONT) / 48.0) * (0.8 + 0.35 * smoothstep((z + 10.0) / 80.0))
    wide = wide - 11.0 * smoothstep((y - 18.0) / 26.0)
    inlet = 3.0 * smoothstep((z - 50.0) / 40.0)
    return wide + inlet - np.abs(x + 3.0)


def mediastinum_depth(body: Body, x: Array, y: Array, z: Array | float) -> Array:
    """Return the depth (mm) inside everything that lies between the lungs."""
    outside = smooth_minimum(-septum_depth(x, y, z), -heart_depth(body, x, y, z), 14.0)
    outside = smooth_minimum(outside, -spine_depth(x, y, z), 10.0)
    return -smooth_minimum(outside, -vessel_bulge_depth(x, y, z), 6.0)


def pleura_depth(body: Body, x: Array, y: Array, z: Array | float) -> Array:
    """Return the depth (mm) below the pleura of chest wall and mediastinum, without the diaphragm."""
    return smooth_minimum(cavity_depth(body, x, y, z), -mediastinum_depth(body, x, y, z), 6.0)


def lung_depth(body: Body, x: Array, y: Array, z: Array | float) -> Array:
    """Return the depth (mm) inside the lungs; negative outside."""
    return smooth_minimum(pleura_depth(body, x, y, z), 0.75 * (z - dome_height(body, x, y)), 4.0)


def lung_points(body: Body, count: int, rng: np.random.Generator) -> Array:
    """Draw points (count, 3) in mm uniformly from the volume of both lungs, in the patient's frame."""
    accepted: list[Array] = []
    total = 0
    lower = np.array([-body.half_width, -body.half_depth, body.dome - body.dome_difference - DOME_FALL])
    upper = np.array([body.half_width, body.half_depth + 10.0, APEX])
    while total < count:
        points = rng.uniform(lower, upper, (4 * count, 3)).astype(np.float32)
        inside = points[lung_depth(body, points[:, 0], points[:, 1], points[:, 2]) > 1.5]
        accepted.append(inside)
        total += len(inside)
    return np.concatenate(accepted)[:count]
