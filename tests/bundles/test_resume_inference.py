"""Inference that is killed and started again ends as one that was never killed."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from csv_rows import rows
from PIL import Image

from common.networks.unet import classic_unet
from common.phantoms.ct.chest_ct import chest_ct
from common.phantoms.ct.layouts import save_nifti
from common.phantoms.ultrasound.layouts import write_pocus

Runner = Callable[..., "subprocess.CompletedProcess[str]"]
CT = ["--config_file", "bundles/ct_transfer_unet/configs/inference.yaml", "--size", "[32,32]", "--filters", 2]
ULTRASOUND = ["--config_file", "bundles/us_dense_seg/configs/inference.yaml", "--size", "[32,48]", "--filters", 2]
PROCESS = ("run.json", "config.json", "lesions.json", "cases.json", "report.html")  # they hold times


def outputs(folder: Path) -> dict[str, bytes]:
    """All files that a run leaves, hidden ones too, with their content."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in PROCESS)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def records(path: Path) -> list[dict[str, Any]]:
    """The records of a ledger without times."""
    content = json.loads(path.read_text())
    assert content["earlier"] == []
    return [{key: value for key, value in record.items() if key != "seconds"} for record in content["cases"]]


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six small scans, and the weights of a network."""
    folder = tmp_path_factory.mktemp("resume")
    for number in range(6):
        phantom = chest_ct(number, size=(64, 64), slices=4)
        save_nifti(folder / "in" / f"patient_{number}.nii.gz", phantom.image, phantom.spacing)
    write_pocus(folder / "us", patients=3, clips=1, seconds=1.0, rate=4.0, size=(64, 80))
    for channels, classes, name in ((2, 1, "model.pt"), (1, 7, "ultrasound.pt")):
        torch.manual_seed(0)
        torch.save(classic_unet(channels, classes, 2).state_dict(), folder / name)
    return folder


@pytest.mark.slow
def test_inference_killed_at_random_moments_ends_as_one_that_was_not(
    scans: Path, tmp_path: Path, runner: Runner, rng: np.random.Generator
) -> None:
    command = [*CT, "--dataset_dir", scans / "in", "--weights", scans / "model.pt", "--isolated", False]
    start = time.monotonic()
    done = runner(*command, "--output_dir", tmp_path / "whole")
    seconds = time.monotonic() - start
    assert done.returncode == 0, done.stderr[-2000:]
    folder = tmp_path / "killed"
    for moment in rng.uniform(0.3, 0.9, 5):
        with suppress(subprocess.TimeoutExpired):
            runner(*command, "--output_dir", folder, timeout=seconds * moment)  # by SIGKILL
        table = folder / "lesions.csv"
        if table.exists():
            cases = [row["case"] for row in rows(table)]
            print(len(cases), "cases done")
            assert cases == sorted(set(cases)), "no case twice"
    done = runner(*command, "--output_dir", folder)
    assert done.returncode == 0, done.stderr[-2000:]
    assert outputs(folder) == outputs(tmp_path / "whole")
    assert records(folder / "lesions.json") == records(tmp_path / "whole" / "lesions.json")
    again = runner(*command, "--output_dir", folder)
    assert again.returncode == 0, again.stderr[-2000:]
    assert "6 of 6 cases were done before; --again True does them again." in again.stdout + again.stderr
    assert outputs(folder) == outputs(tmp_path / "whole")


@pytest.mark.slow
def test_changed_scans_weights_and_settings_are_done_again(scans: Path, tmp_path: Path, runner: Runner) -> None:
    source, weights = tmp_path / "in", tmp_path / "model.pt"
    for number in range(2):
        phantom = chest_ct(number, size=(64, 64), slices=3)
        save_nifti(source / f"{number}.nii.gz", phantom.image, phantom.spacing)
    torch.save(classic_unet(2, 1, 2).state_dict(), weights)
    command = [*CT, "--dataset_dir", source, "--weights", weights, "--output_dir", tmp_path / "out"]

    def done_now(*more: object) -> list[str]:
        done = runner(*command, *more)
        assert done.returncode == 0, done.stderr[-2000:]
        lines = (done.stdout + done.stderr).splitlines()
        return sorted({word for line in lines if "lesions in" in line for word in ("0:", "1:") if f" {word}" in line})

    assert done_now() == ["0:", "1:"]
    assert done_now("--slices_at_once", 2, "--include", "*", "--compile", False) == [], "they shape no output"
    phantom = chest_ct(7, size=(64, 64), slices=3)
    save_nifti(source / "1.nii.gz", phantom.image, phantom.spacing)
    assert done_now() == ["1:"]
    assert done_now("--threshold", 0.4) == ["0:", "1:"]
    torch.save(classic_unet(2, 1, 2).state_dict(), weights)
    assert done_now("--threshold", 0.4) == ["0:", "1:"]
    assert done_now("--threshold", 0.4, "--again", True) == ["0:", "1:"]
    record = records(tmp_path / "out" / "lesions.json")[0]
    assert record["grid"]["shape"] == [64, 64, 3] and record["grid"]["spacing_known"]
    assert record["volumes"]["lung_ml"] == float(rows(tmp_path / "out" / "lesions.csv")[0]["lung_ml"])
    assert record["input"]["files"] == {"image": ["0.nii.gz"]} and record["lung_from"] == "threshold"


@pytest.mark.slow
def test_clips_and_images_are_resumed_and_tables_are_complete(scans: Path, tmp_path: Path, runner: Runner) -> None:
    weights = scans / "ultrasound.pt"
    command = [*ULTRASOUND, "--dataset_dir", scans / "us", "--weights", weights, "--output_dir", tmp_path]
    done = runner(*command)
    assert done.returncode == 0, done.stderr[-2000:]
    whole = outputs(tmp_path)
    clip = next(path for path in sorted(tmp_path.rglob("*_masks")) if path.is_dir())
    frame = sorted(clip.iterdir())[1]
    Image.new("L", (3, 3)).save(frame)
    (tmp_path / "frames.csv").unlink()
    again = runner(*command)
    assert again.returncode == 0, again.stderr[-2000:]
    count = len(rows(tmp_path / "cases.csv"))
    assert f"{count - 1} of {count} cases were done before" in again.stdout + again.stderr
    assert outputs(tmp_path) == whole
