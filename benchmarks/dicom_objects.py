"""Measure what DICOM segmentation, report and overlay add to the time and the memory of an inference.

Run      PYTHONPATH=.:tests python benchmarks/dicom_objects.py [--slices 400] [--rounds 3] [--bundle ct_transfer_unet]

Each round runs the same command on the same synthetic DICOM series once for each row, as a process of its own, from
reading to report: with NIfTI masks alone, which is what the others are compared with; with the three objects for a
PACS as well; and with probabilities as a fractional segmentation. Peak memory is that of the process and of those that
it has waited for.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import fire
import numpy as np
from ct_files import write_volume

from common.phantoms.ct.chest_ct import chest_ct

ROWS: dict[str, list[str]] = {
    "NIfTI": ["--outputs", "[nifti]"],
    "NIfTI, SEG, SR, overlay": ["--outputs", "[nifti,seg,sr,overlay]"],
    "NIfTI, fractional SEG": ["--outputs", "[nifti,seg]", "--seg", "fractional"],
}


def measure(command: list[str]) -> tuple[float, float]:
    """Seconds and peak GiB of a command.

    Raises:
        RuntimeError: if it fails.
    """
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError((process.stderr or sys.stderr).read())
    return time.perf_counter() - start, used.ru_maxrss / 2**20


def main(bundle: str = "ct_drsegunet", slices: int = 400, size: int = 512, rounds: int = 3) -> None:
    """Measure and print the table.

    Args:
        bundle: a CT bundle, with the weights that it comes with.
        slices: of the series.
        size: pixels per side of a slice.
        rounds: number of times that each row is measured.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        patient = chest_ct(1, size=(size, size), slices=slices)
        image = np.rint(patient.image).astype(np.int16)
        write_volume(folder / "study", image, np.diag([*patient.spacing, 1.0]), SeriesNumber=3)
        del patient, image
        found: dict[str, list[tuple[float, float]]] = {row: [] for row in ROWS}
        sizes = {}
        for number in range(rounds):
            for row, options in ROWS.items():
                output = folder / f"{number} {row}"
                command = [sys.executable, "-m", "monai.bundle", "run", "--config_file"]
                command += [f"bundles/{bundle}/configs/inference.yaml", "--dataset_dir", str(folder / "study")]
                found[row].append(measure([*command, "--output_dir", str(output), *options]))
                sizes[row] = sum(path.stat().st_size for path in output.rglob("*.dcm")) / 2**20
    print(
        f"{bundle}, {size} x {size} x {slices}, {os.cpu_count()} cores, median of {rounds}, {time.strftime('%Y-%m-%d')}"
    )
    base_seconds, base_memory = (median(each) for each in zip(*found["NIfTI"], strict=True))
    print(f"{'outputs':26}{'seconds':>10}{'ratio':>8}{'GiB':>8}{'more GiB':>10}{'MiB of DICOM':>14}")
    for row, measured in found.items():
        seconds, memory = (median(each) for each in zip(*measured, strict=True))
        ratio, more = seconds / base_seconds, memory - base_memory
        print(f"{row:26}{seconds:10.1f}{ratio:8.3f}{memory:8.2f}{more:10.2f}{sizes[row]:14.1f}")


if __name__ == "__main__":
    fire.Fire(main)
