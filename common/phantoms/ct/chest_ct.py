"""Synthetic chest CT with ground-glass opacities, consolidations and their exact labels, generated from a seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..fields import Array, SmoothField, coverage, generator, smooth_minimum, smoothstep
from ..folders import check_count, check_seed
from .anatomy import Body, dome_height, lung_span, make_body, pleura_depth, to_patient
from .body import BLOOD, surroundings
from .lesions import CONSOLIDATED_SHARE, GROUND_GLASS_ADDS, Lesions, Opacity, make_lesions, no_opacity, opacity_on
from .scanner import HIGHEST_HU, LOWEST_HU, STANDARD, Scanner, acquire
from .vessels import MAIN_AIRWAY, VesselTrees, make_trees, tube_share

TEXTURE_STREAM = 3
NOISE_STREAM = 4

# Wall of the bronchi, and air in them, HU. The lumen is slightly brighter than pure air.
BRONCHUS_WALL = 20.0
LUMEN_AIR = -985.0

SMALLEST_SIZE = 32


@dataclass(frozen=True)
class ChestCT:
    """A chest CT with labels, in LPS order: axes run to the patient's left, to posterior and to superior.

    Attributes:
        image: HU, int16, shape (X, Y, Z), within -1024..3071.
        lesion: uint8, shape (X, Y, Z): 0 no lesion, 1 ground-glass opacity, 2 consolidation.
        lung: uint8, shape (X, Y, Z): 1 in the lungs, with their lesions and vessels but without the main airways.
        spacing: distance between voxel centres along each axis, mm.
    """

    image: NDArray[np.int16]
    lesion: NDArray[np.uint8]
    lung: NDArray[np.uint8]
    spacing: tuple[float, float, float]


@dataclass(frozen=True)
class Patient:
    """A synthetic patient: everything that does not depend on the scan."""

    seed: int
    body: Body
    trees: VesselTrees
    lesions: Lesions


def make_patient(seed: int) -> Patient:
    """Generate the patient with this seed, without an image.

    Raises:
        ValueError: for a negative seed.
    """
    check_seed(seed)
    body = make_body(seed)
    return Patient(seed, body, make_trees(body, seed), make_lesions(body, seed))


def chest_ct(
    seed: int,
    size: tuple[int, int] = (256, 256),
    slices: int = 40,
    scanner: Scanner = STANDARD,
    field_of_view: float = 360.0,
    lesions: bool = True,
) -> ChestCT:
    """Generate the chest CT of one synthetic patient.

    The slices are spaced evenly over the patient's lungs. Other sizes and numbers of slices show the same patient, with
    other noise, as in a second scan.

    The labels come from the model without vessels, airways, blur and noise, averaged over the slice thickness. A voxel
    in the lung is ground-glass if the opacity adds more than 110 HU to the aerated lung, and consolidation if more than
    half of its air is replaced. Dependent atelectasis, motion at the diaphragm, vessels and emphysema have no label.

    Args:
        seed: seed of the patient, 0 or greater.
        size: pixels to the patient's left and to posterior, each at least 32.
        slices: number of slices, at least 1.
        scanner: noise, sharpness, slice thickness and calibration.
        field_of_view: length of the longer side of the image, 200 to 500 mm.
        lesions: False gives the same patient without opacities.

    Returns:
        The CT in LPS order.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> phantom = chest_ct(seed=1, size=(128, 128), slices=20)
        >>> phantom.image.shape, phantom.image.dtype, np.unique(phantom.lesion)
        ((128, 128, 20), dtype('int16'), array([0, 1, 2], dtype=uint8))
    """
    if min(size) < SMALLEST_SIZE:
        raise ValueError(f"size must be at least {SMALLEST_SIZE} along both axes, got {size}. Use more pixels.")
    check_count("slices", slices)
    if not 200 <= field_of_view <= 500:
        raise ValueError(f"field_of_view must be 200 to 500 mm, got {field_of_view}. A usual value for a chest is 360.")
    patient = make_patient(seed)
    heights, spacing = slice_heights(patient, slices)
    return scan(patient, size, heights, spacing, scanner, field_of_view, lesions)


def slice_heights(patient: Patient, slices: int) -> tuple[Array, float]:
    """Space slices evenly over the lungs; return their heights above the carina and their distance, in mm."""
    low, high = lung_span(patient.body)
    spacing = (high - low) / slices
    return low + (np.arange(slices) + 0.5) * spacing, spacing


def scan(
    patient: Patient,
    size: tuple[int, int],
    heights: Array,
    spacing: float,
    scanner: Scanner = STANDARD,
    field_of_view: float = 360.0,
    lesions: bool = True,
) -> ChestCT:
    """Scan a patient at the given heights above the carina.

    Args:
        patient: the patient.
        size: as for ``chest_ct``.
        heights: heights of the slices in mm, ascending.
        spacing: distance between slices that the CT states, mm.
        scanner: as for ``chest_ct``.
        field_of_view: as for ``chest_ct``.
        lesions: as for ``chest_ct``.
    """
    pixel = field_of_view / max(size)
    x, y = ((np.arange(n) + 0.5 - n / 2) * pixel for n in size)
    opacity = opacity_on(patient.lesions, patient.seed, x, y) if lesions else no_opacity
    lung_at = lung_model(patient, x, y, opacity, pixel)
    tubes = tube_shares(patient.trees, x, y, heights, scanner.slice_thickness)
    rng = generator(patient.seed, NOISE_STREAM)
    shape = (*size, len(heights))
    image, lesion, lung = np.empty(shape, np.int16), np.empty(shape, np.uint8), np.empty(shape, np.uint8)
    for k, height in enumerate(heights):
        model = average_through(lung_at, float(height), scanner.slice_thickness)
        true = add_tubes(model, *(share[:, :, k] for share in tubes))
        shoulders = float(smoothstep((height / patient.body.height - 40.0) / 50.0))
        shown = acquire(true, pixel, scanner, shoulders, rng)
        image[:, :, k] = np.clip(np.rint(shown), LOWEST_HU, HIGHEST_HU)
        lung[:, :, k] = (model.lung > 0.5) & (tubes[4][:, :, k] < 0.4)
        lesion[:, :, k] = labels_of(model) * lung[:, :, k]
    return ChestCT(image, lesion, lung, (pixel, pixel, float(spacing)))


@dataclass
class Slice:
    """The model of one slice without vessels and airways; all arrays (X, Y).

    Attributes:
        hu: HU with lesions.
        lung: share of the pixel that is lung.
        added: HU that opacities add.
        solid: share of the air that is replaced.
    """

    hu: Array
    lung: Array
    added: Array
    solid: Array


LungModel = Callable[[float], Slice]


def average_through(model: LungModel, height: float, thickness: float) -> Slice:
    """Average the model over the thickness of a slice, in mm."""
    count = 3 if thickness > 1.6 else 2
    offsets = ((np.arange(count) + 0.5) / count - 0.5) * thickness
    total = model(float(height + offsets[0]))
    for offset in offsets[1:]:
        sample = model(float(height + offset))
        for name in ("hu", "lung", "added", "solid"):
            getattr(total, name).__iadd__(getattr(sample, name))
    lung = np.maximum(total.lung, 1e-3)
    return Slice(total.hu / count, total.lung / count, total.added / lung, total.solid / lung)


def labels_of(model: Slice) -> NDArray[np.uint8]:
    """Return the lesion label of each pixel, 0, 1 or 2, by the rules of ``chest_ct``."""
    label = (model.added > GROUND_GLASS_ADDS).astype(np.uint8)
    label[model.solid > CONSOLIDATED_SHARE] = 2
    return label


def tube_shares(
    trees: VesselTrees, x: Array, y: Array, z: Array, thickness: float
) -> tuple[Array, Array, Array, Array, Array]:
    """Return voxel shares of lung vessels, great vessels, airway walls, airway lumina, and the main airways alone."""
    main = trees.wall.chosen(trees.lumen.radius > MAIN_AIRWAY)
    groups = (trees.lung, trees.great, trees.wall, trees.lumen, main)
    lung, great, wall, lumen, main_share = (tube_share(tubes, x, y, z, thickness) for tubes in groups)
    return lung, great, wall, lumen, main_share


def add_tubes(model: Slice, vessels: Array, great: Array, wall: Array, lumen: Array, main: Array) -> Array:
    """Return HU (X, Y) of the averaged slice with vessels and airways."""
    hu = model.hu + vessels * model.lung * (BLOOD - model.hu)
    # Great vessels replace the fat of the mediastinum only, not bone or lung.
    hu += great * (1 - model.lung) * (hu < 120) * (BLOOD - hu)
    # Only the main airways run outside the lungs.
    open_to_air = np.maximum(model.lung, main)
    hu += wall * open_to_air * (BRONCHUS_WALL - hu)
    hu += lumen * open_to_air * (LUMEN_AIR - hu)
    return hu


def lung_model(patient: Patient, x: Array, y: Array, opacity: Opacity, pixel: float) -> LungModel:
    """Return the function from height in mm to the model of an infinitely thin slice on the pixel grid."""
    body = patient.body
    rng = generator(patient.seed, TEXTURE_STREAM)
    outline = SmoothField(rng, 26.0).on(x, y)
    parenchyma = parenchyma_on(body, rng, x, y)
    columns, rows = x[:, None].astype(np.float32), y[None, :].astype(np.float32)

    def at(z: float) -> Slice:
        position = to_patient(body, columns, rows, z)
        uneven = outline(z)
        hu, _ = surroundings(body, (columns, rows, z), position, pixel, uneven)
        pleura = pleura_depth(body, *position) + 1.6 * uneven
        above = 0.75 * (position[2] - dome_height(body, position[0], position[1])) + 1.5 * uneven
        depth = smooth_minimum(pleura, above, 4.0)
        # The diaphragm moves during the scan, so its edge is wider than a voxel.
        lung = coverage(pleura, pixel) * coverage(above, max(pixel, body.motion))
        added, solid = opacity(z, depth, lung)
        aerated = parenchyma(z, position, depth)
        opaque = aerated + added
        opaque += solid * (patient.lesions.consolidation + 30.0 * uneven - opaque)
        hu += lung * (opaque - hu)
        return Slice(hu, lung, lung * (opaque - aerated), lung * solid)

    return at


def parenchyma_on(
    body: Body, rng: np.random.Generator, x: Array, y: Array
) -> Callable[[float, tuple[Array, Array, float], Array], Array]:
    """Return the function from height, position and depth below the pleura to HU of lung without opacities."""
    fine, lobular, regional, spots = (SmoothField(rng, scale).on(x, y) for scale in (3.5, 9.0, 50.0, 8.0))

    def at(z: float, position: tuple[Array, Array, float], depth: Array) -> Array:
        _, py, pz = position
        hu = body.density + body.gravity * (py - 5.0) / np.float32(1.7 * body.half_depth)
        hu = hu + 11.0 * fine(z) + 10.0 * lobular(z) + 14.0 * regional(z)
        if body.emphysema > 0:
            upper = float(np.clip((pz + 60.0) / 80.0, 0.15, 1.0))
            hu -= body.emphysema * upper * smoothstep((spots(z) - 0.9) / 0.8)
        if body.atelectasis > 0:
            # Only where the pleura faces backwards: near the back of the chest, thinner towards the sides.
            thickness = body.atelectasis * smoothstep((py - 0.45 * body.half_depth) / 30.0) * (1 + 0.5 * regional(z))
            hu += 270.0 * smoothstep((thickness - depth) / 3.0 + 0.5) * (thickness > 0.5)
        hu += 130.0 * fissure(position, 5.0 * regional(z), float(x[1] - x[0]))
        return np.maximum(hu, -985.0)

    return at


def fissure(position: tuple[Array, Array, float], waves: Array, pixel: float) -> Array:
    """Return the share (0..1) of the oblique fissures: wavy, curved sheets that descend from back to front."""
    x, y, z = position
    height = 1.15 * (y - 5.0) - 28.0 + 0.008 * (np.abs(x) - 62.0) ** 2 + 8.0 * np.sign(x)
    sheet = 0.65 * (z - height + waves)
    width = max(0.8, 0.6 * pixel)
    return (0.8 / width) * np.exp(-((sheet / width) ** 2))
