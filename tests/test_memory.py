"""Whole volumes and long clips fit into an ordinary computer."""

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
import pytest
import torch
from conftest import ROOT

from common.networks import DRSegUNet, classic_unet


def peak_of(config: str, *arguments: object) -> float:
    """Peak memory in GiB of an inference run as a user calls it."""
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", config, *map(str, arguments)]
    process = subprocess.Popen(command, cwd=ROOT)
    peak = 0.0
    while process.poll() is None:  # getrusage would count what this process, its parent, held when it forked
        with contextlib.suppress(OSError, IndexError):
            status = Path(f"/proc/{process.pid}/status").read_text()
            peak = max(peak, int(status.split("VmHWM:")[1].split()[0]) / 2**20)  # the kernel's own peak, in KiB
        time.sleep(0.02)
    assert process.returncode == 0
    print(f"peak memory {peak:.2f} GiB")
    return peak


@pytest.mark.slow
def test_a_volume_of_400_slices_is_segmented_within_4_gib(tmp_path: Path) -> None:
    block = np.random.default_rng(0).integers(-1000, 400, (512, 512, 10)).astype(np.int16)
    volume = nibabel.Nifti1Image(np.tile(block, (1, 1, 40)), np.diag([-0.7, -0.7, 1.0, 1.0]))
    nibabel.save(volume, tmp_path / "long.nii.gz")
    torch.save(DRSegUNet().state_dict(), tmp_path / "model.pt")
    arguments = ["--dataset_dir", tmp_path / "long.nii.gz", "--weights", tmp_path / "model.pt"]
    peak = peak_of("bundles/ct_drsegunet/configs/inference.yaml", *arguments, "--output_dir", tmp_path / "out")
    assert nibabel.load(tmp_path / "out" / "long_mask.nii.gz").shape == (512, 512, 400)
    assert peak < 4.0


@pytest.mark.slow
def test_a_minute_of_1080p_ultrasound_goes_through_inference_within_1_gib(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 255, 1920).astype(np.uint8), (1080, 1))
    with av.open(str(tmp_path / "long.mp4"), "w") as container:
        stream: Any = container.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        for index in range(600):
            frame = av.VideoFrame.from_ndarray(np.roll(ramp, 8 * index, 1), format="gray")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    torch.save(classic_unet(1, 7, filters=4).state_dict(), tmp_path / "model.pt")
    arguments = ["--dataset_dir", tmp_path / "long.mp4", "--weights", tmp_path / "model.pt", "--filters", 4]
    arguments += ["--size", "[96,128]", "--frames_per_second", 2, "--output_dir", tmp_path / "out"]
    peak = peak_of("bundles/us_dense_seg/configs/inference.yaml", *arguments)
    assert len(list((tmp_path / "out" / "long_masks").iterdir())) == 120
    assert peak < 1.0
