"""Everything around the lungs in HU: skin, fat, muscle, bones, mediastinum, upper abdomen and table."""

from __future__ import annotations

import numpy as np

from ..fields import Array, coverage, paint, smoothstep
from .anatomy import Body, cavity_depth, dome_height, ellipse_depth, heart_depth, rounded_depth, spine_y

# Tissues on unenhanced chest CT in HU, within the usual textbook ranges.
AIR = -1000.0
FAT = -102.0
SKIN = 20.0
MUSCLE = 52.0
BLOOD = 42.0
LIVER = 58.0
SPLEEN = 48.0
FLUID = 12.0
CARTILAGE = 110.0
MARROW = 190.0
CORTEX = 620.0
CANAL = 30.0
DISC = 90.0
TABLE = -250.0
FOAM = -920.0

# Distance from one rib to the next along z, mm.
RIB_PITCH = 26.0
# Descent of a rib from the spine to its front end, mm.
RIB_FALL = 105.0
# Distance from one vertebra to the next, mm.
VERTEBRA_PITCH = 24.0


def body_depth(body: Body, x: Array, y: Array, z: float) -> Array:
    """Return the depth (mm) below the skin."""
    rise = float(np.clip((z - 10.0) / 90.0, 0, 1))
    half_x = body.half_width + body.muscle + body.fat + 26.0 * rise
    half_y = body.half_depth + body.muscle + 0.7 * body.fat + 6.0 - 20.0 * rise**2
    return rounded_depth(x, y - 6.0 - 8.0 * rise, half_x, half_y)


def paint_chest_wall(image: Array, body: Body, position: tuple[Array, Array, float], wall: Array, pixel: float) -> None:
    """Paint the muscles over the ribs; ``wall`` is the depth inside the thoracic cavity, negative outside."""
    x, y, z = position
    behind = smoothstep((y - 20.0) / 60.0)
    rise = float(np.clip((z + 30.0) / 90.0, 0, 1))
    shoulder = smoothstep((np.abs(x) - 55.0) / 50.0) * rise
    thickness = body.muscle * (0.72 + 0.35 * behind + 0.9 * shoulder)
    paint(image, coverage(wall + thickness, pixel), MUSCLE)
    # A layer of fat separates the outer muscles from those between the ribs.
    sheet = np.abs(wall + 0.62 * thickness) - 0.7 - 1.5 * shoulder
    paint(image, 0.7 * coverage(-sheet, max(pixel, 1.0)), FAT)
    erector = ellipse_depth(np.abs(x) - 27.0, y - float(spine_y(z)) - 32.0, 24.0, 15.0)
    paint(image, coverage(erector, pixel), MUSCLE)


def paint_bone(image: Array, level: Array, size: float, pixel: float, marrow: float = MARROW) -> None:
    """Paint a bone; ``level`` is 0 at its centre and 1 at its surface, which is ``size`` mm from the centre."""
    depth = (1 - level) * size
    paint(image, coverage(depth, pixel), CORTEX)
    paint(image, coverage(depth - 1.6, pixel), marrow)


def paint_ribs(image: Array, body: Body, position: tuple[Array, Array, float], wall: Array, pixel: float) -> None:
    """Paint the ribs and their cartilage; ribs slope down to the front, so a slice cuts them obliquely."""
    x, y, z = position
    forward = np.arctan2(np.abs(x) / body.half_width, (y - 4.0) / body.half_depth) / np.float32(np.pi)
    fall = RIB_FALL * forward * (0.4 + 0.6 * forward)
    height = (z + fall + body.rib_phase + RIB_PITCH / 2) % RIB_PITCH - RIB_PITCH / 2
    level = np.sqrt((height / 6.5) ** 2 + ((wall + 6.5) / 4.2) ** 2)
    # The head of a rib lies beside the vertebra; towards the sternum, bone is replaced by cartilage.
    present = smoothstep((forward - 0.06) / 0.03) * smoothstep((0.97 - forward) / 0.03)
    bony = smoothstep((0.80 - forward) / 0.02)
    depth = (1 - level) * 4.2
    paint(image, present * coverage(depth, pixel), CARTILAGE + bony * (CORTEX - CARTILAGE))
    paint(image, present * bony * coverage(depth - 1.3, pixel), MARROW)


def paint_spine(image: Array, position: tuple[Array, Array, float], pixel: float) -> None:
    """Paint vertebral body or disc, canal, arch, transverse and spinous processes."""
    x, y, z = position
    middle = float(spine_y(z))
    along = abs((z / VERTEBRA_PITCH) % 1.0 - 0.5) * 2  # 0 at mid-vertebra, 1 in the disc
    y = y - middle
    arch = np.abs(ellipse_depth(x, y - 20.0, 12.5, 12.0)) - 3.0
    paint(image, coverage(-arch, pixel) * (1.0 if along < 0.6 else 0.4), 0.6 * CORTEX)
    # Transverse processes exist at mid-vertebra only.
    if along < 0.55:
        transverse = np.hypot((np.abs(x) - 22.0) / 15.0, (y - 24.0 - 0.25 * (np.abs(x) - 22.0)) / 4.5)
        paint_bone(image, transverse, 4.5, pixel)
    spinous = np.hypot(x / 3.2, (y - 40.0) / 13.0)
    paint_bone(image, spinous, 3.2, pixel)
    body_level = np.hypot(x / 16.5, y / 14.0)
    disc = float(smoothstep((along - 0.76) / 0.1))
    paint_bone(image, body_level, 14.0, pixel, MARROW)
    paint(image, disc * coverage((1 - body_level) * 14.0, pixel), DISC)
    paint(image, coverage(ellipse_depth(x, y - 20.0, 8.5, 7.5), pixel), CANAL)


def paint_sternum_and_scapulae(image: Array, body: Body, position: tuple[Array, Array, float], pixel: float) -> None:
    """Paint sternum, clavicles and scapulae at the heights where they exist."""
    x, y, z = position
    front = front_of_cavity(body, z)
    if -115.0 < z < 42.0:
        half = 15.0 if z < 15.0 else 15.0 + 0.5 * (z - 15.0)
        paint_bone(image, np.hypot(x / half, (y - front + 8.0) / 5.5), 5.5, pixel)
    elif 42.0 <= z < 75.0:
        # Medial ends of the clavicles, moving outwards with height.
        away = 26.0 + 1.8 * (z - 42.0)
        paint_bone(image, np.hypot((np.abs(x) - away) / 19.0, (y - front + 6.0) / 6.5), 6.5, pixel)
    if z > -70.0:
        size = min((z + 70.0) / 40.0, 1.0)
        away = body.half_width * (0.80 - 0.1 * max(z, 0.0) / APEX_LENGTH)
        along = 0.72 * (np.abs(x) - away) - 0.69 * (y - 0.80 * body.half_depth - 4.0)
        across = 0.69 * (np.abs(x) - away) + 0.72 * (y - 0.80 * body.half_depth - 4.0) - 0.004 * along**2 - 11.0
        paint_bone(image, np.hypot(along / (40.0 * size), across / 3.6), 3.6, pixel)


# Height over which the scapulae approach each other upwards, mm.
APEX_LENGTH = 98.0


def front_of_cavity(body: Body, z: float) -> float:
    """Return y (mm) of the inner surface of the anterior chest wall at the midline."""
    y = np.linspace(-130, 0, 131, dtype=np.float32)
    inside = cavity_depth(body, np.zeros_like(y), y, z) > 0
    return float(y[np.argmax(inside)]) if inside.any() else -40.0


def paint_heart(image: Array, body: Body, position: tuple[Array, Array, float], pixel: float) -> None:
    """Paint the heart in a layer of fat; without contrast medium, muscle and blood look the same."""
    depth = heart_depth(body, *position)
    paint(image, coverage(depth - 4.5, pixel), BLOOD)
    # The groove between atria and ventricles is filled with fat at the surface.
    x, y, z = position
    groove = np.abs(0.86 * (x - 16.0) - 0.5 * (y + 22.0) + 18.0 + 0.3 * (z + 60.0)) - 2.0
    paint(image, 0.8 * coverage(-groove, pixel) * smoothstep((12.0 - depth) / 8.0) * (depth > 0), FAT)


def paint_abdomen(
    image: Array, body: Body, position: tuple[Array, Array, float], wall: Array, dome: Array, pixel: float
) -> None:
    """Paint the organs below the diaphragm: liver on the right, stomach and spleen on the left."""
    x, y, z = position
    below = np.minimum(dome - z, wall)
    inside = coverage(below, pixel)
    if not inside.any():
        return
    paint(image, inside, MUSCLE)  # the diaphragm, and fat under it
    paint(image, coverage(below - 3.0, pixel), FAT)
    liver = np.minimum(below - 2.0, 22.0 - x - 0.35 * (y + 20.0))
    paint(image, coverage(liver, pixel), LIVER)
    spleen = np.minimum(below - 4.0, ellipse_depth(x - 88.0, y - 42.0, 38.0, 32.0))
    paint(image, coverage(spleen, pixel), SPLEEN)
    stomach = np.minimum(below - 4.0, ellipse_depth(x - 62.0, y + 14.0, 38.0, 34.0))
    paint(image, coverage(stomach, pixel), MUSCLE)
    surface = -14.0 - 34.0 + body.stomach_gas
    paint(image, coverage(stomach - 4.0, pixel), np.where(y < surface, AIR, FLUID))


def paint_table(image: Array, body: Body, y: Array, z: float, x: Array) -> None:
    """Paint the table with its mat, curved under the back; it does not rotate with the patient."""
    top = body.shift_y + body.half_depth + body.muscle + 0.7 * body.fat + 14.0
    depth = y - top - 18.0 + 0.0012 * x * x
    outside = image < -900.0
    image[outside & (np.abs(depth + 8.0) < 7.0)] = FOAM
    image[outside & (np.abs(depth - 1.5) < 1.5)] = TABLE


def surroundings(
    body: Body, scanner_position: tuple[Array, Array, float], position: tuple[Array, Array, float], pixel: float,
    texture: Array,
) -> tuple[Array, Array]:  # fmt: skip
    """Return HU (X, Y) of everything except the lung at one height, and the depth inside the thoracic cavity.

    Args:
        body: measures of the patient.
        scanner_position: x, y (broadcasting to (X, Y)) and z in mm of the voxels in the scanner.
        position: the same positions in the patient's frame.
        pixel: pixel width, mm.
        texture: random field of standard deviation 1 that makes outlines uneven.
    """
    x, y, z = position
    wall = cavity_depth(body, x, y, z) + 0.8 * texture
    skin = body_depth(body, x, y, z) + 1.5 * texture
    image = np.full(wall.shape, AIR, np.float32)
    paint(image, coverage(skin, pixel), SKIN)
    paint(image, coverage(skin - 1.8, pixel), FAT)
    inner = np.minimum(wall, skin)
    paint_chest_wall(image, body, position, np.minimum(inner, skin - 3.0), pixel)
    image[skin < -pixel] = AIR
    dome = dome_height(body, x, y)
    # Fat fills the mediastinum; above the lung apices, muscles and vessels of the neck replace it.
    paint(image, coverage(wall, pixel), FAT + (MUSCLE - FAT) * float(smoothstep((z - 60.0) / 30.0)))
    paint_heart(image, body, position, pixel)
    paint_abdomen(image, body, position, wall, dome, pixel)
    paint_ribs(image, body, position, wall, pixel)
    paint_sternum_and_scapulae(image, body, position, pixel)
    paint_spine(image, position, pixel)
    paint_table(image, body, scanner_position[1], scanner_position[2], scanner_position[0])
    return image, wall
