"""Frames are drawn so that a class counts as much as another, and in it a patient as much as another."""

from __future__ import annotations

import pytest
import torch

from common.datasets.balanced_sampling import balanced_sampler, balanced_weights


def test_weights_by_hand() -> None:
    """Class 0: patient a with two clips, of three frames and of one; patient b with one frame. Class 1: one file."""
    items = [{"label": torch.tensor(0), "patient": "a", "case": "a/1"}] * 3
    items += [{"label": torch.tensor(0), "patient": "a", "case": "a/2"}]
    items += [{"label": torch.tensor(0), "patient": "b", "case": "b/1"}]
    items += [{"label": torch.tensor(1), "patient": "", "case": "c"}]
    assert balanced_weights(items) == pytest.approx([1 / 24] * 3 + [1 / 8, 1 / 4, 1 / 2])
    torch.manual_seed(0)
    drawn = torch.bincount(torch.tensor(list(balanced_sampler(items, 24_000))), minlength=6) / 24_000
    assert drawn.tolist() == pytest.approx([1 / 24] * 3 + [1 / 8, 1 / 4, 1 / 2], abs=0.01)
