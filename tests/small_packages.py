"""Packages of all bundles with tiny networks of random weights, for tests.

``python tests/small_packages.py FOLDER`` writes them, and a scan and an image to try them on, for the tests of MONAI
Label, which run in an environment of their own.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import nibabel
import numpy as np
import torch
from monai.bundle import ConfigParser
from PIL import Image
from scipy.spatial.transform import Rotation
from torch import nn

from common.package.build import package
from common.package.weights import make_network
from common.phantoms.ct.chest_ct import chest_ct
from common.phantoms.ct.layouts import write_mosmed, write_radiopaedia
from common.phantoms.ultrasound.image import lung_ultrasound
from common.phantoms.ultrasound.layouts import write_pocus, write_semantic_lung
from common.run.model_record import save_weights
from common.run.record import record

ROOT = Path(__file__).resolve().parents[1]
VERSION = "v0.1.0"
TINY: dict[str, dict[str, Any]] = {
    "ct_drsegunet": {"size": [64, 64], "batch_size": 4},
    "ct_transfer_unet": {"size": [64, 64], "filters": 4, "training_slices": 20, "validation_slices": 10},
    "ct_weak_gan": {"size": [64, 64], "filters": 4, "training_slices": [20, 20]},
    "mosmed_encoders": {"size": [64, 64], "encoder": "mobilenetv2", "encoder_weights": "none"},
    "us_dense_seg": {"size": [48, 64], "filters": 4},
    "us_reverse_transfer": {"size": [48, 64], "filters": 4},
}
DECISIVE = 20.0  # standard deviation of the logits: probabilities near 0 and 1, so that masks hold all classes
TILT = Rotation.from_euler("xyz", [8, -5, 12], degrees=True)  # of the scanner's gantry and the patient


class Packages:
    """Folders with the packages of all bundles, and what they were made of.

    Args:
        root: folder of them all.
    """

    def __init__(self, root: Path) -> None:
        self.models, self.checkout = root / "models", root / "checkout"
        self.dist, self.unpacked = root / "dist", root / "unpacked"

    def zip(self, bundle: str) -> Path:
        """The package of a bundle."""
        return self.dist / f"{bundle}_{VERSION}.zip"

    def unzip(self, bundle: str, folder: Path) -> Path:
        """Unpack a bundle, and return its folder."""
        with zipfile.ZipFile(self.zip(bundle)) as archive:
            archive.extractall(folder)
        return folder / bundle


def make_packages(root: Path) -> Packages:
    """Build the package of every bundle from a commit of the code as it is now, or take those of another process."""
    root.mkdir(parents=True, exist_ok=True)
    made = Packages(root / "packages")
    with (root / "packages.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / "packages.done").exists():
            write_models(made.models)
            commit_copy(made.checkout)
            build(made.checkout, made.models, made.dist, "0")
            for bundle in TINY:
                made.unzip(bundle, made.unpacked)
            (root / "packages.done").touch()
    return made


def write_models(folder: Path) -> Path:
    """Write ``model.pt`` and the record of its training, as if each bundle had been trained."""
    for bundle, settings in TINY.items():
        (folder / bundle).mkdir(parents=True)
        config = f"bundles/{bundle}/configs/train.yaml"
        trained = {**ConfigParser.load_config_file(ROOT / config), **settings, "dataset_dir": "phantom"}
        save_weights(random_network(trained).state_dict(), folder / bundle / "model.pt", record_of(bundle, trained))
        options = ["--config_file", config, "--filters", "4", "--ckpt_dir", str(folder / bundle)]
        with patch.object(sys, "argv", ["monai.bundle", "run", "training", *options]):
            record(folder / bundle, "training", 0, trained)
    return folder


def record_of(bundle: str, trained: dict[str, Any]) -> dict[str, Any]:
    """The record of weights, as if one patient had been trained on."""
    names = trained["recorded"]["fixed"]
    fixed = {name: trained["window"] if isinstance(trained[name], dict) else trained[name] for name in names}
    data = {"source": "phantom", "unit": "patient", "training": {"Jane Doe": "0123456789abcdef"}}
    return {"bundle": bundle, "settings": fixed, "data": data}


def random_network(config: dict[str, Any]) -> nn.Module:
    """The network of a config with random weights, whose last convolution is centred and scaled up."""
    torch.manual_seed(0)
    network = make_network(config)
    last = [module for module in network.modules() if isinstance(module, nn.Conv2d)][-1]
    seen: list[torch.Tensor] = []
    hook = last.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    with torch.no_grad():
        network(torch.rand(2, next(network.parameters()).shape[1], *config["size"]))
        hook.remove()
        deviation, mean = torch.std_mean(seen[0], dim=(0, 2, 3))
        scale = DECISIVE / deviation
        last.weight.mul_(scale[:, None, None, None])
        last.bias.sub_(mean).mul_(scale)  # type: ignore[union-attr, operator]
    return network


def commit_copy(folder: Path) -> Path:
    """A git checkout of the code as it is now, all of it committed."""
    left_out = shutil.ignore_patterns("__pycache__", "models", "eval", ".*")
    for name in ("common", "bundles"):
        shutil.copytree(ROOT / name, folder / name, ignore=left_out)
    for name in ("LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, folder)
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--quiet", "--message", "As it is now")
    return folder


def git(folder: Path, *words: str) -> None:
    """A git command that must succeed, without the user's settings."""
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


def files_of(path: Path) -> dict[str, bytes]:
    """The files of a package, by their path in the bundle's folder."""
    with zipfile.ZipFile(path) as archive:
        return {entry.filename.partition("/")[2]: archive.read(entry) for entry in archive.infolist()}


def write_data(root: Path) -> Path:
    """Small phantoms, laid out as files of patients."""
    write_radiopaedia(root / "radiopaedia", patients=5, size=(64, 64), slices=6)
    write_mosmed(root / "mosmed", patients=4, size=(64, 64), slices=6)
    write_semantic_lung(root / "labels", patients=4, images=2, size=(64, 64))
    write_pocus(root / "pocus", patients=9, clips=1, seconds=1.0, rate=4.0, size=(64, 64))
    return root


def training_data(bundle: str, data: Path) -> dict[str, str]:
    """Settings that let a bundle train on the small phantoms."""
    if bundle == "us_dense_seg":
        return {"dataset_dir": str(data / "labels")}
    if bundle == "us_reverse_transfer":
        return {"dataset_dir": str(data / "pocus"), "pretraining": "none"}
    if bundle == "mosmed_encoders":
        return {"dataset_dir": str(data / "mosmed"), "encoder_weights": "none"}
    source = {} if bundle == "ct_drsegunet" else {"source": "radiopaedia"}
    return {"dataset_dir": str(data / "radiopaedia"), **source}


def scans(bundle: str, data: Path) -> Path:
    """A folder of the small phantoms that a bundle can infer from."""
    return data / "labels" / "images" if bundle.startswith("us_") else data / "radiopaedia" / "rp_im"


def forget_scripts() -> None:
    """Let the next bundle of this process load its own ``scripts``."""
    for name in [name for name in sys.modules if name.startswith("scripts")]:
        del sys.modules[name]


def write_scans(folder: Path) -> None:
    """Write ``ct.nii.gz`` with ``ct_label.nii.gz``, and ``us.png`` with ``us_label.png``."""
    phantom = chest_ct(2, size=(72, 80), slices=8)
    affine = np.eye(4)  # RAS
    affine[:3] = np.c_[TILT.as_matrix() * phantom.spacing * [-1, -1, 1], [150, 170, -90]]
    label = np.where(phantom.lesion > 0, phantom.lesion, np.where(phantom.lung > 0, 3, 0))  # as inference saves it
    for name, values in (("ct", phantom.image.astype(np.int16)), ("ct_label", label.astype(np.uint8))):
        nibabel.save(nibabel.Nifti1Image(values, affine), folder / f"{name}.nii.gz")
    frame = lung_ultrasound(1)
    Image.fromarray(frame.image).save(folder / "us.png")
    Image.fromarray(np.where(frame.label == 7, 0, frame.label).astype(np.uint8)).save(folder / "us_label.png")


def main(folder: Path) -> None:
    """Write the package of every bundle, and the scans."""
    shutil.rmtree(folder / "models", ignore_errors=True)
    write_models(folder / "models")
    for bundle in TINY:
        package(bundle, folder, folder / "models", allow_dirty=True)
    write_scans(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
