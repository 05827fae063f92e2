"""Masks that lie beside their scans."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.datasets.ct.partners import add_partners


def test_a_scan_is_never_taken_as_its_own_mask(tmp_path: Path) -> None:
    for name in ("a.png", "a_lung.png", "b.png"):
        (tmp_path / name).touch()
    cases = [{"case": name, "image": [tmp_path / f"{name}.png"]} for name in "ab"]
    add_partners(cases, {"lung": str(tmp_path)})
    assert cases[0]["lung"] == tmp_path / "a_lung.png" and "lung" not in cases[1]
    with pytest.raises(FileNotFoundError, match=r"No ground truth for any of 2 cases"):
        add_partners(cases, {"label": str(tmp_path)})
