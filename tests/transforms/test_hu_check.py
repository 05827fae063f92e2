"""Volumes declared as HU need the air and the soft tissue of a chest."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ct_files import sampled

from common.transforms.ct import check_intensity, hu_shares

AFFINE = np.diag([5.0, 5, 10, 1])
AFFINE[:3, 3] = -77.5, -77.5, -35
CHEST = torch.from_numpy(sampled(AFFINE, (32, 32, 8)).astype(np.float32))


def test_the_shares_by_hand() -> None:
    # Of 8 voxels that are no padding, 2 are air and 1 is soft tissue
    values = torch.tensor([-2000.0, -1024, -600, -400, 40, 500, 900, 1000, 3000, -3000])
    assert hu_shares(values) == pytest.approx((2 / 8, 1 / 8))
    assert hu_shares(torch.full((4,), -2000.0)) == (0, 0)


def test_a_chest_passes_with_and_without_padding() -> None:
    check_intensity(CHEST, "HU", "chest")
    padded = CHEST.clone()
    padded[:3] = -3024
    check_intensity(padded, "HU", "chest")


def stored(padding: bool) -> torch.Tensor:
    """Values of HU + 1024, as a file that lost its intercept holds them."""
    values = CHEST + 1024
    if padding:
        values[:3] = -2000
    return values


@pytest.mark.parametrize(
    ("scan", "reason"),
    [
        (stored(False), r"too little air .*HU \+ 1024"),
        (stored(True), r"too little air .*HU \+ 1024"),
        (torch.full((8, 8, 2), -2000.0), "too little air .* and soft tissue"),
        ((CHEST > -400).float(), "if it is a mask|If it is a mask"),
        (CHEST * 1e30, "which no CT has"),
        (CHEST.to(torch.complex64), "real numbers, got complex ones"),
        (torch.where(CHEST > 30, torch.nan, CHEST), "must be finite"),
    ],
)
def test_what_is_no_hu_is_refused(scan: torch.Tensor, reason: str) -> None:
    with pytest.raises(ValueError, match=f"scan: .*({reason})"):
        check_intensity(scan, "HU", "scan")
