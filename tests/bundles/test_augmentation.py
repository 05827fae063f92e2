"""An overlay that names only ``train::augmentation`` replaces the augmentation of any bundle."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import ROOT
from monai.bundle import ConfigWorkflow
from small_phantoms import fill_cache

BUNDLES = sorted(path.parents[1].name for path in ROOT.glob("bundles/*/configs/train.yaml"))
# Halves and adds to float32 images alone, so that what it gives tells what it was given
OVERLAY = """
train::augmentation:
  _target_: Compose
  transforms:
    - _target_: Lambdad
      keys: image
      func: '$lambda image: image / 2 + 100 if image.dtype == torch.float32 else 1 / 0'
"""
SMALL = {
    "ct_drsegunet": {},
    "ct_transfer_unet": {"training_slices": 4, "validation_slices": 2},
    "ct_weak_gan": {},
    "mosmed_encoders": {},
    "us_dense_seg": {"augmentation": "none"},
    "us_reverse_transfer": {"augmentation": "none"},
}


@pytest.mark.parametrize("name", BUNDLES)
def test_one_overlay_replaces_the_augmentation_of_training_alone(
    name: str, tmp_path: Path, phantom_cache: Path
) -> None:
    fill_cache(phantom_cache)
    overlay = tmp_path / "mine.yaml"
    overlay.write_text(OVERLAY)
    planes = {}
    train = f"bundles/{name}/configs/train.yaml"
    for label, files in (("paper", [train]), ("mine", [train, str(overlay)])):
        places = {"ckpt_dir": str(tmp_path), "output_dir": str(tmp_path)}
        workflow = ConfigWorkflow(config_file=files, run_id="training", size=[32, 32], **places, **SMALL[name])
        workflow.parser.parse()
        for side in ("train", "validate"):
            dataset = workflow.parser.get_parsed_content(f"{side}::dataset")
            planes[label, side] = torch.stack([dataset[index]["image"] for index in range(2)])
    assert all(images.dtype == torch.float32 for images in planes.values())
    torch.testing.assert_close(planes["mine", "train"], planes["paper", "train"] / 2 + 100)
    assert planes["paper", "train"].std() > 0
    torch.testing.assert_close(planes["mine", "validate"], planes["paper", "validate"], rtol=0, atol=0)
