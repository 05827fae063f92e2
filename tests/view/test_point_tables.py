"""Coordinates in point tables and VTK files agree with nibabel's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from nibabel.affines import apply_affine
from views import turned

from common.view.point_tables import point_table, save_volume

OBLIQUE = turned(33, (-0.7, 0.8, 5 / 3), (12.3456, -77.1, 1000 / 3))
SHEARED = OBLIQUE @ np.array([[1, 0.3, 0, 0], [0, 1, -0.2, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
AFFINES = pytest.mark.parametrize("affine", [OBLIQUE, SHEARED], ids=["oblique", "sheared"])


@AFFINES
def test_points_have_the_coordinates_that_nibabel_gives(
    tmp_path: Path, affine: np.ndarray, rng: np.random.Generator
) -> None:
    mask = rng.random((7, 8, 9)) < 0.4
    hu = rng.integers(-1024, 3071, mask.shape).astype(np.int16)
    path = tmp_path / "new" / "points.csv"
    assert point_table(path, mask, affine, hu) == mask.sum()
    assert path.read_text().splitlines()[0] == "x,y,z,value"
    rows = np.loadtxt(path, delimiter=",", skiprows=1)
    index = np.rint(apply_affine(np.linalg.inv(affine), rows[:, :3])).astype(int)
    assert {tuple(each) for each in index.tolist()} == {tuple(each) for each in np.argwhere(mask).tolist()}
    assert np.abs(rows[:, :3] - apply_affine(affine, index)).max() <= 0.0005 + 1e-9
    assert (rows[:, 3] == hu[tuple(index.T)]).all()
    assert [entry.name for entry in path.parent.iterdir()] == ["points.csv"]


def test_points_of_a_mask_alone_have_the_value_1(tmp_path: Path) -> None:
    mask = np.zeros((3, 3, 3), bool)
    mask[1, 2, 0] = True
    point_table(tmp_path / "points.csv", mask, np.diag([-0.5, 2.0, 3.0, 1.0]))
    assert (tmp_path / "points.csv").read_text() == "x,y,z,value\n-0.500,4.000,0.000,1\n"
    assert point_table(tmp_path / "points.csv", ~mask & mask, np.eye(4), most=1) == 0
    assert (tmp_path / "points.csv").read_text() == "x,y,z,value\n"


def test_limited_points_lie_on_a_regular_grid(tmp_path: Path) -> None:
    # 1 x 1 x 4 mm: every fourth voxel along x and y makes 4 mm along all axes, and 10 x 10 x 10 points
    mask, affine = np.ones((40, 40, 10), bool), np.diag([1.0, 1.0, 4.0, 1.0])
    assert point_table(tmp_path / "points.csv", mask, affine, most=1000) == 1000
    rows = np.loadtxt(tmp_path / "points.csv", delimiter=",", skiprows=1)
    for axis in range(3):
        assert np.unique(rows[:, axis]).tolist() == [4.0 * step for step in range(10)]
    assert point_table(tmp_path / "points.csv", mask, affine, most=999) <= 999
    assert point_table(tmp_path / "points.csv", mask, affine, most=16_000) == 16_000
    with pytest.raises(ValueError, match="got a limit of 0"):
        point_table(tmp_path / "points.csv", mask, affine, most=0)


def test_a_table_that_fails_keeps_the_previous_one(tmp_path: Path) -> None:
    mask = np.ones((2, 2, 2), bool)
    point_table(tmp_path / "points.csv", mask, np.eye(4))
    before = (tmp_path / "points.csv").read_text()
    with pytest.raises(IndexError):
        point_table(tmp_path / "points.csv", mask, np.eye(4), np.zeros((2, 2, 1)))
    assert [entry.name for entry in tmp_path.iterdir()] == ["points.csv"]
    assert (tmp_path / "points.csv").read_text() == before


@AFFINES
def test_vtk_reads_back_voxels_and_coordinates(tmp_path: Path, affine: np.ndarray, rng: np.random.Generator) -> None:
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkIOXML import vtkXMLImageDataReader

    hu = rng.integers(-1024, 3071, (5, 6, 7)).astype(np.int16)
    arrays = {"hu": hu, "lung": hu > 0, "truth": np.asfortranarray(hu % 3).astype(np.uint8)}
    save_volume(tmp_path / "case.vti", arrays, affine)
    reader = vtkXMLImageDataReader()
    reader.SetFileName(str(tmp_path / "case.vti"))
    reader.Update()
    image = reader.GetOutput()
    for name, array in arrays.items():
        read = vtk_to_numpy(image.GetPointData().GetArray(name)).reshape(hu.shape, order="F")
        assert (read == array).all()
        assert read.dtype == (np.uint8 if array.dtype == bool else array.dtype)
    corners = np.stack(np.meshgrid([0, 4], [0, 5], [0, 6]), axis=-1).reshape(-1, 3)
    expected = apply_affine(affine, corners)
    low_high = np.array(image.GetBounds()).reshape(3, 2).T
    assert np.allclose(low_high, [expected.min(axis=0), expected.max(axis=0)], rtol=0, atol=1e-9)
    for corner, place in zip(corners.tolist(), expected, strict=True):
        found = [0.0, 0.0, 0.0]
        image.TransformIndexToPhysicalPoint(corner, found)
        assert np.allclose(found, place, rtol=0, atol=1e-9)
    assert np.allclose(image.GetPoint(5 * 6 * 7 - 1), apply_affine(affine, [4, 5, 6]), rtol=0, atol=1e-9)


def test_volumes_of_one_file_have_one_shape(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one shape, got"):
        save_volume(tmp_path / "case.vti", {"a": np.zeros((2, 2, 2)), "b": np.zeros((2, 2, 3))}, np.eye(4))
    assert not (tmp_path / "case.vti").exists()
