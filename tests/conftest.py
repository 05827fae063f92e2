"""Shared fixtures: real data, phantoms, MONAI's command line, random numbers whose seed is printed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import forks, run_bundle
from small_phantoms import fill_cache

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked ``gpu`` without a CUDA device."""
    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="no CUDA device on this machine"))


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """Path of a folder of the real data, or a skip with the reason."""

    def find(name: str) -> Path:
        if "REAL_DATA" not in os.environ:
            pytest.skip(f"needs the real data {name}: set REAL_DATA to the folder that holds it")
        path = Path(os.environ["REAL_DATA"]) / name
        if not path.exists():
            pytest.skip(f"needs the real data {name}, which REAL_DATA={path.parent} does not hold")
        return path

    return find


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One temporary folder for all processes of a test run."""
    root = tmp_path_factory.getbasetemp()
    return root.parent if "PYTEST_XDIST_WORKER" in os.environ else root


@pytest.fixture(scope="session", autouse=True)
def phantom_cache(shared_folder: Path) -> Iterator[Path]:
    """Folder of the phantoms of a test run, in place of the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COVID_LUNG_CACHE", str(shared_folder / "phantoms"))
        yield shared_folder / "phantoms"


@pytest.fixture(scope="session")
def prepared_processes(phantom_cache: Path) -> None:
    """Let processes of the method ``forkserver`` start with torch, MONAI and ``common`` imported."""
    forks()


@pytest.fixture(scope="session")
def small_phantoms(phantom_cache: Path) -> None:
    """Let ``--dataset_dir phantom`` take small phantoms; see ``small_phantoms.py``."""
    fill_cache(phantom_cache)


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Random numbers. A failure prints their seed; RANDOM_SEED repeats it."""
    seed = int(os.environ.get("RANDOM_SEED", np.random.SeedSequence().entropy % 2**32))
    print(f"RANDOM_SEED={seed}")
    return np.random.default_rng(seed)


@pytest.fixture
def hu(rng: np.random.Generator) -> np.ndarray:
    """A small CT volume in HU, (slices, rows, columns)."""
    return rng.integers(-1000, 400, (4, 5, 6)).astype(np.int16)


@pytest.fixture(scope="session")
def runner(phantom_cache: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``python -m monai.bundle run ...`` from the repository's root, as the README does."""
    return run_bundle
