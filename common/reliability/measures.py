"""What the probability of lesion says about a mask, in sums over its voxels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage

LESION_PROBABILITY = "lesion_probability"  # key of an item
STEPS = 255  # of a probability that is kept in eight bits
SAME_LESION = ndimage.generate_binary_structure(3, 1)  # voxels of one lesion share a face


def in_steps(probability: torch.Tensor) -> torch.Tensor:
    """Probabilities 0..1 as uint8 in steps of 1/255, which is a quarter of the memory."""
    return (probability * STEPS).round().to(torch.uint8)


def wrong_in_steps(probability: np.ndarray, lesion: np.ndarray) -> np.ndarray:
    """Probability that each voxel of a mask is wrong, uint8 in steps of 1/255.

    Args:
        probability: of lesion, uint8, in steps of 1/255, any shape.
        lesion: bool, same shape: where the mask says lesion.
    """
    return np.where(lesion, STEPS - probability, probability)


@dataclass(frozen=True)
class Measures:
    """Sums over the voxels of a case; probabilities are of lesion of any kind.

    Args:
        found: number of voxels that the mask calls lesion.
        sure: sum of the probability over these.
        expected: sum of the probability over all voxels: the expected number of lesion voxels.
        wrong: sum of the smaller of the probability and its complement: the expected number of wrong voxels, if each
            voxel took its likelier side.
        agreement: Dice of what the network finds in the slices and in their mirror images; None without these, or if
            it finds nothing in either.
    """

    found: float
    sure: float
    expected: float
    wrong: float
    agreement: float | None = None

    @classmethod
    def of(cls, probability: np.ndarray, lesion: np.ndarray, agreement: float | None = None) -> Measures:
        """Measure a case.

        Args:
            probability: uint8, in steps of 1/255, any shape.
            lesion: bool, same shape: where the mask says lesion.
            agreement: if there are mirror images.

        Raises:
            ValueError: for shapes that differ, or probabilities that are not in steps.

        Example:
            >>> Measures.of(np.array([255, 204, 51], np.uint8), np.array([True, True, False]))
            Measures(found=2, sure=1.8, expected=2.0, wrong=0.4, agreement=None)
        """
        if probability.shape != lesion.shape or probability.dtype != np.uint8:
            raise ValueError(
                f"Probabilities must be uint8 of the mask's shape {lesion.shape}, got {probability.dtype} "
                f"{probability.shape}. Bring both to one grid."
            )
        steps = np.arange(STEPS + 1)
        every = np.bincount(probability.ravel(), minlength=STEPS + 1)
        inside = np.bincount(probability[lesion], minlength=STEPS + 1)
        return cls(
            int(inside.sum()),
            float(inside @ steps) / STEPS,
            float(every @ steps) / STEPS,
            float(every @ np.minimum(steps, STEPS - steps)) / STEPS,
            agreement,
        )

    @property
    def expected_dice(self) -> float | None:
        """Dice of the expectations, if each probability is as frequent as it says; None if nothing was found."""
        return 2 * self.sure / (self.found + self.expected) if self.found else None


class Lesions(NamedTuple):
    """The connected lesions of a mask.

    Args:
        labels: int32, the number of each voxel's lesion, from 1; 0 elsewhere. Only the box around all lesions.
        box: where ``labels`` lies in the mask.
        voxels: of each lesion, (lesions,).
        probability: mean of each lesion, 0..1, (lesions,).
    """

    labels: np.ndarray
    box: tuple[slice, ...]
    voxels: np.ndarray
    probability: np.ndarray

    @classmethod
    def of(cls, probability: np.ndarray, lesion: np.ndarray) -> Lesions:
        """Find the lesions of a mask.

        Args:
            probability: uint8, in steps of 1/255, (X, Y, Z).
            lesion: bool, same shape.
        """
        box = bounds(lesion)
        labels = np.empty(lesion[box].shape, np.int32)
        count = ndimage.label(lesion[box], SAME_LESION, output=labels)
        inside = labels > 0
        own, values = labels[inside], probability[box][inside]
        voxels = np.bincount(own, minlength=count + 1)[1:]
        means = np.bincount(own, values, minlength=count + 1)[1:] / np.maximum(voxels, 1) / STEPS
        return cls(labels, box, voxels, means)

    def centres(self) -> np.ndarray:
        """Centre of mass of each lesion, voxel index in the mask, (lesions, 3)."""
        numbers = range(1, len(self.voxels) + 1)
        found = ndimage.center_of_mass(self.labels > 0, self.labels, numbers) if len(self.voxels) else np.empty((0, 3))
        return np.asarray(found) + [each.start for each in self.box]

    def area(self, chosen: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Where some of the lesions are.

        Args:
            chosen: bool, (lesions,).
            shape: of the mask.
        """
        found = np.zeros(shape, bool)
        found[self.box] = np.concatenate([[False], chosen])[self.labels]
        return found


def bounds(area: np.ndarray) -> tuple[slice, ...]:
    """The smallest box that holds an area (X, Y, Z); an empty one for an empty area."""
    box = []
    for axis in range(area.ndim):
        along = np.flatnonzero(area.any(tuple(other for other in range(area.ndim) if other != axis)))
        box.append(slice(int(along[0]), int(along[-1]) + 1) if len(along) else slice(0, 0))
    return tuple(box)
