"""Packages of all bundles with tiny, untrained networks, made once from a commit of the code as it is now."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT
from monai.bundle import ConfigParser

from common.package.weights import make_network
from common.run.record import record

TINY: dict[str, dict[str, Any]] = {
    "ct_drsegunet": {"size": [64, 64], "batch_size": 4},
    "ct_transfer_unet": {"size": [64, 64], "filters": 4, "training_slices": 20, "validation_slices": 10},
    "ct_weak_gan": {"size": [64, 64], "filters": 4, "training_slices": [20, 20]},
    "mosmed_encoders": {"size": [64, 64], "encoder": "mobilenetv2", "weights": "none"},
    "us_dense_seg": {"size": [48, 64], "filters": 4},
    "us_reverse_transfer": {"size": [48, 64], "filters": 4, "pretraining": "none"},
}


def write_models(folder: Path) -> Path:
    """For each bundle, ``model.pt`` with random weights and the record that a training would have left beside it."""
    for bundle, settings in TINY.items():
        (folder / bundle).mkdir(parents=True)
        config = f"bundles/{bundle}/configs/train.yaml"
        trained = {**ConfigParser.load_config_file(ROOT / config), **settings, "dataset_dir": "phantom"}
        torch.manual_seed(0)
        torch.save(make_network(trained).state_dict(), folder / bundle / "model.pt")
        with pytest.MonkeyPatch.context() as patch:
            words = ["--config_file", config, "--filters", "4", "--ckpt_dir", str(folder / bundle)]
            patch.setattr(sys, "argv", ["monai.bundle", "run", "training", *words])
            record(folder / bundle, "training", 0, trained)
    return folder


def commit_copy(folder: Path) -> Path:
    """A git checkout of the code as it is now, all of it committed."""
    left_out = shutil.ignore_patterns("__pycache__", "models", "eval", ".*")
    for name in ("common", "bundles"):
        shutil.copytree(ROOT / name, folder / name, ignore=left_out)
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--quiet", "--message", "As it is now")
    return folder


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=folder, check=True, env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull})


def alone(**more: str) -> dict[str, str]:
    """The environment without what would lead Python to this repository."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | more


def build(checkout: Path, models: Path, output_dir: Path, hash_seed: str) -> None:
    """Package every bundle in a process of its own."""
    command = [sys.executable, "-m", "common.package", "all", "--models_dir", models, "--output_dir", output_dir]
    done = subprocess.run(
        command, cwd=checkout, env=alone(PYTHONHASHSEED=hash_seed), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
