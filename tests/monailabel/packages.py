"""Packages of all bundles with small, random networks, and a scan to try them on; run by the repository's Python.

python tests/monailabel/packages.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from monai.bundle import ConfigParser
from PIL import Image
from scipy.spatial.transform import Rotation
from torch import nn

from common.package.build import package
from common.phantoms.ct.chest_ct import chest_ct
from common.phantoms.ultrasound.image import lung_ultrasound
from common.run.record import record

ROOT = Path(__file__).resolve().parents[2]
SETTINGS: dict[str, dict[str, Any]] = {
    "ct_drsegunet": {"size": [64, 64]},
    "ct_transfer_unet": {"size": [64, 64], "filters": 4},
    "ct_weak_gan": {"size": [64, 64], "filters": 4},
    "mosmed_encoders": {"size": [64, 64], "encoder": "mobilenetv2", "weights": "none"},
    "us_dense_seg": {"size": [64, 80], "filters": 4},
    "us_reverse_transfer": {"size": [64, 80], "filters": 4},
}
DECISIVE = 20.0  # standard deviation of the logits: probabilities near 0 and 1, so that masks hold all classes
TILT = Rotation.from_euler("xyz", [8, -5, 12], degrees=True)  # of the scanner's gantry and the patient


def network(config: dict[str, Any]) -> nn.Module:
    """The network of a config with random weights, whose last convolution is centred and scaled up."""
    torch.manual_seed(0)
    parser = ConfigParser({**config, "device": "cpu"})
    parser.parse()
    made: nn.Module = parser.get_parsed_content("network_def").eval()
    last = [module for module in made.modules() if isinstance(module, nn.Conv2d)][-1]
    seen: list[torch.Tensor] = []
    hook = last.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    with torch.no_grad():
        made(torch.rand(2, next(made.parameters()).shape[1], *config["size"]))
        hook.remove()
        deviation, mean = torch.std_mean(seen[0], dim=(0, 2, 3))
        scale = DECISIVE / deviation
        last.weight.mul_(scale[:, None, None, None])
        last.bias.sub_(mean).mul_(scale)  # type: ignore[union-attr, operator]
    return made


def main(folder: Path) -> None:
    """Write ``<bundle>_v*.zip``, ``ct.nii.gz`` with ``ct_label.nii.gz``, and ``us.png`` with ``us_label.png``."""
    for bundle, settings in SETTINGS.items():
        config = ConfigParser.load_config_file(ROOT / "bundles" / bundle / "configs" / "train.yaml") | settings
        models = folder / "models" / bundle
        models.mkdir(parents=True, exist_ok=True)
        torch.save(network(config).state_dict(), models / "model.pt")
        record(models, "training", 0, config)
        package(bundle, folder, folder / "models", allow_dirty=True)
    phantom = chest_ct(2, size=(72, 80), slices=8)
    affine = np.eye(4)  # RAS
    affine[:3] = np.c_[TILT.as_matrix() * phantom.spacing * [-1, -1, 1], [150, 170, -90]]
    label = np.where(phantom.lesion > 0, phantom.lesion, np.where(phantom.lung > 0, 3, 0))  # as inference saves it
    for name, values in (("ct", phantom.image.astype(np.int16)), ("ct_label", label.astype(np.uint8))):
        nibabel.save(nibabel.Nifti1Image(values, affine), folder / f"{name}.nii.gz")
    frame = lung_ultrasound(1)
    Image.fromarray(frame.image).save(folder / "us.png")
    Image.fromarray(np.where(frame.label == 7, 0, frame.label).astype(np.uint8)).save(folder / "us_label.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
