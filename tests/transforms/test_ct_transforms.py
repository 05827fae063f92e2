"""Intensities are checked against their declaration; each slice is normalised by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.transforms import NormalizeIntensity

from common.transforms.ct import NormalizeSlicesd, WindowCTd, check_intensity


def test_hounsfield_units_are_clipped_to_the_window() -> None:
    item = WindowCTd("image", (-1000, 100))({"image": torch.tensor([-3024.0, -1000.0, -300.0, 100.0, 2000.0])})
    assert item["image"].tolist() == [-1000.0, -1000.0, -300.0, 100.0, 100.0]


def test_grey_levels_are_mapped_to_the_window() -> None:
    item = WindowCTd("image", (-1000, 100))({"image": torch.tensor([0.0, 51.0, 255.0]), "intensity": "8bit"})
    assert item["image"].tolist() == pytest.approx([-1000.0, -780.0, 100.0])  # 51 / 255 is a fifth of 1100 HU


def test_grey_levels_declared_as_hu_are_refused_with_range_and_remedy() -> None:
    with pytest.raises(
        ValueError,
        match=r"scan_7: declared as HU.*too little air .*0\.00 % of the voxels; observed range 0 to 255.*8bit",
    ):
        check_intensity(torch.tensor([0.0, 255.0]), "HU", "scan_7")


def test_hu_declared_as_grey_levels_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"declared as 8bit, which is 0\.\.255; observed range -1000 to 40.*--intensity HU"
    ):
        check_intensity(torch.tensor([-1000.0, 40.0]), "8bit", "scan_7")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_counted(value: float) -> None:
    with pytest.raises(ValueError, match="got 2 NaN or infinite voxels"):
        check_intensity(torch.tensor([-1000.0, value, value]), "HU", "scan_7")


def test_unknown_intensity_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown intensity 'raw'"):
        check_intensity(torch.zeros(2), "raw", "scan_7")


def test_each_slice_is_normalised_by_itself(rng: np.random.Generator) -> None:
    volume = torch.from_numpy(rng.normal(-500, 200, (1, 7, 9, 3)).astype(np.float32))
    expected = [NormalizeIntensity()(volume[..., index]) for index in range(3)]  # MONAI's, on single slices
    whole = NormalizeSlicesd("image")({"image": volume.clone()})["image"]
    alone = NormalizeSlicesd("image")({"image": volume[..., 1:2].clone()})["image"]
    for index in range(3):
        torch.testing.assert_close(whole[..., index], torch.as_tensor(expected[index]), atol=1e-4, rtol=1e-4)
    assert torch.equal(whole[..., 1], alone[..., 0])


def test_a_constant_slice_becomes_zeros() -> None:
    assert NormalizeSlicesd("image")({"image": torch.full((1, 4, 4, 1), -1000.0)})["image"].abs().max() == 0
