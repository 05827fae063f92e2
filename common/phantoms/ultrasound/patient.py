"""The chest wall of a synthetic patient, and place and settings of one view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..fields import Array
from .probe import Probe
from .texture import Profile, generator

WALL_STREAM = 11
VIEW_STREAM = 12
SETTING_STREAM = 13

# Smallest depth setting as a multiple of the pleura's depth, so that enough lung is visible.
LEAST_REACH = 1.9


@dataclass(frozen=True)
class Patient:
    """The chest wall of a patient, the same for every probe and every diagnosis; lengths in mm, echoes in dB.

    Attributes:
        seed: seed of the patient.
        skin: thickness of the skin.
        fat: thickness of the fat below it.
        muscle: thickness of the muscle below the fat.
        intercostal: thickness of the layer between muscle and pleura.
        fat_echo: mean echo of fat, relative to the pleural line.
        muscle_echo: mean echo of muscle, relative to the pleural line.
        rib_spacing: distance between the middles of neighbouring ribs.
        rib_width: width of a rib.
    """

    seed: int
    skin: float
    fat: float
    muscle: float
    intercostal: float
    fat_echo: float
    muscle_echo: float
    rib_spacing: float
    rib_width: float

    @property
    def pleura(self) -> float:
        """Mean distance from the skin to the pleura, mm."""
        return self.skin + self.fat + self.muscle + self.intercostal


def make_patient(seed: int) -> Patient:
    """Generate the chest wall of the patient with this seed; the pleura lies 12 to 27 mm deep."""
    rng = generator(seed, WALL_STREAM)
    return Patient(
        seed,
        skin=rng.uniform(1.2, 2.0),
        fat=rng.uniform(3.0, 11.0),
        muscle=rng.uniform(5.0, 10.0),
        intercostal=rng.uniform(3.3, 4.5),
        fat_echo=rng.uniform(-36.0, -30.0),
        muscle_echo=rng.uniform(-32.0, -27.0),
        rib_spacing=rng.uniform(27.0, 36.0),
        rib_width=rng.uniform(9.0, 12.5),
    )


@dataclass(frozen=True)
class View:
    """A view: one place on the chest of a patient, and the settings of the machine there.

    Attributes:
        number: number of the view.
        pleura: distance from the skin to the pleura here, mm.
        tilt: slope of the pleura along the skin, mm/mm.
        flatness: 0 if the pleura follows a curved transducer face, 1 if it is flat.
        ribs: (N,) positions of the middles of the ribs, mm; empty if the probe lies along a gap between ribs.
        contact: loss of echo at the edges of the probe, dB.
        depth: depth setting, mm.
        gain: gain, dB.
        compensation: error of the time-gain compensation, dB/mm; positive if the gain is too high.
        dynamic_range: range from black to white, dB.
        breath: phase of breathing at the start, radians.
        period: period of breathing, s.
        excursion: distance that the lung slides to either side, mm.
    """

    number: int
    pleura: float
    tilt: float
    flatness: float
    ribs: Array
    contact: float
    depth: float
    gain: float
    compensation: float
    dynamic_range: float
    breath: float
    period: float
    excursion: float

    def slide(self, time: float) -> float:
        """Return the distance that the lung has slid along the chest wall in mm, ``time`` seconds after the start."""
        return float(self.excursion * np.sin(self.breath + 2 * np.pi * time / self.period))


def make_view(patient: Patient, number: int, probe: Probe) -> View:
    """Generate place and settings of a view.

    The place is the same for every probe. Neither place nor settings depend on the diagnosis.
    """
    place = generator(patient.seed, VIEW_STREAM, number)
    pleura = patient.pleura * place.uniform(0.88, 1.12)
    tilt = place.normal(0, 0.035)
    ribs = patient.rib_spacing * (np.arange(-4, 5) + place.uniform(-0.5, 0.5))
    across = place.random() < 0.35
    breath, period, excursion = place.uniform(0, 2 * np.pi), place.uniform(2.5, 5.0), place.uniform(2.0, 6.0)
    settings = generator(patient.seed, SETTING_STREAM, number)
    deep_enough = [depth for depth in probe.depths if depth >= LEAST_REACH * pleura] or [probe.depths[-1]]
    depth = float(settings.choice(deep_enough))
    return View(
        number,
        pleura=pleura,
        tilt=tilt,
        flatness=place.uniform(0.0, 0.6),
        ribs=ribs if across else np.zeros(0),
        contact=place.uniform(0.0, 7.0),
        depth=depth,
        gain=settings.uniform(-6.0, 7.0),
        # The error over the whole depth has the same range for all probes.
        compensation=settings.uniform(-7.0, 6.0) / depth,
        dynamic_range=settings.uniform(50.0, 66.0),
        breath=breath,
        period=period,
        excursion=excursion,
    )


def pleura_depth(view: View, probe: Probe, waves: Profile) -> Array:
    """Return the distance from the skin to the pleura along each ray (R,), mm."""
    position = probe.positions
    depth = view.pleura + view.tilt * position + 0.22 * waves.at(position) + 0.06 * waves.at(4.0 * position + 500.0)
    # Towards its edges, a curved face is farther from a flat pleura.
    angle = position / probe.radius
    if np.isfinite(probe.radius):
        depth = depth + view.flatness * (probe.radius + view.pleura) * (1 / np.cos(angle) - 1)
    return np.maximum(depth, 0.5 * view.pleura)
