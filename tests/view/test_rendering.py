"""Surfaces checked against volumes worked by hand, rendered views by their pixels."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from views import AMBER, amber, glass, pixels, teal, turned

from common.view.rendering import render
from common.view.scene import Panel, Part
from common.view.surfaces import LUNG, TRUTH, surface


def volume_of(vertices: np.ndarray, faces: np.ndarray) -> float:
    """Volume within a closed surface, mm3, by the divergence theorem; positive where faces look outwards."""
    a, b, c = (vertices[faces[:, corner]].astype(float) - vertices.mean(axis=0) for corner in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


def is_closed(faces: np.ndarray) -> bool:
    """Whether two triangles meet at every edge."""
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    return bool((np.unique(edges, axis=0, return_counts=True)[1] == 2).all())


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


def test_a_panel_without_parts_is_drawn_empty(tmp_path: Path) -> None:
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


def test_the_process_that_draws_imports_little() -> None:
    code = "import sys, common.view.off_screen; print({'matplotlib', 'monai', 'nibabel', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_crash_of_vtk_is_an_error_that_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crash = tmp_path / "python"
    crash.write_text("#!/bin/sh\nkill -SEGV $$\n")
    crash.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(crash))
    with pytest.raises(ValueError, match=r"could not be drawn.*libegl1"):
        render(tmp_path / "view.png", [Panel("", [])])
    assert not (tmp_path / "view.png").exists()
