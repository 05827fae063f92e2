"""Config files are read once, and again when they change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from common.run.config_content import config_content


def test_content_is_what_monai_reads_and_a_change_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, overlay = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("size: [1, 2]\nsteps: [one]\n")
    overlay.write_text("+steps: [two]\n")
    assert config_content(first, overlay) == ConfigParser.load_config_files([str(first), str(overlay)])
    assert config_content(overlay) == {"+steps": ["two"]}, "alone, it is as it is written"
    config_content(first)["size"].append(3)
    assert config_content(first)["size"] == [1, 2], "what callers do with it stays with them"
    first.write_text("size: [4, 5]\nsteps: [one]\n")
    os.utime(first, ns=(1, 1))
    assert config_content(first)["size"] == [4, 5]
    monkeypatch.setattr(ConfigParser, "load_config_file", lambda *_: pytest.fail("read again"))
    assert config_content(first)["size"] == [4, 5]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"nosuch\.yaml"):
        config_content(tmp_path / "nosuch.yaml")
