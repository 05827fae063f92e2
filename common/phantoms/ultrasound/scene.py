"""One view of a patient over time: grey levels from echoes, speckle and noise, and labels of what is visible."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..fields import Array
from .chest_wall import SHADOW_LOSS, chest_wall
from .findings import make_findings, make_illness
from .labels import dense_label, tidy
from .lung import Echo, Lung, PleuraRays
from .patient import make_patient, make_view, pleura_depth
from .probe import PROBES
from .texture import Profile, generator, speckle

SURFACE_STREAM = 51
WALL_SPECKLE_STREAM = 52
LUNG_SPECKLE_STREAM = 53
NOISE_STREAM = 54

# Electronic noise, dB relative to the pleural line, and its increase over the depth of the image.
NOISE_ECHO = -54.0
NOISE_RISE = 6.0

# Grey level of the pleural line at gain 0 dB.
PLEURA_GREY = 215.0
# A reverberation is visible where it adds at least this many grey levels to the expected image.
VISIBLE_GREY = 18.0

# Mean magnitude of complex Gaussian speckle of unit power.
MEAN_MAGNITUDE = np.float32(np.sqrt(np.pi) / 2)

# Times after which the speckle of the chest wall and of the lung is replaced, s.
WALL_MEMORY = 3.0
LUNG_MEMORY = 0.2


class Scene:
    """One view of a patient.

    Args:
        seed: seed of the patient.
        number: number of the view.
        diagnosis: ``normal``, ``pneumonia`` or ``covid-19``.
        probe: ``linear`` or ``convex``.
        samples: number of depth samples.
    """

    def __init__(self, seed: int, number: int, diagnosis: str, probe: str, samples: int) -> None:
        self.seed, self.number = seed, number
        self.probe = PROBES[probe]
        patient = make_patient(seed)
        self.view = make_view(patient, number, self.probe)
        self.depth = (np.arange(samples) + 0.5) * (self.view.depth / samples)
        surface = generator(seed, SURFACE_STREAM, number)
        self.pleura = pleura_depth(self.view, self.probe, Profile(surface, 14.0))
        self.wall = chest_wall(patient, self.view, self.probe, self.pleura, self.depth)
        findings = make_findings(seed, number, make_illness(seed, diagnosis))
        self.lung = Lung(seed, self.view, self.probe, findings, self.pleura, self.depth)
        self.loss = self.transmission(Profile(surface, 4.0))
        self.fields: dict[tuple[int, int], NDArray[np.complex64]] = {}

    def transmission(self, streaks: Profile) -> Array:
        """Return the factor (D, R) of all echoes due to contact, ribs and time-gain compensation."""
        view, probe = self.view, self.probe
        edge = (2 * np.abs(probe.positions) / probe.face) ** 3
        per_ray = -view.contact * edge + 1.2 * streaks.at(probe.positions)
        z = self.depth[:, None]
        decibel = per_ray + SHADOW_LOSS * self.wall.shadow * (z > self.wall.rib + 0.6)
        decibel = decibel + view.compensation * (z - view.pleura)
        amplitude: Array = np.exp(np.log(10) / 20 * decibel).astype(np.float32)
        return amplitude

    def speckle(self, rng: np.random.Generator) -> NDArray[np.complex64]:
        """Return a field of speckle (D, R) with the probe's resolution."""
        probe = self.probe
        pitch = probe.face / probe.rays
        axial = probe.pulse / float(self.depth[1] - self.depth[0])
        defocus = np.clip(np.abs(self.depth - probe.focus) / (1.5 * probe.focus), 0, 1)
        return speckle(rng, max(axial, 0.4), probe.beam / pitch, 2.5 * probe.beam / pitch, defocus, probe.rays)

    def frame(self, time: float, index: int) -> tuple[Array, NDArray[np.uint8]]:
        """Return grey levels 0..255 and labels, both (D, R), ``time`` seconds after the start."""
        rays = self.lung.rays_at(time)
        echo = self.lung.echo(rays, self.wall)
        noise = self.noise()
        grains = self.speckle_at(time, rays)
        # No interface is perfectly smooth: half of its echo has speckle, without a change of the mean.
        mirrors = sum((amplitude for amplitude, _ in echo.a_lines), echo.mirror)
        signal = np.sqrt(echo.power) * grains + mirrors * (0.5 + 0.5 / MEAN_MAGNITUDE * np.abs(grains))
        hiss = self.speckle(generator(self.seed, NOISE_STREAM, self.number, index))
        power = np.abs(self.loss * signal + noise * hiss) ** 2
        label = dense_label(self.lung, rays, self.visible(rays, echo, noise), self.wall.shadow)
        return self.grey(power), label

    def noise(self) -> Array:
        """Return the amplitude (D, 1) of the electronic noise, which the time-gain compensation amplifies too."""
        decibel = NOISE_ECHO + (NOISE_RISE / self.view.depth + self.view.compensation) * self.depth
        return (10 ** (decibel / 20))[:, None].astype(np.float32)

    def speckle_at(self, time: float, rays: PleuraRays) -> NDArray[np.complex64]:
        """Return the speckle (D, R): still in the chest wall, sliding in the lung, both slowly changing."""
        slid = self.view.slide(time) - self.view.slide(0.0)
        pitch = self.probe.spread(self.view.pleura) * self.probe.face / self.probe.rays
        lung = np.roll(self.changing_speckle(LUNG_SPECKLE_STREAM, LUNG_MEMORY, time), round(slid / pitch), axis=1)
        return np.where(
            self.depth[:, None] > rays.line, lung, self.changing_speckle(WALL_SPECKLE_STREAM, WALL_MEMORY, time)
        )

    def changing_speckle(self, stream: int, memory: float, time: float) -> NDArray[np.complex64]:
        """Return speckle (D, R) that is fully replaced every ``memory`` seconds, of mean power 1 at all times."""
        moment, share = divmod(time / memory, 1)
        first = self.field(stream, int(moment))
        if share == 0:
            return first
        angle = share * np.pi / 2
        return np.complex64(np.cos(angle)) * first + np.complex64(np.sin(angle)) * self.field(stream, int(moment) + 1)

    def field(self, stream: int, moment: int) -> NDArray[np.complex64]:
        """Return a field of speckle (D, R), cached while it is in use."""
        if (stream, moment) not in self.fields:
            outdated = [key for key in self.fields if key[0] == stream and key[1] < moment - 1]
            for key in outdated:
                del self.fields[key]
            self.fields[stream, moment] = self.speckle(generator(self.seed, stream, self.number, moment))
        return self.fields[stream, moment]

    def grey(self, power: Array) -> Array:
        """Convert power to grey levels 0..255 by logarithmic compression."""
        view = self.view
        decibel = 10 * np.log10(np.maximum(power, 1e-9)) + view.gain
        levels: Array = np.clip(PLEURA_GREY + decibel * (255.0 / view.dynamic_range), 0, 255)
        return levels

    def visible(self, rays: PleuraRays, echo: Echo, noise: Array) -> list[NDArray[np.bool_]]:
        """Return for each order the rays (R,) on which its A-line stands out from haze and noise."""
        every = np.arange(self.probe.rays)
        pitch = self.probe.spread(self.view.pleura) * self.probe.face / self.probe.rays
        shown = []
        for amplitude, depth in echo.a_lines:
            row = np.rint(depth / self.view.depth * len(self.depth) - 0.5).astype(int)
            in_image = row < len(self.depth) - 1
            row = np.minimum(row, len(self.depth) - 1)
            loss = self.loss[row, every] ** 2
            haze = loss * echo.power[row, every] + noise[row, 0] ** 2
            rise = self.grey(haze + loss * amplitude[row, every] ** 2) - self.grey(haze)
            shown.append(tidy(in_image & (rise > VISIBLE_GREY) & ~rays.altered, 1 / pitch))
        return shown
