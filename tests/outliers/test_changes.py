"""The changes that a detector learns to tell."""

from __future__ import annotations

import pytest
import torch

from common.outliers.changes import CHANGES, CUT, EDGES, FIRST, KEPT, SECOND, SHARPER, SMOOTHER


def step(size: int = 40) -> torch.Tensor:
    """A slice that is 0 in its upper half and 1 below, with a faint stripe, and its mask in a second channel."""
    image = torch.zeros(1, 2, size, size)
    image[:, :, size // 2 :] = 1
    image[:, 0, 5] += 0.1
    image[:, 0, 35] -= 0.1
    return image


@pytest.mark.parametrize("name", CHANGES)
def test_shape_and_range_stay(name: str) -> None:
    after = CHANGES[name].apply(step())
    assert after.shape == step().shape and 0 <= after.min() and after.max() <= 1.0
    assert not torch.equal(after, step()) or name == SECOND, "its columns are all alike"


def test_stripes_are_enlarged_and_blurred_as_a_gaussian_does() -> None:
    """A line of one pixel keeps 0.383 of its height: what a Gaussian of one pixel has within half a pixel."""
    kept = 0.383
    blurred, edges = (CHANGES[name].apply(step()) for name in (SMOOTHER, SHARPER))
    assert blurred[0, 0, 5, 20].item() == pytest.approx(0.1 * kept, abs=0.002)
    assert edges[0, 0, 5, 20].item() == pytest.approx(0.1 * (1 + EDGES * (1 - kept)), abs=0.004)
    for after in (blurred, edges):
        assert torch.equal(after[:, 1], step()[:, 1]), "the mask of the lungs stays"


def test_the_middle_is_enlarged() -> None:
    image = torch.zeros(1, 1, 50, 50)
    image[..., 20:30, 24] = 1
    after = CHANGES[CUT].apply(image)
    assert after.shape == image.shape
    assert (after.amax(3) > 0.25).sum().item() == pytest.approx(10 / KEPT, abs=1.5)
    assert torch.equal(CHANGES[FIRST].apply(image)[0, 0, 20], image[0, 0, 29])
