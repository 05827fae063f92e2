"""The chest wall: echoes of the layers between skin and pleura, and ribs with their shadows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..fields import Array, smoothstep
from .patient import Patient, View
from .probe import Probe
from .texture import Profile, TissueTexture, generator

TISSUE_STREAM = 31

# Echo of the transducer-skin contact and of the fasciae, dB relative to the pleural line.
CONTACT_ECHO = -9.0
FASCIA_ECHO = -10.0
RIB_ECHO = -7.0

# Level of the echo below a rib relative to that without rib, dB.
SHADOW_LOSS = -60.0

# Distance from the surface of a rib to the pleura below it, mm.
RIB_HEIGHT = 7.5


@dataclass(frozen=True)
class Wall:
    """The chest wall along the rays; it does not move.

    Attributes:
        level: (W, R) mean echo of the scatterers in dB, down to the deepest point of the pleura.
        mirror: (W, R) amplitude of the smooth interfaces: fasciae and ribs.
        shadow: (R,) share of each ray, 0 to 1, that a rib stops.
        rib: (R,) depth of the surface of the rib, mm; meaningful where ``shadow`` is above 0.
    """

    level: Array
    mirror: Array
    shadow: Array
    rib: Array


def chest_wall(patient: Patient, view: View, probe: Probe, pleura: Array, depth: Array) -> Wall:
    """Return the chest wall above a pleura at depths (R,), on depth samples (D,), both in mm."""
    rng = generator(patient.seed, TISSUE_STREAM, view.number)
    z = depth[depth <= pleura.max() + 1.0, None].astype(np.float32)
    x = probe.positions * probe.spread(view.pleura / 2)
    # Each layer keeps its share of the distance to the pleura.
    nominal = (z * (view.pleura / pleura)).astype(np.float32)
    position = np.broadcast_to(x.astype(np.float32), nominal.shape)
    tops, fasciae = layer_tops(rng, patient, view, x)
    level = np.where(
        nominal < tops[1],
        fat_echo(rng, patient.fat_echo, nominal, position),
        muscle_echo(rng, patient.muscle_echo, nominal, position),
    )
    skin = CONTACT_ECHO - 7.0 * z + 4.0 * np.cos(2 * np.pi * z / max(0.5, 3 * probe.pulse))
    level = np.maximum(np.where(nominal < tops[0], level + 5.0, level), skin)
    mirror = np.zeros_like(nominal)
    for top, strength in zip(tops, fasciae, strict=True):
        width = max(0.16, 1.1 * probe.pulse)
        mirror += 10 ** ((FASCIA_ECHO + strength) / 20) * np.exp(-(((nominal - top) / width) ** 2) / 2)
    shadow, rib = ribs(rng, patient, view, probe)
    add_ribs(mirror, z, shadow, rib, probe)
    return Wall(level.astype(np.float32), mirror.astype(np.float32), shadow, rib)


def layer_tops(rng: np.random.Generator, patient: Patient, view: View, x: Array) -> tuple[list[Array], list[Array]]:
    """Return the depths (R,) in mm where skin, fat and muscle end, and the strength of the fasciae there, dB."""
    scale = view.pleura / patient.pleura
    ends = np.cumsum([patient.skin, patient.fat, patient.muscle]) * scale
    waves = (0.15, 0.5, 0.35)
    tilt = rng.normal(0, 0.03)
    tops = [
        end + wave * Profile(rng, 9.0).at(x) + tilt * x * (k > 0)
        for k, (end, wave) in enumerate(zip(ends, waves, strict=True))
    ]
    fasciae = [-6.0 + 5.0 * Profile(rng, 6.0).at(x), 3.5 * Profile(rng, 8.0).at(x), 4.0 * Profile(rng, 7.0).at(x) - 2.0]
    return tops, fasciae


def fat_echo(rng: np.random.Generator, mean: float, depth: Array, position: Array) -> Array:
    """Return the echo of fat in dB: dark lobules between thin bright septa."""
    slope = rng.normal(0, 0.06)
    lobules = TissueTexture(rng, 1.7, 10.0).at(depth - slope * position, position)
    return mean + 17.0 * smoothstep(1 - np.abs(lobules) / 0.25) + 2.0 * lobules


def muscle_echo(rng: np.random.Generator, mean: float, depth: Array, position: Array) -> Array:
    """Return the echo of muscle in dB: fibres with bright layers of connective tissue, long and thin along the skin."""
    slope = rng.normal(0, 0.09)
    fibres = TissueTexture(rng, 1.0, 13.0).at(depth - slope * position, position)
    layers = smoothstep(1 - np.abs(fibres - 0.8) / 0.35) + 0.7 * smoothstep(1 - np.abs(fibres + 0.4) / 0.3)
    return mean + 14.0 * layers + 2.5 * fibres


def ribs(rng: np.random.Generator, patient: Patient, view: View, probe: Probe) -> tuple[Array, Array]:
    """Return the share of each ray (R,) that a rib stops, and the depth of the rib's surface there, mm."""
    surface = view.pleura - RIB_HEIGHT
    x = probe.positions * probe.spread(surface)
    shadow, rib = np.zeros(probe.rays), np.full(probe.rays, surface)
    # The beam is a few millimetres wide, so the edges of the shadow are soft and uneven.
    uneven = 0.12 * Profile(rng, 1.5).at(x)
    for middle in view.ribs:
        across = np.abs(x - middle) / (patient.rib_width / 2)
        shadow = np.maximum(shadow, smoothstep((1.0 - across + uneven) / 0.5 + 0.5))
        rib = np.where(across < 1.35, surface + 2.4 * across**2, rib)
    return shadow, rib


def add_ribs(mirror: Array, z: Array, shadow: Array, rib: Array, probe: Probe) -> None:
    """Add the bright surfaces of the ribs to the amplitude (W, R) in place, and darken what lies below them."""
    mirror *= 1 - shadow * (z > rib)
    width = max(0.35, 1.2 * probe.pulse)
    # The curved sides of a rib reflect the beam away.
    echo = 10 ** (RIB_ECHO / 20) * shadow * np.clip(1.2 - (rib - rib.min()) / 3.0, 0.05, 1.0) ** 2
    mirror += echo * np.exp(-(((z - rib) / width) ** 2) / 2)
