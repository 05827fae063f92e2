"""Measure how time and memory of an inference grow with the slices of a scan, and with the number of scans.

Run      PYTHONPATH=.:tests python benchmarks/growth.py [--bundle mosmed_encoders] [--picture growth.png]

The inference command runs as a process of its own, from reading to report, with the weights that the bundle comes with.
First on one synthetic DICOM series of more and more slices: those of one patient, repeated. Then on more and more
copies of a small NIfTI scan: here the limit is as many times what one more scan takes at the beginning, when everything
is warm.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import fire
import numpy as np
from ct_files import write_volume
from whole_command import inference, measure

from common.phantoms.ct.chest_ct import chest_ct
from common.phantoms.ct.nifti_files import save_nifti
from common.report import canvas

Points = dict[int, tuple[float, float]]  # seconds and GiB, by number of slices or scans
FEW = 10  # scans, from which the time of one more is taken
HEIGHT = 300.0  # mm, of the patient


def by_slices(bundle: str, size: int, numbers: Sequence[int], folder: Path) -> Points:
    """Seconds and GiB of one scan."""
    patient = chest_ct(1, size=(size, size), slices=min(numbers))
    image = np.rint(patient.image).astype(np.int16)
    found: Points = {}
    for number in numbers:
        spacing = (*patient.spacing[:2], HEIGHT / number)
        repeated = image[..., np.arange(number) * image.shape[2] // number]
        write_volume(folder / f"scan_{number}", repeated, np.diag([*spacing, 1.0]), SeriesNumber=3)
        found[number] = measure(inference(bundle, folder / f"scan_{number}", folder / f"out_{number}"))
        print(f"{number:6} slices {found[number][0]:8.1f} s {found[number][1]:6.2f} GiB", flush=True)
    return found


def by_scans(bundle: str, size: int, slices: int, numbers: Sequence[int], folder: Path) -> Points:
    """Seconds and GiB of several scans."""
    patient = chest_ct(2, size=(size, size), slices=slices)
    save_nifti(folder / "scan.nii.gz", patient.image, patient.spacing)
    found: Points = {}
    for number in numbers:
        scans = folder / f"scans_{number}"
        scans.mkdir()
        for copy in range(number):
            os.link(folder / "scan.nii.gz", scans / f"patient_{copy:04}.nii.gz")
        found[number] = measure(inference(bundle, scans, folder / f"results_{number}"))
        print(f"{number:6} scans  {found[number][0]:8.1f} s {found[number][1]:6.2f} GiB", flush=True)
    return found


def draw(path: str, slices: Points, scans: Points, title: str) -> None:
    """Draw both: seconds on the left, GiB on the right."""
    figure = canvas.new_figure(1200, 860)
    canvas.write_heading(figure, "Time and memory of an inference", title)
    for row, (points, word) in enumerate(((slices, "slices of a scan"), (scans, "scans"))):
        for column, what in enumerate(("Seconds", "Peak memory, GiB")):
            axes = canvas.add_plot(figure, 80 + 580 * column, 92 + 390 * row, 480, 270, what, word)
            values = [each[column] for each in points.values()]
            axes.plot(list(points), values, color=canvas.line_colour(column), marker="o", lw=2)
            axes.set_ylim(0, 1.1 * max(values))
            axes.set_xlim(0, 1.05 * max(points))
    canvas.save(figure, Path(path))


def main(
    bundle: str = "ct_drsegunet",
    size: int = 512,
    slices: Sequence[int] = (50, 100, 200, 400, 800, 1200),
    scans: Sequence[int] = (1, 1 + FEW, 51, 101, 201),
    picture: str = "",
) -> None:
    """Measure, and print the table.

    Args:
        bundle: a CT bundle.
        size: pixels per side of a slice; small scans have half of it, and 8 slices.
        slices: of the scans.
        scans: numbers of small scans; the second is 10 more than the first.
        picture: path of the picture, if one is wanted.
    """
    title = f"{bundle}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}"
    print(title)
    with tempfile.TemporaryDirectory() as name:
        one, many = (
            by_slices(bundle, size, slices, Path(name)),
            by_scans(bundle, size // 2, 8, scans, Path(name)),
        )
    first, second = list(many)[:2]
    warm = (many[second][0] - many[first][0]) / (second - first)
    for number, (seconds, _) in list(many.items())[2:]:
        ratio = (seconds - many[first][0]) / (number - first) / warm
        print(f"{number} scans: each takes {ratio:.3f} of what one of the first {FEW} takes, {warm:.2f} s")
    if picture:
        draw(picture, one, many, title)


if __name__ == "__main__":
    fire.Fire(main)
