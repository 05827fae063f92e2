"""The 3-D view: coordinates against nibabel's, volumes by hand, pictures by their pixels."""

from __future__ import annotations

import csv
import logging
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from conftest import ROOT
from monai.data import MetaTensor
from nibabel.affines import apply_affine
from PIL import Image

from common.phantoms.ct.chest_ct import chest_ct
from common.phantoms.ct.layouts import lps_affine
from common.view import export as case
from common.view import rendering
from common.view.command import main
from common.view.export import View3Dd, to_lps
from common.view.point_tables import point_table, save_volume
from common.view.rendering import render
from common.view.study import read_mask, read_study
from common.view.surfaces import LUNG, TRUTH, Panel, Part, surface

METADATA = ROOT / "bundles" / "ct_drsegunet" / "configs" / "metadata.json"
CLASSES = ["ground-glass", "consolidation", "lung", "background"]
AMBER = (255, 176, 0)


def turned(degrees: float, spacing: Sequence[float], origin: Sequence[float] = (0.0, 0.0, 0.0)) -> np.ndarray:
    """Affine of a volume turned about the patient's long axis."""
    angle = np.deg2rad(degrees)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine[:3, :3] = affine[:3, :3] @ np.diag(spacing)
    affine[:3, 3] = origin
    return affine


OBLIQUE = turned(33, (-0.7, 0.8, 5 / 3), (12.3456, -77.1, 1000 / 3))
SHEARED = OBLIQUE @ np.array([[1, 0.3, 0, 0], [0, 1, -0.2, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
AFFINES = pytest.mark.parametrize("affine", [OBLIQUE, SHEARED], ids=["oblique", "sheared"])


def volume_of(vertices: np.ndarray, faces: np.ndarray) -> float:
    """Volume within a closed surface, mm3, by the divergence theorem; positive where faces look outwards."""
    a, b, c = (vertices[faces[:, corner]].astype(float) - vertices.mean(axis=0) for corner in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


def is_closed(faces: np.ndarray) -> bool:
    """Whether two triangles meet at every edge."""
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    return bool((np.unique(edges, axis=0, return_counts=True)[1] == 2).all())


def pixels(path: Path) -> np.ndarray:
    """PNG as (rows, columns, 3), without the legend."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)[:-50]


def amber(picture: np.ndarray) -> np.ndarray:
    red, green, blue = np.moveaxis(picture, -1, 0)
    return (red > 110) & (green > 60) & (red > green + 20) & (green > blue + 40)


def teal(picture: np.ndarray) -> np.ndarray:
    red, green, blue = np.moveaxis(picture, -1, 0)
    return (green > red + 50) & (green > blue + 10)


def glass(picture: np.ndarray) -> np.ndarray:
    red, _, blue = np.moveaxis(picture, -1, 0)
    return blue > red + 15


def save(path: Path, array: np.ndarray, affine: np.ndarray) -> str:
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return str(path)


def chest(lesion: tuple[slice, slice, slice] | None = None) -> np.ndarray:
    """Two blocks of lung, 3, in LPS order, voxels of 4 mm; a lesion, 1, where it is asked for."""
    mask = np.zeros((60, 40, 50), np.uint8)
    mask[5:27, 5:35, 5:45] = mask[33:55, 5:35, 5:45] = 3
    if lesion:
        mask[lesion] = 1
    return mask


CHEST_AFFINE = lps_affine((60, 40, 50), (4.0, 4.0, 4.0))


# Tables


@AFFINES
def test_points_lie_where_nibabel_puts_voxels(tmp_path: Path, affine: np.ndarray, rng: np.random.Generator) -> None:
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


def test_a_limit_of_points_keeps_a_regular_grid_of_about_equal_steps(tmp_path: Path) -> None:
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


def test_a_table_that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    mask = np.ones((2, 2, 2), bool)
    point_table(tmp_path / "points.csv", mask, np.eye(4))
    before = (tmp_path / "points.csv").read_text()
    with pytest.raises(IndexError):
        point_table(tmp_path / "points.csv", mask, np.eye(4), np.zeros((2, 2, 1)))
    assert [entry.name for entry in tmp_path.iterdir()] == ["points.csv"]
    assert (tmp_path / "points.csv").read_text() == before


# The file for ParaView


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


# Surfaces


@pytest.mark.parametrize("mirrored", [1, -1])
def test_a_ball_keeps_its_volume_and_centre(mirrored: int) -> None:
    # centre: index (60, 24, 30) is (60, 60, 60) mm before the turn by 30 degrees about z:
    # x = 60 cos 30 - 60 sin 30 = 21.96, y = 60 sin 30 + 60 cos 30 = 81.96, then the origin (10, -20, 5) is added
    x, y, z = np.ogrid[:120, :50, :60]
    ball = (x - 60.0) ** 2 + (2.5 * (y - 24)) ** 2 + (2.0 * (z - 30)) ** 2 < 25.0**2
    affine = np.diag([mirrored, 1, 1, 1]) @ turned(30, (1.0, 2.5, 2.0), (10.0, -20.0, 5.0))
    vertices, faces = surface(ball, affine)
    assert vertices.dtype == np.float32 and is_closed(faces)
    assert volume_of(vertices, faces) == pytest.approx(4 / 3 * np.pi * 25**3, rel=0.03)
    middle = (vertices.max(axis=0) + vertices.min(axis=0)) / 2
    assert middle == pytest.approx([mirrored * 31.96, 61.96, 65.0], abs=0.5)
    radii = np.linalg.norm(vertices - middle, axis=1)
    assert 23.5 < radii.min() and radii.max() < 26.0


@pytest.mark.parametrize("spacing", [(0.7, 0.7, 1.0), (0.3, 0.3, 0.3), (0.7, 0.7, 8.0)])
@pytest.mark.parametrize("resolution", [1.5, 2.0])
def test_a_lesion_of_two_voxels_has_a_surface(spacing: tuple[float, float, float], resolution: float) -> None:
    mask = np.zeros((60, 60, 20), bool)
    mask[30:32, 17, 9] = True
    mask[5:25, 45:58, 3:15] = True  # the small one must outlast the smoothing beside a large one, too
    vertices, faces = surface(mask, np.diag([*spacing, 1.0]), resolution)
    place = np.array([30.5, 17, 9]) * spacing
    near = vertices[np.abs(vertices - place).max(axis=1) < 2 * max(*spacing, resolution)]
    assert len(near) >= 6 and is_closed(faces)
    assert np.abs((near.max(axis=0) + near.min(axis=0)) / 2 - place).max() < max(resolution, 0.6 * max(spacing))


def test_surfaces_are_closed_at_the_border_and_empty_without_voxels() -> None:
    vertices, faces = surface(np.ones((30, 30, 30), bool), np.eye(4))
    assert is_closed(faces) and volume_of(vertices, faces) == pytest.approx(30**3, rel=0.06)  # less its edges
    vertices, faces = surface(np.zeros((4, 4, 4), bool), np.eye(4))
    assert vertices.shape == faces.shape == (0, 3)


# Pictures


def block_part(name: str, low: Sequence[float], high: Sequence[float], colour: Any, opacity: float = 1.0) -> Part:
    """A block between two corners in mm, RAS."""
    mask = np.zeros((60, 60, 60), bool)
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = -120.0
    cut = [slice(int((a + 120) / 4), int((b + 120) / 4)) for a, b in zip(low, high, strict=True)]
    mask[cut[0], cut[1], cut[2]] = True
    return Part(name, *surface(mask, affine, 4.0), colour, opacity)


def test_the_patients_left_is_right_and_superior_is_up(tmp_path: Path) -> None:
    lung = block_part("lung", (-100, -80, -100), (100, 80, 100), LUNG, 0.2)
    lesion = block_part("lesion", (-90, 50, 60), (-60, 75, 90), AMBER)  # left, anterior, superior
    render(tmp_path / "view.png", [Panel("", [lung, lesion])], "case", "note")
    picture = pixels(tmp_path / "view.png")
    assert picture.shape[1] <= 1600
    middle = picture.shape[1] // 2
    for half, expected in ((picture[:, :middle], "right"), (picture[:, middle:], "left")):
        rows, columns = np.nonzero(amber(half))
        box = np.argwhere(glass(half))
        (top, left), (bottom, right) = box.min(axis=0), box.max(axis=0)
        assert len(rows) > 500, "the lesion is seen through the lung"
        assert (rows.mean() - top) / (bottom - top) < 0.25, "superior is up"
        place = (columns.mean() - left) / (right - left)
        assert place > 0.8 if expected == "right" else place < 0.2, (
            "front: left at the right; side: anterior at the left"
        )


def test_panels_share_a_scale_and_where_aligned_a_camera(tmp_path: Path) -> None:
    large = block_part("a", (-100, -40, -100), (100, 40, 100), AMBER)
    small = block_part("b", (0, -40, 0), (100, 40, 100), TRUTH)
    for aligned in (True, False):
        render(tmp_path / "view.png", [Panel("one", [large]), Panel("two", [small])], aligned=aligned)
        picture = pixels(tmp_path / "view.png")
        first, second = np.argwhere(amber(picture)), np.argwhere(teal(picture))
        front = (len(picture) + 104) / 2  # the upper of two rows, below 104 pixels of titles
        first, second = first[first[:, 0] < front], second[second[:, 0] < front]
        sizes = [np.ptp(each, axis=0) for each in (first, second)]
        assert sizes[1] == pytest.approx(sizes[0] / 2, rel=0.05)
        offset = (second.min(axis=0) - first.min(axis=0))[0]
        assert offset == pytest.approx(0 if aligned else sizes[0][0] / 4, abs=4)


def test_nothing_to_draw_is_drawn_empty(tmp_path: Path) -> None:
    render(tmp_path / "view.png", [Panel("nothing", [])])
    assert not amber(pixels(tmp_path / "view.png")).any()
    with pytest.raises(ValueError, match="at least one panel"):
        render(tmp_path / "view.png", [])


def test_drawing_needs_no_display_and_is_quiet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DISPLAY", "192.0.2.1:0")  # an address of no computer
    render(tmp_path / "view.png", [Panel("", [block_part("lesion", (-20, -20, -20), (20, 20, 20), AMBER)])])
    assert amber(pixels(tmp_path / "view.png")).sum() > 1000
    assert capfd.readouterr() == ("", "")


def test_a_crash_of_vtk_is_an_error_that_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crash = tmp_path / "python"
    crash.write_text("#!/bin/sh\nkill -SEGV $$\n")
    crash.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(crash))
    with pytest.raises(ValueError, match=r"could not be drawn.*libegl1"):
        render(tmp_path / "view.png", [Panel("", [])])
    assert not (tmp_path / "view.png").exists()


# A case


def phantom_case() -> dict[str, Any]:
    """Mask in RAS order, scan and truth in LPS order, as inference hands them over."""
    ct = chest_ct(seed=2, size=(96, 96), slices=20)
    affine = lps_affine(ct.image.shape, ct.spacing)
    labels = np.where(ct.lesion > 0, ct.lesion, 3 * (ct.lung > 0)).astype(np.uint8)
    turn = np.diag([-1.0, -1.0, 1.0, 1.0])
    turn[:2, 3] = np.array(labels.shape[:2]) - 1
    pred = MetaTensor(torch.from_numpy(labels[::-1, ::-1].copy())[None], affine=torch.from_numpy(affine @ turn))
    scan = MetaTensor(torch.from_numpy(ct.image)[None], affine=torch.from_numpy(affine), meta={"spacing_known": True})
    truth = MetaTensor(torch.from_numpy(np.roll(ct.lesion, 2, axis=0))[None], affine=torch.from_numpy(affine))
    return {"case": "ward/1", "pred": pred, "scan": scan, "label": truth}


def test_a_case_leaves_its_tables_its_volume_and_its_picture(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    item = phantom_case()
    with caplog.at_level(logging.INFO):
        View3Dd("pred", tmp_path, METADATA, CLASSES)(item)
    assert len(caplog.records) == 1 and "ward/1: 3-D view" in caplog.text
    endings = ("_lung.csv", "_prediction.csv", "_truth.csv", ".vti", "_view.png")
    assert {path.name for path in (tmp_path / "ward").iterdir()} == {f"1{ending}" for ending in endings}
    affine, hu = np.asarray(item["scan"].affine), item["scan"][0].numpy()
    labels = item["pred"][0].numpy()[::-1, ::-1]
    for name, expected in (("lung", labels > 0), ("prediction", labels % 3 > 0), ("truth", item["label"][0] > 0)):
        rows = np.loadtxt(tmp_path / "ward" / f"1_{name}.csv", delimiter=",", skiprows=1)
        index = np.rint(apply_affine(np.linalg.inv(affine), rows[:, :3])).astype(int)
        found = np.zeros(hu.shape, bool)
        found[tuple(index.T)] = True
        assert (found == np.asarray(expected)).all() and len(rows) == found.sum()
        assert (rows[:, 3] == (hu[tuple(index.T)] if name == "lung" else 1)).all()
    picture = pixels(tmp_path / "ward" / "1_view.png")
    halves = picture[:, : picture.shape[1] // 2], picture[:, picture.shape[1] // 2 :]
    assert amber(halves[0]).sum() > 2000 and not teal(halves[0]).any(), "prediction"
    assert teal(halves[1]).sum() > 2000 and not amber(halves[1]).any(), "truth"
    assert all(glass(half).sum() > 20_000 for half in halves), "lung"


def test_a_case_without_truth_has_one_panel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    item = phantom_case()
    del item["label"]
    titles: list[str] = []
    monkeypatch.setattr(case, "render", lambda path, panels, *_: titles.extend(panel.title for panel in panels))
    View3Dd(["pred"], tmp_path, METADATA, CLASSES, lung_points=500)(item)
    assert titles == ["prediction"] and not (tmp_path / "ward" / "1_truth.csv").exists()
    assert 100 < len((tmp_path / "ward" / "1_lung.csv").read_text().splitlines()) <= 501


def test_a_network_without_lung_gets_it_by_threshold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    item = phantom_case()
    whole = int((item["pred"] > 0).sum())
    item["pred"][item["pred"] == 3] = 0
    notes: list[str] = []
    monkeypatch.setattr(case, "render", lambda path, panels, title, note: notes.append(note))
    View3Dd("pred", tmp_path, METADATA, CLASSES)(item)
    assert notes == ["lung found by threshold"]
    points = len((tmp_path / "ward" / "1_lung.csv").read_text().splitlines()) - 1
    assert points == pytest.approx(whole, rel=0.15)


@pytest.mark.parametrize(("slices", "known", "reason"), [(20, False, "spacing is unknown"), (1, True, "single slice")])
def test_what_has_no_depth_is_left_out_with_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, slices: int, known: bool, reason: str
) -> None:
    item = phantom_case()
    item = {**item, "scan": item["scan"][..., :slices], "pred": item["pred"][..., :slices]}
    item["scan"].meta["spacing_known"] = known
    with caplog.at_level(logging.INFO):
        View3Dd("pred", tmp_path, METADATA, CLASSES)(item)
    assert reason in caplog.text and len(caplog.records) == 1 and not list(tmp_path.iterdir())


def test_tables_outlast_a_picture_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> list[np.ndarray]:
        raise ValueError(rendering.NO_OPENGL)

    monkeypatch.setattr(rendering, "_drawn", fail)
    with pytest.raises(ValueError, match="Tables and VTK files are written"):
        View3Dd("pred", tmp_path, METADATA, CLASSES)(phantom_case())
    endings = ("_lung.csv", "_prediction.csv", "_truth.csv", ".vti")
    assert {path.name for path in (tmp_path / "ward").iterdir()} == {f"1{ending}" for ending in endings}


def test_shapes_that_differ_and_a_missing_vtk_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    item = phantom_case()
    with pytest.raises(ValueError, match=r"1: mask, scan and truth have one shape.*19"):
        View3Dd("pred", tmp_path, METADATA, CLASSES)({**item, "label": item["label"][..., :19]})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install vtk"):
        View3Dd("pred", tmp_path, METADATA, CLASSES)


# The command


def test_the_command_shows_a_saved_mask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = chest((slice(35, 45), slice(10, 20), slice(30, 40)))
    turn = np.diag([-1.0, 1.0, 1.0, 1.0])
    turn[0, 3] = 59
    path = save(tmp_path / "a_mask.nii.gz", mask, CHEST_AFFINE)
    image = save(tmp_path / "a.nii.gz", np.full(mask.shape, -800, np.int16)[::-1], CHEST_AFFINE @ turn)  # other order
    assert main([path, "--image", image, "--truth", path, "--output", str(tmp_path / "out")]) == 0
    assert "1000 points of prediction, 1000 points of truth" in capsys.readouterr().out
    endings = ("_lung.csv", "_prediction.csv", "_truth.csv", ".vti", "_view.png")
    assert {each.name for each in (tmp_path / "out").iterdir()} == {f"a{ending}" for ending in endings}
    assert (tmp_path / "out" / "a_lung.csv").read_text().splitlines()[1].endswith(",-800")


def test_follow_up_counts_the_change_between_two_grids(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, later = np.zeros((12, 12, 12), np.uint8), np.zeros((14, 11, 10), np.uint8)
    first[1:11, 1:11, 1:11] = 3
    first[1:4, 1:11, 1:11] = 2  # 1000 voxels of 8 mm3 are 8 ml, 300 of them 2.4 ml
    later[1:11, 1:11, :9] = 3
    later[1:11, 1:7, :1] = 1  # 900 voxels of 10 mm3 are 9 ml, 60 of them 0.6 ml
    masks = [save(tmp_path / "first.nii.gz", first, np.diag([2.0, -2.0, 2.0, 1.0]))]
    masks.append(save(tmp_path / "later.nii.gz", later, turned(25, (1.0, 2.0, 5.0), (500.0, 0.0, -900.0))))
    assert main([*masks, "--output", str(tmp_path), "--titles", "March", "May"]) == 0
    with (tmp_path / "follow_up.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [list(row.values()) for row in rows] == [
        ["March", "8.0", "", "2.4", "", "0.3"],
        ["May", "9.0", "", "0.6", "", "0.0667"],
        ["change", "1.0", "12.5", "-1.8", "-75.0", "-0.2333"],
    ]
    assert list(rows[0]) == ["study", "lung_ml", "lung_percent", "lesion_ml", "lesion_percent", "share_of_lung"]
    printed = capsys.readouterr().out
    assert "-75.0" in printed and "follow_up.png" in printed
    picture = pixels(tmp_path / "follow_up.png")
    left, right = picture[:, : picture.shape[1] // 2], picture[:, picture.shape[1] // 2 :]
    assert amber(left).sum() > 2 * amber(right).sum() > 500, "lesions shrink"
    assert glass(right).any(), "a study 1 m away is in its panel"


def test_follow_up_leaves_percent_blank_without_a_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.view.rendering.render", lambda *_, **__: None)
    healthy = save(tmp_path / "a.nii", chest(), CHEST_AFFINE)
    ill = save(tmp_path / "b.nii", chest((slice(10, 20), slice(10, 20), slice(10, 20))), CHEST_AFFINE)
    bare = save(
        tmp_path / "c.nii", (chest((slice(10, 20), slice(10, 20), slice(10, 20))) == 1) * np.uint8(1), np.eye(4)
    )
    for masks, change in (
        ([healthy, ill], ["change", "0.0", "0.0", "64.0", "", "0.0189"]),
        ([healthy, bare], ["change", "", "", "1.0", "", ""]),  # nobody segmented that lung
    ):
        main([*masks, "--output", str(tmp_path)])
        assert (tmp_path / "follow_up.csv").read_text().splitlines()[-1].split(",") == change


def test_values_mean_what_the_command_says(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", chest((slice(10, 20), slice(10, 20), slice(10, 20))), CHEST_AFFINE)
    study = read_study(path, str(METADATA), 3)
    assert [style.name for style in study.styles] == CLASSES and study.lesion.sum() == 1000
    assert read_study(path, None, 1).lesion.sum() == (chest() == 3).sum() - 1000  # 1 is lung, 3 lesion
    scaled = nibabel.Nifti1Image(chest().astype(np.float32), CHEST_AFFINE)
    nibabel.save(scaled, tmp_path / "float.nii.gz")
    assert (read_mask(tmp_path / "float.nii.gz")[0] == to_lps(chest(), CHEST_AFFINE)[0]).all()


def test_the_command_refuses_what_it_cannot_show(tmp_path: Path, rng: np.random.Generator) -> None:
    mask = save(tmp_path / "a.nii.gz", chest(), CHEST_AFFINE)
    (tmp_path / "text.nii.gz").write_text("no image")
    wrong = {
        "text": str(tmp_path / "text.nii.gz"),
        "empty": save(tmp_path / "empty.nii.gz", np.zeros((4, 4, 4), np.uint8), np.eye(4)),
        "scores": save(tmp_path / "scores.nii.gz", rng.uniform(0.1, 0.9, (4, 4, 4)).astype(np.float32), np.eye(4)),
        "scan": save(tmp_path / "scan.nii.gz", np.full((4, 4, 4), -500, np.int16), np.eye(4)),
        "nan": save(tmp_path / "nan.nii.gz", np.full((4, 4, 4), np.nan, np.float32), np.eye(4)),
        "slice": save(tmp_path / "slice.nii.gz", np.ones((4, 4, 1), np.uint8), np.eye(4)),
        "class": save(tmp_path / "class.nii.gz", np.full((4, 4, 4), 9, np.uint8), np.eye(4)),
        "moved": save(tmp_path / "moved.nii.gz", chest(), CHEST_AFFINE + np.eye(4, k=3)),
    }
    for arguments, message in (
        ([wrong["text"]], "text.nii.gz must be a NIfTI file"),
        ([wrong["empty"]], "neither lung nor lesion"),
        ([wrong["scores"]], r"scores.nii.gz: a mask holds integers 0..255, got 0\."),
        ([wrong["scan"]], "got -500"),
        ([wrong["nan"]], "got nan"),
        ([wrong["slice"]], r"two or more slices, got shape \(4, 4, 1\)"),
        ([wrong["class"], "--metadata", str(METADATA)], "no class of value 9"),
        ([mask, "--image", wrong["scan"]], r"scan.nii.gz and .*a.nii.gz must lie on one grid, got shape"),
        ([mask, "--truth", wrong["moved"]], r"moved.nii.gz and .*a.nii.gz must lie on one grid, got the affines"),
        ([mask, mask, mask], "got 3"),
        ([mask, mask, "--image", mask], "belong to a single mask"),
        ([mask, mask, "--titles", "one"], "--titles are two"),
        ([mask, "--lung_value", "0"], "--lung_value is 1..255"),
    ):
        with pytest.raises(ValueError, match=message):
            main([*arguments, "--output", str(tmp_path / "out")])
    with pytest.raises(FileNotFoundError, match=r"No such file: nowhere.nii"):
        main(["nowhere.nii"])
    assert not (tmp_path / "out").exists()


def test_a_mistake_is_one_line_without_a_traceback() -> None:
    command = [sys.executable, "-m", "common.view", "nowhere.nii.gz"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.strip() == "ERROR  No such file: nowhere.nii.gz. Give a saved mask, such as case_mask.nii.gz."
