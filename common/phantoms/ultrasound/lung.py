"""Echoes at and below the pleura: pleural line, haze with A-lines, B-lines and consolidations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from ..fields import Array, smoothstep
from .chest_wall import Wall
from .findings import Findings
from .patient import View
from .probe import Probe
from .texture import Profile, generator

LUNG_STREAM = 41

# Echo just below the healthy and the altered pleura and inside a consolidation, dB relative to the pleural line.
HAZE_ECHO = -28.0
ALTERED_ECHO = -30.0
SOLID_ECHO = -34.0
# Level of the chest wall's image after each additional reflection at the pleura, dB.
GHOST_LOSS = -20.0

# Width of the soft edges of a B-line as a share of its width, and its smallest and greatest value in mm.
B_LINE_EDGE = 0.5
B_LINE_EDGES = (0.8, 2.6)

# Thickness of the healthy pleural line, mm.
PLEURA_THICKNESS = 0.7

# Reverberations of a higher order are weaker than the noise.
HIGHEST_ORDER = 6


@dataclass(frozen=True)
class PleuraRays:
    """The rays (R,) at the pleura at one moment.

    Attributes:
        line: depth of the middle of the pleural line, mm.
        half: half the thickness of the pleural line, mm.
        strength: amplitude of the pleural line.
        altered: bool, True where a ray crosses altered pleura.
        soft: ``altered`` with soft edges, 0 to 1.
        b_power: power of the B-lines.
        b_line: bool, True where a ray crosses a B-line.
        solid: thickness of consolidation below the pleura, mm.
        haze: brightness of the haze, dB.
        patches: for each order from 2 on, amplitude of its A-line relative to the mean of that order.
    """

    line: Array
    half: Array
    strength: Array
    altered: NDArray[np.bool_]
    soft: Array
    b_power: Array
    b_line: NDArray[np.bool_]
    solid: Array
    haze: Array
    patches: list[Array]


@dataclass(frozen=True)
class Echo:
    """Echoes at one moment on the depth samples and rays.

    Attributes:
        power: (D, R) power of the scatterers.
        mirror: (D, R) amplitude of the smooth interfaces without A-lines.
        a_lines: for each order from 2 on, amplitude (D, R) and depth (R,) in mm of its A-line.
    """

    power: Array
    mirror: Array
    a_lines: list[tuple[Array, Array]]


class Lung:
    """The lung in one view. It slides with breathing; the depth of the pleura does not change.

    Args:
        seed: seed of the patient.
        view: place and settings.
        probe: the probe.
        findings: signs of disease.
        pleura: depth of the pleura (R,), mm.
        depth: depth samples (D,), mm.
    """

    def __init__(self, seed: int, view: View, probe: Probe, findings: Findings, pleura: Array, depth: Array) -> None:
        rng = generator(seed, LUNG_STREAM, view.number)
        self.view, self.probe, self.findings = view, probe, findings
        self.pleura, self.z = pleura.astype(np.float32), depth[:, None].astype(np.float32)
        self.rough, self.shine, self.gaps, self.fine = (Profile(rng, scale) for scale in (1.6, 5.0, 2.2, 0.6))
        self.haze, self.patches, self.shred = (Profile(rng, scale) for scale in (3.5, 8.0, 2.0))
        self.flicker = rng.uniform(0, 2 * np.pi, 64)
        self.order_loss = rng.uniform(5.5, 10.0)
        self.first_loss = rng.uniform(9.0, 16.0)
        self.facing = facing(pleura, view, probe)

    def rays_at(self, time: float) -> PleuraRays:
        """Return the rays at the pleura, ``time`` seconds after the start."""
        x = self.probe.positions * self.probe.spread(self.view.pleura) - self.view.slide(time)
        findings = self.findings
        altered = np.zeros(len(x), bool)
        for first, last in findings.segments:
            altered |= (x >= first) & (x <= last)
        rays_per_mm = 1 / (x[1] - x[0])
        soft = gaussian_filter1d(altered.astype(np.float32), 0.5 * rays_per_mm, mode="nearest")
        b_power, b_line = self.b_lines(x, time)
        solid = np.zeros(len(x))
        for centre, half, deep in findings.consolidations:
            lens = np.sqrt(np.maximum(1 - ((x - centre) / half) ** 2, 0))
            solid = np.maximum(solid, deep * lens * (1 + 0.22 * self.shred.at(x)))
        solid = np.where(altered & (solid > 1.0), solid, 0)
        line = self.pleura + soft * findings.roughness * self.rough.at(x)
        shine = (1.5 + 2.0 * soft) * self.shine.at(x) - 3.0 * (solid > 0)
        broken = smoothstep((self.gaps.at(x) - 1.6 + 2.0 * findings.breaks) / 0.6)
        shine = shine - 8.0 * soft * broken
        return PleuraRays(
            line=line,
            half=(PLEURA_THICKNESS + findings.thickening * soft) / 2,
            strength=self.facing * 10 ** (np.clip(shine, -11.0, 4.0) / 20),
            altered=altered,
            soft=soft,
            b_power=b_power,
            b_line=b_line & altered,
            solid=solid,
            haze=1.5 * self.haze.at(x) + 2.0 * self.patches.at(x),
            patches=[(1 - soft) ** 3 * self.patch(x, order) for order in self.orders()],
        )

    def patch(self, x: Array, order: int) -> Array:
        """Return the relative amplitude of an A-line at positions x (R,); it varies, so A-lines appear in pieces."""
        # The first term comes from the pleura and is common to all orders, the second term differs between orders.
        decibel = 3.0 * self.patches.at(x) + 5.0 * self.patches.at(1.3 * x + 200.0 * order)
        share: Array = 10 ** (np.clip(decibel - 1.0, -25.0, 2.5) / 20)
        return share

    def b_lines(self, x: Array, time: float) -> tuple[Array, NDArray[np.bool_]]:
        """Return the power of the B-lines on rays at positions x (R,), and the rays within their width."""
        power, inside = np.zeros(len(x)), np.zeros(len(x), bool)
        streaks = np.clip(1.6 * self.fine.at(x) + 1.8 * self.haze.at(0.7 * x), -4.0, 3.0)
        for k, (centre, width, echo) in enumerate(self.findings.b_lines):
            inward = width / 2 - np.abs(x - centre)
            flicker = 1.5 * np.sin(2 * np.pi * 1.3 * time + self.flicker[k % len(self.flicker)])
            profile = smoothstep(inward / np.clip(B_LINE_EDGE * width, *B_LINE_EDGES) + 0.5)
            power = np.maximum(power, profile * 10 ** ((echo + flicker + streaks) / 10))
            inside |= inward >= 0
        return power, inside

    def echo(self, rays: PleuraRays, wall: Wall) -> Echo:
        """Return the echoes of chest wall and lung, without shadows, noise and gain."""
        below = self.z - rays.line.astype(np.float32)
        level = np.where(below > 0, self.haze_level(rays, wall, below), above(wall.level, len(self.z)))
        power = np.exp(np.float32(np.log(10) / 10) * level)
        # B-lines hardly fade: by a tenth of the haze's decay.
        ringing = np.exp(np.float32(-0.1 * self.probe.fade * np.log(10) / 10) * np.maximum(below, 0))
        power += (rays.b_power * (below > rays.solid)).astype(np.float32) * ringing
        mirror = above(wall.mirror, len(self.z), 0.0) * (below < 0)
        width = np.maximum(rays.half / 1.4, self.probe.pulse).astype(np.float32)
        mirror += rays.strength.astype(np.float32) * np.exp(-((below / width) ** 2) / 2)
        edge = np.where(rays.solid > 0, 10 ** (-14.0 / 20), 0).astype(np.float32)
        mirror += edge * np.exp(-(((below - rays.solid) / (2 * self.probe.pulse)) ** 2) / 2).astype(np.float32)
        return Echo(power, mirror, [self.a_line(order, rays) for order in self.orders()])

    def haze_level(self, rays: PleuraRays, wall: Wall, below: Array) -> Array:
        """Return the echo (D, R) below the pleura without A-lines and B-lines, dB."""
        fade = np.float32(self.probe.fade) * below
        order = np.floor_divide(self.z, self.pleura)
        # Each additional reflection between pleura and probe shows the chest wall again, weaker each time.
        spacing = float(self.z[1, 0] - self.z[0, 0])
        row = np.clip(((self.z - order * self.pleura) / spacing).astype(np.intp), 0, len(wall.level) - 1)
        ghost = np.take_along_axis(wall.level, row, axis=0) + GHOST_LOSS - self.order_loss * (order - 1)
        haze = np.maximum(HAZE_ECHO + rays.haze - fade, ghost)
        altered = ALTERED_ECHO + rays.haze - 0.6 * fade
        level = haze + rays.soft * (altered - haze)
        return np.where((below < rays.solid), SOLID_ECHO + rays.haze, level).astype(np.float32)

    def orders(self) -> range:
        """Return the orders of the reverberations within the image; the pleural line itself has order 1."""
        return range(2, min(int(self.z[-1, 0] // self.pleura.min()), HIGHEST_ORDER) + 1)

    def a_line_half(self) -> float:
        """Return half the thickness of an A-line, mm."""
        return max(0.32, 1.3 * self.probe.pulse)

    def a_line(self, order: int, rays: PleuraRays) -> tuple[Array, Array]:
        """Return amplitude (D, R) and depth (R,) of the A-line of one order, at that multiple of the pleura's depth."""
        depth = order * self.pleura
        loss = self.first_loss + (order - 2) * self.order_loss
        peak = 10 ** (-loss / 20) * rays.patches[order - 2] * self.facing**order
        shape = np.exp(-(((self.z - depth) / np.float32(self.a_line_half() / 1.3)) ** 2) / 2)
        return (peak.astype(np.float32) * shape), depth


def facing(pleura: Array, view: View, probe: Probe) -> Array:
    """Return the share (R,) of the echo that returns to the probe; a tilted pleura reflects it past the probe."""
    step = probe.spread(view.pleura) * probe.face / probe.rays
    slope = gaussian_filter1d(np.gradient(pleura) / step, 6.0, mode="nearest")
    share: Array = np.maximum(np.exp(-((np.arctan(slope) / np.deg2rad(14.0)) ** 2)), 0.35)
    return share


def above(array: Array, samples: int, value: float = -60.0) -> Array:
    """Extend an array (W, R) to (samples, R) by a constant."""
    return np.pad(array, ((0, samples - len(array)), (0, 0)), constant_values=value)
