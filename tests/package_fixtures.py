"""Fixtures of the tests of packages: ``pytest_plugins = ["package_fixtures"]`` in a test file takes them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_packages import Packages, forget_scripts, make_packages, write_data


@pytest.fixture(scope="session")
def packages(shared_folder: Path) -> Packages:
    """Packages of all bundles, built once for all processes of a test run. Tests must not change them."""
    return make_packages(shared_folder)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small phantoms in the layouts of public sources."""
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def bundle(request: pytest.FixtureRequest, packages: Packages, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An unpacked bundle whose scripts Python finds, as in its folder; forgotten afterwards."""
    root = packages.unpacked / request.param
    monkeypatch.syspath_prepend(root)
    yield root
    forget_scripts()


@pytest.fixture
def downloaded(packages: Packages, tmp_path: Path) -> Path:
    """A package of a test's own, which it may change."""
    return Path(shutil.copy(packages.zip("us_dense_seg"), tmp_path))
