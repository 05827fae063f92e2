"""Where the lung of a case comes from, and masks in any axis order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT
from monai.data import MetaTensor

from common.report.case import ReportCased
from common.report.scan_report import Scan, ScanReport, lps_array, to_lps

METADATA = ROOT / "bundles" / "ct_drsegunet" / "configs" / "metadata.json"
LPS = np.diag([-1.0, -2.0, 5.0, 1.0])


def scan_of(shape: tuple[int, int, int], spacing_known: bool = True) -> MetaTensor:
    return MetaTensor(torch.zeros(1, *shape), affine=torch.from_numpy(LPS), meta={"spacing_known": spacing_known})


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScanReport:
    """A report whose threshold finds the first column, for spacings that are recorded in ``report.spacings``."""
    found = ReportCased("pred", tmp_path, METADATA, ["ground-glass", "consolidation", "lung", "background"])

    def first_column(hu: np.ndarray, spacing: Any) -> np.ndarray:
        found.spacings.append(spacing)  # type: ignore[attr-defined]
        return np.arange(hu.shape[0])[:, None, None] * np.ones(hu.shape) == 0

    found.spacings = []  # type: ignore[attr-defined]
    monkeypatch.setattr("common.lung_network.methods.lung_mask", first_column)
    return found


@pytest.mark.parametrize(
    ("item", "source"), [({}, "network"), ({"lung_from": "given"}, "given"), ({"lung_from": "threshold"}, "threshold")]
)
def test_lung_is_what_the_label_map_calls_lung_or_lesion(report: ScanReport, item: dict[str, Any], source: str) -> None:
    mask = np.array([0, 1, 2, 3], np.uint8).reshape(4, 1, 1)
    lung, lung_from = report.lung(item, mask, report.scan({"scan": scan_of((4, 1, 1))}))
    assert (lung.ravel().tolist(), lung_from) == ([False, True, True, True], source)
    assert report.spacings == []  # type: ignore[attr-defined]


def test_a_label_map_without_lung_gets_it_by_threshold_beside_its_lesions(report: ScanReport) -> None:
    mask = np.array([0, 0, 2, 0], np.uint8).reshape(4, 1, 1)
    for known, spacing in ((True, (1.0, 2.0, 5.0)), (False, None)):
        lung, lung_from = report.lung({}, mask, report.scan({"scan": scan_of((4, 1, 1), known)}))
        assert (lung.ravel().tolist(), lung_from) == ([True, False, True, False], "threshold")
        assert report.spacings[-1] == spacing  # type: ignore[attr-defined]


def test_a_scan_knows_its_voxels_only_if_the_file_records_them() -> None:
    hu = np.zeros((2, 2, 2))
    assert (Scan(hu, LPS, True).spacing, Scan(hu, LPS, True).voxel_ml) == ((1.0, 2.0, 5.0), pytest.approx(0.01))
    assert (Scan(hu, LPS, False).spacing, Scan(hu, LPS, False).voxel_ml) == (None, None)


def test_volumes_in_another_axis_order_are_turned_with_their_affine() -> None:
    array = np.arange(24).reshape(2, 3, 4)
    ras = LPS @ np.array([[-1, 0, 0, 1], [0, -1, 0, 2], [0, 0, 1, 0], [0, 0, 0, 1]])  # X and Y flipped
    flipped = array[::-1, ::-1].copy()
    turned, affine = to_lps(flipped, ras)
    assert (turned == array).all() and (affine == LPS).all()
    assert np.shares_memory(turned, flipped), "large volumes are not copied"
    tensor = MetaTensor(torch.from_numpy(flipped)[None], affine=torch.from_numpy(ras))
    assert (lps_array(tensor) == array).all()


def test_the_overlay_states_what_the_reader_noted(report: ScanReport, monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []

    def draw(path: Path, *_: Any, note: str, **__: Any) -> None:
        path.touch()
        notes.append(note)

    monkeypatch.setattr("common.report.case.draw_overlay", draw)
    pred = MetaTensor(torch.ones(1, 4, 4, 2, dtype=torch.uint8), affine=torch.from_numpy(LPS))
    for noted in ("gantry tilt of 15.0 degrees", None, "copy of slice.dcm; " * 50):
        report({"case": "a", "kind": "volume", "pred": pred, "scan": scan_of((4, 4, 2)), "notes": noted})
    plain = "100.0 % of the lung, CT-4; lung found by threshold"
    assert notes[:2] == [f"{plain}; gantry tilt of 15.0 degrees", plain]
    assert notes[2].startswith(f"{plain}; copy of slice.dcm") and len(notes[2]) <= 160
