"""Slices kept in memory."""

from __future__ import annotations

import torch

from common.datasets.slices import SliceDataset


def test_a_field_that_is_also_a_key_stays_a_tensor() -> None:
    volume = torch.arange(8.0).reshape(1, 2, 2, 2)
    case = {"image": "a", "label": 1, "case": "a", "diagnosis": "normal"}
    held = SliceDataset([case], lambda _: {"image": volume, "label": volume + 1}, fields=["label", "diagnosis", "age"])
    for index, item in enumerate(held.planes):
        assert torch.equal(item["label"], volume[..., index] + 1)
        assert set(item) == {"image", "label", "diagnosis", "case", "slice"} and item["diagnosis"] == "normal"
