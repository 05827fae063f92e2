"""Measure what DICOM segmentation, report and overlay add to the time and the memory of an inference.

Run      PYTHONPATH=.:tests python benchmarks/dicom_objects.py [--slices 400] [--rounds 3] [--bundle ct_transfer_unet]

Each round runs the same command on the same synthetic DICOM series once for each row, as a process of its own, from
reading to report: with NIfTI masks alone, which is what the others are compared with; with the three objects for a
PACS as well; and with probabilities as a fractional segmentation.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import fire
from whole_command import inference, measure, print_medians, write_study

ROWS: dict[str, list[str]] = {
    "NIfTI": ["--outputs", "[nifti]"],
    "NIfTI, SEG, SR, overlay": ["--outputs", "[nifti,seg,sr,overlay]"],
    "NIfTI, fractional SEG": ["--outputs", "[nifti,seg]", "--seg", "fractional"],
}


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
        write_study(folder / "study", size, slices)
        found: dict[str, list[tuple[float, float]]] = {row: [] for row in ROWS}
        sizes = {}
        for number in range(rounds):
            for row, options in ROWS.items():
                output = folder / f"{number} {row}"
                found[row].append(measure(inference(bundle, folder / "study", output, *options)))
                sizes[row] = sum(path.stat().st_size for path in output.rglob("*.dcm")) / 2**20
    print_medians(f"{bundle}, {size} x {size} x {slices}", found)
    print("MiB of DICOM: " + ", ".join(f"{row} {size:.1f}" for row, size in sizes.items()))


if __name__ == "__main__":
    fire.Fire(main)
