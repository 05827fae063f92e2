"""Scans of a tilted gantry become upright within half a voxel, and masks go back to the tilted slices."""

from __future__ import annotations

from pathlib import Path

import itk
import numpy as np
import pytest
import torch
from ct_files import LPS, chest, places, write_volume
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd

from common.readers.ct import read
from common.transforms.upright import Uprightd, shear, upright_grid

SHAPE = (48, 44, 28)


def tilted(degrees: float) -> np.ndarray:
    """LPS affine of slices tilted about the left-right axis, whose table moves 5 mm along the patient."""
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    affine = np.eye(4)
    affine[:3, :3] = np.transpose([(3.5, 0, 0), (0, 3 * cosine, -3 * sine), (0, 0, 5)])
    affine[:3, 3] = -affine[:3, :3] @ (np.asarray(SHAPE) - 1) / 2
    return affine


def scan(hu: np.ndarray, affine: np.ndarray) -> MetaTensor:
    """(1, X, Y, Z) with an affine that is LPS in mm."""
    return MetaTensor(torch.from_numpy(hu.astype(np.float32))[None], affine=torch.from_numpy(LPS @ affine))


def test_the_shear_is_the_angle_between_axes() -> None:
    assert shear(np.diag([0.7, 0.7, 3, 1])) == 0
    for degrees in (-25, 3, 15):
        assert shear(tilted(degrees)) == pytest.approx(abs(degrees), abs=1e-6)
        assert shear(LPS @ tilted(degrees)) == pytest.approx(abs(degrees), abs=1e-6)


def test_the_upright_grid_by_hand() -> None:
    """Two rows 10 mm apart, tilted by 30 degrees: the second lies 8.66 mm behind and 5 mm below the first."""
    affine = np.eye(4)
    affine[:3, :3] = np.transpose([(2, 0, 0), (0, 8.660254, -5), (0, 0, 4)])
    made, shape = upright_grid(affine, (3, 2, 4))
    # z from -5 (second row of the first slice) to 12 (first row of the last one): 17 mm, 5 steps of 4 mm
    np.testing.assert_allclose(made, [[2, 0, 0, 0], [0, 8.660254, 0, 0], [0, 0, 4, -5], [0, 0, 0, 1]], atol=1e-6)
    assert shape == (3, 2, 6)


def height(points: np.ndarray) -> np.ndarray:
    """A linear image, which linear interpolation gives back exactly: 2 z + y - 0.5 x."""
    return points @ np.array([-0.5, 1.0, 2.0])


@pytest.mark.parametrize("degrees", [-25.0, 8.0, 15.0])
def test_a_tilted_scan_is_upright_to_half_a_voxel(degrees: float) -> None:
    affine = tilted(degrees)
    upright = Uprightd("image", outside=-1024)({"image": scan(height(places(affine, SHAPE)), affine)})["image"]
    made = LPS @ np.asarray(upright.affine)
    assert shear(made) < 1e-6
    np.testing.assert_allclose(np.abs(made[[0, 1, 2], [0, 1, 2]]), [3.5, 3 * np.cos(np.deg2rad(degrees)), 5], atol=1e-4)
    values = upright[0].numpy()
    expected = height(places(made, values.shape))
    index = (places(made, values.shape) - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T  # in the tilted grid
    inside = ((index > 0) & (index < np.asarray(SHAPE) - 1)).all(-1)
    assert (values[((index < -1) | (index > SHAPE)).any(-1)] == -1024).all()
    assert inside.mean() > 0.5
    # Half a voxel is 1.5 mm of height at the least, which is 3 in values
    assert np.abs(values - expected)[inside].max() < 0.05
    # The chest's surface: what differs lies within half a voxel of it
    chest_made = Uprightd("image")({"image": scan(chest(places(affine, SHAPE)), affine)})["image"][0].numpy()
    ground_truth = chest(places(made, values.shape))
    near = np.zeros_like(inside)
    half = np.abs(made[:3, :3]).sum(1) / 2
    for corner in np.array(np.meshgrid([-1, 0, 1], [-1, 0, 1], [-1, 0, 1])).reshape(3, -1).T:
        near |= chest(places(made, values.shape) + corner * half) != ground_truth
    decided = inside & ~near
    assert decided.sum() > 4000
    wrong = np.abs(chest_made - ground_truth) > 400  # more than half of the step from lung to tissue
    assert not wrong[decided].any()


@pytest.mark.parametrize("degrees", [-25.0, 15.0])
def test_a_mask_goes_back_to_the_tilted_slices(degrees: float) -> None:
    affine = tilted(degrees)
    hu = chest(places(affine, SHAPE))
    preprocessing = Compose([Uprightd("image")])
    item = preprocessing({"image": scan(hu, affine)})
    assert item["image"].shape[1:] != SHAPE
    item["pred"] = (item["image"] > -400).to(torch.uint8)
    back = Invertd("pred", preprocessing, orig_keys="image", nearest_interp=True)(item)["pred"]
    assert tuple(back.shape[1:]) == SHAPE
    np.testing.assert_allclose(LPS @ np.asarray(back.affine), affine, atol=1e-4)
    found, expected = back[0].numpy() > 0, hu > -400
    assert 2 * (found & expected).sum() / (found.sum() + expected.sum()) > 0.98


def test_positions_of_tilted_slices_agree_with_itk(tmp_path: Path) -> None:
    affine = tilted(15)
    paths = write_volume(tmp_path, chest(places(affine, SHAPE)), affine)
    made = read(paths)
    assert made.meta["notes"] == "gantry tilt of 15.0 degrees"
    upright = Uprightd("image")({"image": made})["image"]
    to_voxel = np.linalg.inv(LPS @ np.asarray(upright.affine))
    values = upright[0].numpy()
    for index, path in ((4, paths[4]), (20, paths[20])):
        image = itk.imread(str(path))
        for place in ((24, 22, 0), (12, 30, 0)):
            voxel = to_voxel @ [*image.TransformIndexToPhysicalPoint(place), 1]
            x, y, z = np.rint(voxel[:3]).astype(int)
            around = values[x - 1 : x + 2, y - 1 : y + 2, z - 1 : z + 2]
            assert around.min() - 1 <= made[0, place[0], place[1], index] <= around.max() + 1


def test_masks_have_no_edge_values_and_upright_scans_stay() -> None:
    affine = tilted(15)
    lung = (chest(places(affine, SHAPE)) < -400).astype(np.uint8)
    item = Uprightd(["image", "lung"], mode=["bilinear", "nearest"], outside=0.5)(
        {"image": scan(np.full(SHAPE, 7.0), affine), "lung": scan(lung, affine)}
    )
    assert set(np.unique(item["lung"].numpy())) == {0, 1}
    assert item["image"].shape == item["lung"].shape
    corner = item["image"][0, 0]
    assert float(corner.min()) == pytest.approx(0.5) and float(corner.max()) == pytest.approx(7.0)
    for steps in (np.diag([3.5, 3, 5, 1]), tilted(0.2)):
        plain = scan(np.zeros(SHAPE), steps)
        assert Uprightd("image")({"image": plain})["image"] is plain
    single = scan(np.zeros((8, 8, 1)), affine)
    assert Uprightd("image")({"image": single})["image"] is single


def test_a_turned_grid_without_shear_stays() -> None:
    angle = np.deg2rad(20)
    turned = np.diag([3.5, 3, 5, 1.0])
    turned[:3, :3] = [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]] @ turned[:3, :3]
    plain = scan(np.zeros(SHAPE), turned)
    assert Uprightd("image")({"image": plain})["image"] is plain
