"""Whole volumes fit into an ordinary computer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from conftest import ROOT

from common.networks import DRSegUNet


@pytest.mark.slow
def test_a_volume_of_400_slices_is_segmented_within_4_gib(tmp_path: Path) -> None:
    block = np.random.default_rng(0).integers(-1000, 400, (512, 512, 10)).astype(np.int16)
    volume = nibabel.Nifti1Image(np.tile(block, (1, 1, 40)), np.diag([-0.7, -0.7, 1.0, 1.0]))
    nibabel.save(volume, tmp_path / "long.nii.gz")
    torch.save(DRSegUNet().state_dict(), tmp_path / "model.pt")
    command = [
        sys.executable,
        "-m",
        "monai.bundle",
        "run",
        "--config_file",
        "bundles/ct_drsegunet/configs/inference.yaml",
    ]
    command += ["--dataset_dir", str(tmp_path / "long.nii.gz"), "--weights", str(tmp_path / "model.pt")]
    process = subprocess.Popen([*command, "--output_dir", str(tmp_path / "out")], cwd=ROOT)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    assert nibabel.load(tmp_path / "out" / "long_mask.nii.gz").shape == (512, 512, 400)
    peak = usage.ru_maxrss / 2**20  # GiB; ru_maxrss is KiB on Linux
    print(f"peak memory {peak:.2f} GiB")
    assert peak < 4.0
