"""Signs of disease in a view of the lung, by diagnosis: B-lines, altered pleura, consolidations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..fields import Array
from .texture import generator

ILLNESS_STREAM = 21
FINDING_STREAM = 22

DIAGNOSES = ("normal", "pneumonia", "covid-19")

# Greatest distance of findings from the middle of the view, mm; slightly more than a convex probe shows.
REACH = 60.0


@dataclass(frozen=True)
class Illness:
    """The illness of a patient.

    Attributes:
        diagnosis: ``normal``, ``pneumonia`` or ``covid-19``.
        severity: 0 (hardly visible) to 1; in normal lungs, it determines the number of isolated B-lines.
        side: lung with the pneumonia, 0 left or 1 right.
    """

    diagnosis: str
    severity: float
    side: int


@dataclass(frozen=True)
class Findings:
    """Signs of disease along the pleura of one view; positions and lengths in mm, position 0 in the middle.

    Attributes:
        segments: (N, 2) first and last position of segments of altered pleura, in ascending order, not overlapping.
        b_lines: (N, 3) centre, width, and echo in dB relative to the pleural line.
        consolidations: (N, 3) centre, half width and depth below the pleura.
        thickening: thickening of the altered pleura.
        roughness: standard deviation of the depth of the altered pleura.
        breaks: share of the altered pleura that is interrupted, 0 to 1.
    """

    segments: Array
    b_lines: Array
    consolidations: Array
    thickening: float
    roughness: float
    breaks: float


def make_illness(seed: int, diagnosis: str) -> Illness:
    """Generate the illness of the patient with this seed and diagnosis."""
    rng = generator(seed, ILLNESS_STREAM, DIAGNOSES.index(diagnosis))
    return Illness(diagnosis, float(rng.beta(1.5, 1.5)), int(rng.integers(2)))


def make_findings(seed: int, view: int, illness: Illness) -> Findings:
    """Generate the findings of a view; even views show the left lung, odd views the right lung.

    The patterns follow clinical descriptions of lung ultrasound (Volpicelli et al., Intensive Care Medicine 2012 and
    2020). Normal lungs have isolated B-lines, bacterial pneumonia is focal with consolidation, COVID-19 is patchy and
    bilateral with spared areas.
    """
    rng = generator(seed, FINDING_STREAM, view)
    if illness.diagnosis == "covid-19" and rng.random() < 0.8 + 0.2 * illness.severity:
        return patchy(rng, illness.severity)
    if illness.diagnosis == "pneumonia":
        here = 0.97 if view % 2 == illness.side else 0.6 + 0.35 * illness.severity
        if rng.random() < here:
            return focal(rng, illness.severity)
    spread = illness.severity if illness.diagnosis == "normal" else 0.6 * illness.severity
    return isolated(rng, spread)


def isolated(rng: np.random.Generator, severity: float) -> Findings:
    """Return findings of a normal lung: no or a few isolated B-lines."""
    count = rng.poisson(0.3 + 1.3 * severity**2)
    centres = rng.uniform(-REACH, REACH, count)
    widths = rng.uniform(1.5, 3.0, count)
    margins = rng.uniform(0.8, 1.6, count)
    segments = merged(np.stack([centres - widths / 2 - margins, centres + widths / 2 + margins], axis=1))
    b_lines = np.stack([centres, widths, rng.uniform(-22.0, -17.0, count)], axis=1)
    return Findings(segments, b_lines, np.zeros((0, 3)), rng.uniform(0.0, 0.3), rng.uniform(0.05, 0.2), 0.1)


def patchy(rng: np.random.Generator, severity: float) -> Findings:
    """Return findings of COVID-19: short altered segments with B-lines, spared areas, a few small consolidations."""
    pieces = []
    edge = -REACH + rng.uniform(-10.0, 10.0)
    while edge < REACH:
        edge += rng.uniform(6.0, 22.0) * (1.3 - 0.6 * severity)
        width = rng.uniform(4.0, 10.0) * (0.8 + 0.6 * severity)
        pieces.append((edge, edge + width))
        edge += width
    segments = merged(np.array(pieces))
    b_lines = np.concatenate([b_lines_in(rng, first, last, (1.5, 3.8), (1.2, 4.0)) for first, last in segments])
    chosen = segments[rng.random(len(segments)) < 0.12 + 0.25 * severity]
    small = [
        (rng.uniform(first, last), rng.uniform(0.2, 0.4) * min(last - first, 10.0), rng.uniform(2.0, 4.5))
        for first, last in chosen
    ]
    return Findings(
        segments,
        b_lines,
        np.array(small).reshape(-1, 3),
        thickening=rng.uniform(0.3, 0.9) + 0.5 * severity,
        roughness=rng.uniform(0.25, 0.65),
        breaks=rng.uniform(0.2, 0.5),
    )


def focal(rng: np.random.Generator, severity: float) -> Findings:
    """Return findings of pneumonia: one long altered segment with confluent B-lines, often a consolidation."""
    width = rng.uniform(30.0, 80.0) * (0.65 + 0.6 * severity)
    centre = rng.uniform(-14.0, 14.0)
    first, last = centre - width / 2, centre + width / 2
    b_lines = b_lines_in(rng, first, last, (2.5, 9.0), (1.4, 4.0))
    solid = np.zeros((0, 3))
    if rng.random() < 0.35 + 0.5 * severity:
        half = min(rng.uniform(5.0, 16.0), 0.4 * width)
        middle = rng.uniform(first + half, last - half)
        solid = np.array([[middle, half, half * rng.uniform(0.45, 0.95)]])
    return Findings(
        np.array([[first, last]]),
        b_lines,
        solid,
        thickening=rng.uniform(0.2, 0.9) + 0.3 * severity,
        roughness=rng.uniform(0.1, 0.4),
        breaks=rng.uniform(0.1, 0.4),
    )


def b_lines_in(
    rng: np.random.Generator, first: float, last: float, widths: tuple[float, float], gaps: tuple[float, float]
) -> Array:
    """Return at least one B-line (N, 3), as in ``Findings``, for a segment; widths and gaps are ranges in mm."""
    lines = []
    edge = first + rng.uniform(0.6, 1.2)
    while True:
        width = min(rng.uniform(*widths), max(last - 0.6 - edge, 1.2))
        lines.append((edge + width / 2, width, rng.uniform(-23.0, -15.0)))
        edge += width + rng.uniform(*gaps)
        if edge > last - 1.8:
            return np.array(lines)


def merged(segments: Array) -> Array:
    """Join overlapping segments (N, 2), and return them in ascending order."""
    joined: list[list[float]] = []
    for first, last in segments[np.argsort(segments[:, 0])]:
        if joined and first <= joined[-1][1] + 1.0:
            joined[-1][1] = max(joined[-1][1], last)
        else:
            joined.append([float(first), float(last)])
    return np.array(joined).reshape(-1, 2)
