"""Slices kept in memory."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.transforms import Compose, Orientationd, Resized

from common.datasets.slices import SliceDataset
from common.transforms.ct import LoadScand


def test_a_field_that_is_also_a_key_stays_a_tensor() -> None:
    volume = torch.arange(8.0).reshape(1, 2, 2, 2)
    case = {"image": "a", "label": 1, "case": "a", "diagnosis": "normal"}
    held = SliceDataset([case], lambda _: {"image": volume, "label": volume + 1}, fields=["label", "diagnosis", "age"])
    for index, item in enumerate(held.planes):
        assert torch.equal(item["label"], volume[..., index] + 1)
        assert (
            set(item) == {"image", "label", "diagnosis", "case", "patient", "slice", "pixel"}
            and item["diagnosis"] == "normal"
        )


@pytest.mark.parametrize("known", [True, False])
def test_the_size_of_a_pixel_is_that_of_the_resized_slice(known: bool, tmp_path: Path) -> None:
    # 32 x 16 voxels of 0.75 x 1.5 mm become 16 x 16; a file of 1 mm voxels at the origin states nothing
    affine = np.diag([0.75, 1.5, 5, 1]) if known else np.eye(4)
    affine[:3, 3] = [-12, -12, 40] if known else 0
    nibabel.save(nibabel.Nifti1Image(np.zeros((32, 16, 2), np.int16), affine), tmp_path / "a.nii.gz")
    read = Compose(
        [
            LoadScand("image"),
            Orientationd("image", axcodes="LPS", labels=None),
            Resized("image", (16, 16, -1), mode="bilinear"),
        ]
    )
    (first, _) = SliceDataset([{"image": tmp_path / "a.nii.gz"}], read, keys=["image"]).planes
    expected = torch.tensor([1.5, 1.5] if known else [torch.nan] * 2)
    torch.testing.assert_close(first["pixel"], expected, equal_nan=True, rtol=1e-5, atol=1e-5)
