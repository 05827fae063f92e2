"""Outputs of the 3-D view of a case: point tables, volume and figure."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from nibabel.affines import apply_affine
from views import CLASSES, METADATA, amber, glass, pixels, teal

from common.phantoms.ct.chest_ct import chest_ct
from common.phantoms.ct.nifti_files import lps_affine
from common.view import export as case
from common.view import off_screen, rendering
from common.view.export import View3Dd


def phantom_case() -> dict[str, Any]:
    """Mask in RAS order, scan and ground truth in LPS order, as inference passes them on."""
    ct = chest_ct(seed=2, size=(96, 96), slices=20)
    affine = lps_affine(ct.image.shape, ct.spacing)
    labels = np.where(ct.lesion > 0, ct.lesion, 3 * (ct.lung > 0)).astype(np.uint8)
    turn = np.diag([-1.0, -1.0, 1.0, 1.0])
    turn[:2, 3] = np.array(labels.shape[:2]) - 1
    pred = MetaTensor(torch.from_numpy(labels[::-1, ::-1].copy())[None], affine=torch.from_numpy(affine @ turn))
    scan = MetaTensor(torch.from_numpy(ct.image)[None], affine=torch.from_numpy(affine), meta={"spacing_known": True})
    truth = MetaTensor(torch.from_numpy(np.roll(ct.lesion, 2, axis=0))[None], affine=torch.from_numpy(affine))
    return {"case": "ward/1", "pred": pred, "scan": scan, "label": truth}


def test_a_case_gives_its_tables_its_volume_and_its_figure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
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


def test_the_lung_is_found_by_threshold_if_the_network_gives_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
def test_scans_without_depth_are_left_out_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, slices: int, known: bool, reason: str
) -> None:
    item = phantom_case()
    item = {**item, "scan": item["scan"][..., :slices], "pred": item["pred"][..., :slices]}
    item["scan"].meta["spacing_known"] = known
    with caplog.at_level(logging.INFO):
        View3Dd("pred", tmp_path, METADATA, CLASSES)(item)
    assert reason in caplog.text and len(caplog.records) == 1 and not list(tmp_path.iterdir())


def test_tables_are_kept_if_drawing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> list[np.ndarray]:
        raise ValueError(off_screen.NO_OPENGL)

    monkeypatch.setattr(rendering, "draw_off_screen", fail)
    with pytest.raises(ValueError, match="Tables and VTK files are written"):
        View3Dd("pred", tmp_path, METADATA, CLASSES)(phantom_case())
    endings = ("_lung.csv", "_prediction.csv", "_truth.csv", ".vti")
    assert {path.name for path in (tmp_path / "ward").iterdir()} == {f"1{ending}" for ending in endings}


def test_shapes_that_differ_and_a_missing_vtk_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    item = phantom_case()
    with pytest.raises(ValueError, match=r"1: mask, scan and truth must have one shape.*19"):
        View3Dd("pred", tmp_path, METADATA, CLASSES)({**item, "label": item["label"][..., :19]})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install vtk"):
        View3Dd("pred", tmp_path, METADATA, CLASSES)
