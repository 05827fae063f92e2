"""Shared fixtures: real data, the runner as a user calls it, random numbers whose seed is printed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

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


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Random numbers. A failure prints their seed; RANDOM_SEED repeats it."""
    seed = int(os.environ.get("RANDOM_SEED", np.random.SeedSequence().entropy % 2**32))
    print(f"RANDOM_SEED={seed}")
    return np.random.default_rng(seed)


@pytest.fixture(scope="session")
def runner() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``python -m monai.bundle run ...`` from the repository's root, as the README says."""

    def run(*arguments: object, timeout: float = 500) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "monai.bundle", "run", *map(str, arguments)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout)

    return run
