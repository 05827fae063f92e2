"""Pixels outside the lungs are set to one value."""

from __future__ import annotations

import pytest
import torch

from common.transforms.masks import OutsideLungd


@pytest.mark.parametrize("shape", [(1, 2, 2), (1, 2, 2, 3)])
def test_what_lies_outside_the_lung_takes_one_value_and_the_inside_stays(shape: tuple[int, ...]) -> None:
    image = torch.rand(shape)
    lung = torch.zeros(shape, dtype=torch.uint8)
    lung[0, 1] = 1
    item = OutsideLungd(keys="image", value=-3.0)({"image": image, "lung": lung})
    assert torch.equal(item["image"][0, 1], image[0, 1]) and (item["image"][0, 0] == -3).all()
    assert (image >= 0).all(), "what came in is as it was"


@pytest.mark.parametrize(
    ("lung", "message"),
    [
        (
            torch.zeros(1, 4, 4),
            r"study_7: the lung mask must be positive in the lung, got only zeros, shape \(1, 4, 4\)",
        ),
        (torch.ones(1, 2, 2), r"study_7: the lung mask must have the image's shape \(1, 4, 4\), got \(1, 2, 2\)"),
    ],
)
def test_nothing_in_the_lung_or_a_mask_of_another_shape_is_refused(lung: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OutsideLungd(keys="image")({"image": torch.ones(1, 4, 4), "lung": lung, "case": "study_7"})
