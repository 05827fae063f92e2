"""The chest of a synthetic patient, and what the examiner chooses for one view of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..fields import Array
from .probe import Probe
from .texture import Profile, draws

WALL_STREAM = 11
VIEW_STREAM = 12
SETTING_STREAM = 13

# The picture must reach this many times as deep as the pleura, or the lung hardly shows.
LEAST_REACH = 1.9


@dataclass(frozen=True)
class Patient:
    """The chest wall of a patient, the same for every probe and every diagnosis; lengths in mm, echoes in dB.

    Attributes:
        seed: names the patient.
        skin, fat, muscle, intercostal: thickness of the layers from the skin to the pleura.
        fat_echo, muscle_echo: mean echo of the layers, relative to the pleural line.
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
    """Makes the chest wall of the patient with this seed; the pleura lies 12 to 27 mm deep."""
    rng = draws(seed, WALL_STREAM)
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
    """One place on the chest of a patient and the settings of the machine there.

    Attributes:
        number: of the view.
        pleura: distance from the skin to the pleura here, mm.
        tilt: slope of the pleura along the skin, mm/mm.
        flatness: 0 if the pleura follows a curved transducer face, 1 if it is flat.
        ribs: positions of the middles of ribs (N,), mm; none where the probe lies along a gap between ribs.
        contact: how much the echo falls towards the edges of the probe, dB.
        depth: depth setting, mm.
        gain: dB.
        compensation: how much too much (or too little) gain the time-gain compensation gives, dB/mm.
        dynamic_range: dB from black to white.
        breath: phase of breathing at the start, radians.
        period: of breathing, s.
        excursion: how far the lung slides to either side, mm.
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
        """Returns how far the lung has slid along the chest wall, mm, `time` seconds after the start."""
        return float(self.excursion * np.sin(self.breath + 2 * np.pi * time / self.period))


def make_view(patient: Patient, number: int, probe: Probe) -> View:
    """Chooses place and settings. The place is the same for every probe; neither depends on the diagnosis."""
    place = draws(patient.seed, VIEW_STREAM, number)
    pleura = patient.pleura * place.uniform(0.88, 1.12)
    tilt = place.normal(0, 0.035)
    ribs = patient.rib_spacing * (np.arange(-4, 5) + place.uniform(-0.5, 0.5))
    across = place.random() < 0.35
    breath, period, excursion = place.uniform(0, 2 * np.pi), place.uniform(2.5, 5.0), place.uniform(2.0, 6.0)
    chosen = draws(patient.seed, SETTING_STREAM, number)
    deep_enough = [depth for depth in probe.depths if depth >= LEAST_REACH * pleura] or [probe.depths[-1]]
    depth = float(chosen.choice(deep_enough))
    return View(
        number,
        pleura=pleura,
        tilt=tilt,
        flatness=place.uniform(0.0, 0.6),
        ribs=ribs if across else np.zeros(0),
        contact=place.uniform(0.0, 7.0),
        depth=depth,
        gain=chosen.uniform(-6.0, 7.0),
        # The error over the whole depth is alike for all probes.
        compensation=chosen.uniform(-7.0, 6.0) / depth,
        dynamic_range=chosen.uniform(50.0, 66.0),
        breath=breath,
        period=period,
        excursion=excursion,
    )


def pleura_depth(view: View, probe: Probe, waves: Profile) -> Array:
    """Returns the distance from the skin to the pleura along each ray (R,), mm."""
    position = probe.positions
    depth = view.pleura + view.tilt * position + 0.22 * waves.at(position) + 0.06 * waves.at(4.0 * position + 500.0)
    # A flat pleura lies farther from a curved face at its edges.
    angle = position / probe.radius
    if np.isfinite(probe.radius):
        depth = depth + view.flatness * (probe.radius + view.pleura) * (1 / np.cos(angle) - 1)
    return np.maximum(depth, 0.5 * view.pleura)
