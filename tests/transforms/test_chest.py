"""Scans of other parts of the body are refused; chests with little aerated lung are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Orientation

from common.phantoms.ct.chest_ct import chest_ct
from common.readers.ct import read
from common.transforms.chest import CheckChestd

SHAPE, SPACING = (96, 96, 12), (3.0, 3.0, 5.0)
X, Y = (np.indices(SHAPE[:2]) - 48.0)[:, :, :, None] * np.ones(SHAPE[2])


def scan(values: np.ndarray, spacing: tuple[float, float, float] = SPACING) -> MetaTensor:
    """A scan in LPS order."""
    affine = torch.diag(torch.tensor([-spacing[0], -spacing[1], spacing[2], 1.0], dtype=torch.float64))
    return MetaTensor(torch.from_numpy(values.astype(np.float32))[None], affine=affine)


def body(half_width: float, half_depth: float) -> np.ndarray:
    """Soft tissue of 40 HU in air, an ellipse with half axes in voxels."""
    return np.where((X / half_width) ** 2 + (Y / half_depth) ** 2 < 1, 40.0, -1000.0)


def head() -> np.ndarray:
    """A skull with brain, the sinuses full of air."""
    values = body(28, 34)
    values[(X / 28) ** 2 + (Y / 34) ** 2 > 0.85] = np.maximum(values, 900)[(X / 28) ** 2 + (Y / 34) ** 2 > 0.85]
    values[(X / 28) ** 2 + (Y / 34) ** 2 >= 1] = -1000
    values[(np.abs(X) < 5) & (np.abs(Y + 22) < 4)] = -1000
    return values


def abdomen() -> np.ndarray:
    """An abdomen with fat, and bowel gas in four loops."""
    values = body(44, 32)
    ring = (X / 44) ** 2 + (Y / 32) ** 2
    values[(ring > 0.7) & (ring < 1)] = -100
    for x, y in ((-20, -10), (-5, -14), (12, -12), (22, -2)):
        values[(X - x) ** 2 + (Y - y) ** 2 < 16] = -1000
    return values


@pytest.mark.parametrize("make", [head, abdomen, lambda: body(20, 20)], ids=["head", "abdomen", "limb"])
def test_other_parts_of_the_body_are_refused(make: Callable[[], np.ndarray]) -> None:
    noise = np.random.default_rng(0).normal(0, 15, SHAPE)
    item = {"image": scan(make() + noise), "case": "a/b"}
    with pytest.raises(ValueError, match=r"^a/b: a chest CT shows lung, got 0\.\d\d % of the body.*--min_lung 0\.$"):
        CheckChestd("image")(item)
    assert CheckChestd("image", least=0)(item) == item
    assert CheckChestd("image")({**item, "intensity": "8bit"})["case"] == "a/b"
    assert CheckChestd("image")({**item, "lung": torch.zeros(1, *SHAPE), "lung_from": "given"})["case"] == "a/b"


def chest(seed: int, slices: int = 12) -> Any:
    return chest_ct(seed, size=(96, 96), slices=slices)


@pytest.mark.parametrize("seed", range(3))
def test_chests_are_accepted_however_little_lung_is_aerated(seed: int) -> None:
    phantom = chest(seed)
    solid = phantom.image.copy()
    rows = np.indices(solid.shape)[1]
    solid[(phantom.lung > 0) & (rows > np.quantile(rows[phantom.lung > 0], 0.2))] = 30  # 80 % consolidation: CT-4
    for values in (phantom.image, solid, phantom.image[..., 6:7], phantom.image[10:50, 20:80]):
        CheckChestd("image")({"image": scan(values, phantom.spacing)})


def test_the_share_is_that_of_lung_in_body_and_lung() -> None:
    values, lung = body(40, 30), (X + 15) ** 2 + Y**2 < 100
    values[lung] = -800
    share = lung.sum() / (values > -1000).sum()
    item = {"image": scan(values), "lung": torch.from_numpy(lung[None])}
    CheckChestd("image", least=share - 1e-4)(item)
    with pytest.raises(ValueError, match=f"got {100 * share:.2f} % of the body"):
        CheckChestd("image", least=share + 1e-4)(item)


def test_real_chests_are_accepted_and_a_real_head_is_refused(real_data: Callable[[str], Path]) -> None:
    def check(path: Path) -> None:
        CheckChestd("image")({"image": Orientation(axcodes="LPS", labels=None)(read(path))})

    slices = sorted(real_data("ct_ny_sbu_covid_dcm").glob("*.dcm"))
    assert len(slices) == 14
    for path in (*slices, real_data("ct_elastix_lung") / "3DCT_lung_baseline_small.mha"):
        check(path)
    with pytest.raises(ValueError, match=r"got 0\.00 % of the body"):
        check(real_data("dicom_ct_odd") / "transfer_syntaxes" / "CT2_J2KR")
