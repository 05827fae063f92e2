"""Masks on other grids: compared by their place, resampled, and their own codes translated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Orientationd

from common.transforms.ct import LoadScand
from common.transforms.grids import check_same_grid, resampled
from common.transforms.mask_values import translated
from common.transforms.masks import ClassIndexd, LungMaskd

PLACE = np.array([[-0.7, 0, 0, 90.0], [0, -0.7, 0, 80.0], [0, 0, 5, -300.0], [0, 0, 0, 1]])


def scan(affine: np.ndarray, values: torch.Tensor | None = None) -> MetaTensor:
    return MetaTensor(torch.zeros(1, 8, 8, 4) if values is None else values, affine=torch.tensor(affine))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (np.diag([3, 3, 3, 1.0]), r"up to 14\.0 voxels apart.*2\.1 x 2\.1 x 15 mm.*--resample_masks True"),
        (np.array([[1, 0, 0, 250 / 0.7], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), r"357\.1 voxels apart"),
        (np.array([[1, 0, 0, 0.6], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), r"0\.6 voxels apart"),
    ],
)
def test_a_mask_that_its_header_places_elsewhere_is_refused(change: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_same_grid("lesion", scan(PLACE @ change), scan(PLACE))


@pytest.mark.parametrize("other", [PLACE @ np.diag([1.001, 1, 1, 1]), np.diag([-1.0, -1, 1, 1])])
def test_rounding_and_a_header_that_states_no_place_are_accepted(other: np.ndarray) -> None:
    check_same_grid("lesion", scan(other), scan(PLACE))


def test_resampling_keeps_the_place_of_each_voxel() -> None:
    """A mask on a grid of half the spacing, with its axes turned and swapped, and one of a larger field of view."""
    plane = torch.zeros(1, 8, 8, 4)
    plane[0, 2:5, 3, 1], plane[0, 6, 6, 3] = 1, 2
    fine = plane.repeat_interleave(2, 1).repeat_interleave(2, 2)
    half = PLACE @ np.array([[0.5, 0, 0, -0.25], [0, 0.5, 0, -0.25], [0, 0, 1, 0], [0, 0, 0, 1]])
    turned = half @ np.array([[0, -1, 0, 15], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    swapped = fine.transpose(1, 2).flip(2)  # [j, 15 - i] of [i, j]
    for affine, values in ((half, fine), (turned, swapped)):
        found = resampled(scan(affine, values), scan(PLACE), "lesion")
        assert torch.equal(found.as_tensor(), plane)
        check_same_grid("lesion", found, scan(PLACE))
    wide = torch.nn.functional.pad(plane, (0, 0, 2, 2, 2, 2))
    moved = PLACE @ np.array([[1, 0, 0, -2.0], [0, 1, 0, -2.0], [0, 0, 1, 0], [0, 0, 0, 1]])
    assert torch.equal(resampled(scan(moved, wide), scan(PLACE), "lesion").as_tensor(), plane)


def test_a_mask_outside_its_image_is_refused_and_one_partly_outside_is_named(caplog: pytest.LogCaptureFixture) -> None:
    far = PLACE.copy()
    far[0, 3] += 250
    with pytest.raises(ValueError, match=r"nothing of the lesion mask lies in its image.*\(340, 80, -300\) mm"):
        resampled(scan(far, torch.ones(1, 8, 8, 4)), scan(PLACE), "lesion")
    near = PLACE.copy()
    near[0, 3] += 4 * 0.7
    resampled(scan(near, torch.ones(1, 8, 8, 4)), scan(PLACE), "lesion")
    assert "50 % of the lesion mask remain" in caplog.text


def test_own_codes_become_those_of_the_public_masks() -> None:
    mask = scan(PLACE, torch.tensor([0.0, 1, 5, 9])[None, :, None, None])
    lesions, lung = translated(mask, {1: "ground-glass", 5: "consolidation", 9: "lung"})
    assert lesions.flatten().tolist() == [0, 1, 2, 0]
    assert lung is not None and lung.flatten().tolist() == [0, 1, 1, 1]
    lesions, lung = translated(mask, {1: "consolidation", 5: "background", 9: "infection"})
    assert lesions.flatten().tolist() == [0, 2, 0, 1] and lung is None
    with pytest.raises(ValueError, match=r"what 0 background, 1 infection are, the mask also holds 5, 9. Add them"):
        translated(mask, {1: "infection"})


def test_files_with_own_codes_on_another_grid_give_the_classes_of_the_bundle(tmp_path: Path) -> None:
    codes = np.zeros((8, 8, 4), np.uint8)
    codes[1:7, 1:7], codes[2, 2], codes[4, 4] = 9, 1, 5
    half = PLACE @ np.array([[0.5, 0, 0, -0.25], [0, 0.5, 0, -0.25], [0, 0, 1, 0], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(np.zeros((8, 8, 4), np.int16), PLACE), tmp_path / "scan.nii")
    nibabel.save(nibabel.Nifti1Image(codes.repeat(2, 0).repeat(2, 1), half), tmp_path / "mask.nii")
    keys, names = ["image", "label", "lung"], ["ground-glass", "consolidation", "lung", "background"]
    case: dict[str, Any] = {
        **{"image": tmp_path / "scan.nii", "label": tmp_path / "mask.nii"},
        "label_map": {1: "ground-glass", 5: "consolidation", 9: "lung"},
    }
    read = [LoadScand(keys), Orientationd(keys, "LPS", labels=None, allow_missing_keys=True)]
    expected = np.select([codes == 1, codes == 5, codes == 9], [0, 1, 2], 3)
    item = Compose([*read, LungMaskd("lung"), ClassIndexd("label", names)])({**case, "resample_masks": True})
    np.testing.assert_array_equal(item["label"][0], expected)
    with pytest.raises(RuntimeError) as error:
        Compose([*read, ClassIndexd("label", names)])(case)
    assert "(16, 16, 4) (16 x 16 x 4 voxels of 0.35 x 0.35 x 5 mm from" in str(error.value.__cause__)
