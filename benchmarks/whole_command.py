"""What benchmarks of whole commands share: a study, the command, its seconds and its peak memory, and their table."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np
from ct_files import write_volume

from common.phantoms.ct.chest_ct import chest_ct


def write_study(folder: Path, size: int, slices: int) -> None:
    """Write a synthetic patient as a DICOM series.

    Args:
        folder: of the series.
        size: pixels per side of a slice.
        slices: of the series.
    """
    patient = chest_ct(1, size=(size, size), slices=slices)
    image = np.rint(patient.image).astype(np.int16)
    write_volume(folder, image, np.diag([*patient.spacing, 1.0]), SeriesNumber=3)


def inference(bundle: str, scans: Path, output: Path, *options: object) -> list[str]:
    """The command that a user gives."""
    words = ["-m", "monai.bundle", "run", "--config_file", f"bundles/{bundle}/configs/inference.yaml"]
    return [sys.executable, *map(str, [*words, "--dataset_dir", scans, "--output_dir", output, *options])]


def measure(command: Sequence[str]) -> tuple[float, float]:
    """Seconds and peak GiB of a command: of its process and of those that it has waited for.

    Raises:
        RuntimeError: if it fails.
    """
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError((process.stderr or sys.stderr).read())
    return time.perf_counter() - start, used.ru_maxrss / 2**20


def print_medians(heading: str, found: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    """Print medians of seconds and GiB, each row compared with the first one."""
    print(
        f"{heading}, {os.cpu_count()} cores, median of {len(next(iter(found.values())))}, {time.strftime('%Y-%m-%d')}"
    )
    rows = {name: [median(each) for each in zip(*values, strict=True)] for name, values in found.items()}
    base_seconds, base_memory = next(iter(rows.values()))
    print(f"{'':26}{'seconds':>10}{'ratio':>8}{'GiB':>8}{'more GiB':>10}")
    for name, (seconds, memory) in rows.items():
        print(f"{name:26}{seconds:10.1f}{seconds / base_seconds:8.3f}{memory:8.2f}{memory - base_memory:10.2f}")
