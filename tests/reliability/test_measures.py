"""Sums over the voxels of a mask, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from common.reliability.measures import Lesions, Measures, in_steps, wrong_in_steps


def test_measures_by_hand() -> None:
    probability = np.array([255, 204, 51, 0], np.uint8)  # 1.0, 0.8, 0.2, 0
    found = Measures.of(probability, np.array([True, True, False, False]), agreement=0.9)
    assert (found.found, found.agreement) == (2, 0.9)
    assert (found.sure, found.expected, found.wrong) == pytest.approx((1.8, 2.0, 0.4))
    assert found.expected_dice == pytest.approx(2 * 1.8 / (2 + 2.0))


def test_the_expected_dice_is_that_of_masks_drawn_from_the_probabilities() -> None:
    random = np.random.default_rng(0)
    steps = random.integers(0, 256, 4000).astype(np.uint8)
    lesion = steps > 128
    drawn = random.random((200, 4000)) < steps / 255
    dice = 2 * (drawn & lesion).sum(1) / (drawn.sum(1) + lesion.sum())
    assert Measures.of(steps, lesion).expected_dice == pytest.approx(dice.mean(), abs=0.002)


def test_nothing_found_has_no_dice() -> None:
    assert Measures.of(np.zeros(4, np.uint8), np.zeros(4, bool)).expected_dice is None


def test_probabilities_on_another_grid_or_not_in_steps_are_refused() -> None:
    with pytest.raises(ValueError, match=r"uint8 of the mask's shape \(4,\), got uint8 \(3,\)"):
        Measures.of(np.zeros(3, np.uint8), np.zeros(4, bool))
    with pytest.raises(ValueError, match="got float64"):
        Measures.of(np.zeros(4), np.zeros(4, bool))


def test_steps_keep_a_probability_to_half_a_step() -> None:
    values = torch.rand(1000, generator=torch.Generator().manual_seed(0))
    assert (in_steps(values) / 255 - values).abs().max() <= 0.5 / 255 + 1e-6
    assert in_steps(torch.tensor([0.0, 1.0])).tolist() == [0, 255]


def test_the_probability_of_being_wrong_is_that_of_the_other_answer() -> None:
    wrong = wrong_in_steps(np.array([200, 200], np.uint8), np.array([True, False]))
    assert wrong.tolist() == [55, 200]


def test_lesions_are_apart_unless_they_share_a_face() -> None:
    lesion, steps = np.zeros((5, 5, 3), bool), np.zeros((5, 5, 3), np.uint8)
    lesion[1, 1, :2] = True  # one lesion over two slices
    steps[1, 1, :2] = (255, 51)
    lesion[2, 2, 0] = True  # touches it by an edge only
    steps[2, 2, 0] = 102
    found = Lesions.of(steps, lesion)
    assert found.voxels.tolist() == [2, 1]
    assert found.probability.tolist() == pytest.approx([0.6, 0.4])
    area = found.area(np.array([False, True]), lesion.shape)
    assert np.argwhere(area).tolist() == [[2, 2, 0]]


def test_no_lesion_is_no_area() -> None:
    found = Lesions.of(np.zeros((3, 3, 2), np.uint8), np.zeros((3, 3, 2), bool))
    assert len(found.voxels) == 0 and not found.area(np.zeros(0, bool), (3, 3, 2)).any()
