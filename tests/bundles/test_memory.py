"""Complete volumes and long clips fit into the memory of an ordinary computer."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import av
import nibabel
import numpy as np
import psutil
import pytest
import torch
from conftest import ROOT

from common.networks.unet import UNet, classic_unet


def peak_of(config: str, *arguments: object) -> float:
    """Peak memory in GiB of an inference run as a user calls it."""
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", config, *map(str, arguments)]
    return peak_of_command(command, children=False)


def peak_of_command(command: list[str], children: bool) -> float:
    """Peak memory in GiB of a command; with ``children``, plus the peaks of its children, whenever they were."""
    process = subprocess.Popen(command, cwd=ROOT)
    peaks: dict[int, float] = {}
    while process.poll() is None:  # getrusage would count what this process, its parent, held when it forked
        with contextlib.suppress(OSError, IndexError, psutil.Error):
            below = psutil.Process(process.pid).children(recursive=True) if children else []
            for pid in [process.pid, *(child.pid for child in below)]:
                status = Path(f"/proc/{pid}/status").read_text()
                # The kernel's own peak, in KiB; the latest, since until its exec a child shows its parent's
                peaks[pid] = int(status.split("VmHWM:")[1].split()[0]) / 2**20
        time.sleep(0.02)
    assert process.returncode == 0
    print("peak memory", " + ".join(f"{peak:.2f}" for peak in peaks.values()), "GiB")
    return sum(peaks.values())


@pytest.mark.slow
def test_a_volume_of_400_slices_is_segmented_within_4_gib(tmp_path: Path) -> None:
    block = np.random.default_rng(0).integers(-1000, 400, (512, 512, 10)).astype(np.int16)
    volume = nibabel.Nifti1Image(np.tile(block, (1, 1, 40)), np.diag([-0.7, -0.7, 1.0, 1.0]))
    nibabel.save(volume, tmp_path / "long.nii.gz")
    torch.save(UNet(filters=2).state_dict(), tmp_path / "model.pt")  # a fast network; what counts are volumes
    arguments = ["--dataset_dir", tmp_path / "long.nii.gz", "--weights", tmp_path / "model.pt", "--network", "unet"]
    arguments += ["--network_def::filters", 2]
    peak = peak_of("bundles/ct_drsegunet/configs/inference.yaml", *arguments, "--output_dir", tmp_path / "out")
    assert nibabel.load(tmp_path / "out" / "long_mask.nii.gz").shape == (512, 512, 400)
    assert peak < 4.0


@pytest.mark.slow
def test_a_minute_of_1080p_ultrasound_goes_through_inference_within_1_gib(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 255, 1920).astype(np.uint8), (1080, 1))
    with av.open(str(tmp_path / "long.mp4"), "w") as container:
        stream: Any = container.add_stream("libx264", rate=4, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        for index in range(240):  # a minute; every other frame is segmented
            frame = av.VideoFrame.from_ndarray(np.roll(ramp, 8 * index, 1), format="gray")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    torch.save(classic_unet(1, 7, filters=4).state_dict(), tmp_path / "model.pt")
    arguments = ["--dataset_dir", tmp_path / "long.mp4", "--weights", tmp_path / "model.pt", "--filters", 4]
    arguments += ["--size", "[96,128]", "--frames_per_second", 2, "--output_dir", tmp_path / "out"]
    peak = peak_of("bundles/us_dense_seg/configs/inference.yaml", *arguments)
    assert len(list((tmp_path / "out" / "long_masks").iterdir())) == 120
    assert peak < 1.0


@pytest.mark.slow
def test_a_volume_of_400_slices_is_shown_in_3d_within_4_gib(tmp_path: Path) -> None:
    shape, affine = (512, 512, 400), np.diag([-0.7, -0.7, 1.0, 1.0])
    x, y, z = np.ogrid[-1:1:512j, -1:1:512j, -1:1:400j]
    mask = np.zeros(shape, np.uint8, order="F")
    for side in (-0.42, 0.42):  # two ellipsoids, 20 % of the volume
        mask[((x - side) / 0.36) ** 2 + (y / 0.62) ** 2 + (z / 0.9) ** 2 < 1] = 3
    waves = np.sin(25 * x) + np.sin(21 * y) + np.sin(17 * z)
    truth = ((waves > 1.5) & (mask == 3)).astype(np.uint8)
    mask[(waves > 1.6) & (mask == 3)] = 1
    assert 0.19 < (mask > 0).mean() < 0.24 and 0.015 < truth.mean() < 0.05
    block = np.random.default_rng(0).integers(-1000, 400, (512, 512, 10)).astype(np.int16)
    arrays = {"case_mask": mask, "case_truth": truth, "case": np.tile(block, (1, 1, 40))}
    for name, array in arrays.items():
        nibabel.save(nibabel.Nifti1Image(array, affine), tmp_path / f"{name}.nii.gz")
    files = ["case_mask.nii.gz", "--image", "case.nii.gz", "--truth", "case_truth.nii.gz"]
    files = [name if name.startswith("--") else str(tmp_path / name) for name in files]
    began = time.monotonic()
    command = [sys.executable, "-m", "common.view", *files, "--output", str(tmp_path / "out")]
    peak = peak_of_command(command, children=True)
    seconds = time.monotonic() - began
    print(f"{seconds:.0f} s")
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {f"case{end}" for end in ("_lung.csv", "_prediction.csv", "_truth.csv", ".vti", "_view.png")}
    assert peak < 4.0
    assert seconds < 150  # 40 where nothing else runs
