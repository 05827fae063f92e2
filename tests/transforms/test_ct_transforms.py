"""Intensities are checked against their declaration; each slice is normalised by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.transforms import NormalizeIntensity

from common.transforms.ct import BY_MODES, NormalizeCTd, NormalizeSlicesd, WindowCTd, check_intensity, window_by_modes


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


def test_a_fixed_window_is_the_same_for_slices_of_lung_and_of_tissue() -> None:
    """-1 to 1 from bound to bound, whatever else the slice shows; by slice the same tissue gets another value."""
    base, apex = torch.full((1, 8, 8, 1), 40.0), torch.full((1, 8, 8, 1), -860.0)
    base[0, 0, 0], apex[0, 0, 0] = -860.0, 40.0
    fixed = NormalizeCTd("image", by="window", window=(-1080, 280))
    values = [fixed({"image": volume.clone()})["image"] for volume in (base, apex)]
    assert values[0][0, 1, 1, 0].item() == values[1][0, 0, 0, 0].item() == pytest.approx(2 * 1120 / 1360 - 1)
    by_slice = NormalizeCTd("image", by="slice", window=(-1080, 280))
    moved = [by_slice({"image": volume.clone()})["image"] for volume in (base, apex)]
    assert abs(moved[0][0, 1, 1, 0] - moved[1][0, 0, 0, 0]) > 1
    torch.testing.assert_close(moved[0], NormalizeSlicesd("image")({"image": base.clone()})["image"])
    with pytest.raises(ValueError, match=r"--normalise must be slice or window, got 'mean'\."):
        NormalizeCTd("image", by="mean", window=(-1000, 100))


@pytest.mark.parametrize("window", [(-1350.0, 150.0), (-1024.0, 1800.0), (-1080.0, 280.0)])
def test_the_window_of_a_picture_is_found_in_it(window: tuple[float, float]) -> None:
    """Lung of -860 HU and tissue of 40 HU with noise, some air and bone; within 15 HU of tissue and lung."""
    generator = torch.Generator().manual_seed(0)
    parts = [(-860.0, 40.0, 4000), (40.0, 30.0, 5000), (-1000.0, 20.0, 300), (700.0, 300.0, 400), (-400.0, 150.0, 900)]
    hu = torch.cat([mean + deviation * torch.randn(count, generator=generator) for mean, deviation, count in parts])
    grey = ((hu - window[0]) / (window[1] - window[0]) * 255).round().clamp(0, 255)
    black, white = window_by_modes(grey)
    for tissue in (-860.0, 40.0):
        level = (tissue - window[0]) / (window[1] - window[0]) * 255
        assert black + level / 255 * (white - black) == pytest.approx(tissue, abs=15)
    item = {"image": grey.reshape(1, 100, 106, 1).clone(), "intensity": "8bit", "grey_window": BY_MODES}
    mapped = WindowCTd("image", window=(-1080, 280))(item)["image"].flatten()
    assert mapped[4000:9000].median().item() == pytest.approx(40, abs=20)


def test_a_picture_of_one_grey_level_has_some_window() -> None:
    black, white = window_by_modes(torch.full((1, 8, 8, 1), 17.0))
    assert black < white
