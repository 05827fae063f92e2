"""The recipe of the shipped weights trains, resumes, learns from unlabelled slices, scores and infers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from bundle_steps import run
from csv_rows import rows
from torch import nn

from common.lung_mask import lung_mask
from common.phantoms.ct.layouts import write_radiopaedia
from common.phantoms.ct.medseg_layouts import write_medseg_pictures
from common.run.errors import origin

CONFIGS = "bundles/ct_drsegunet/configs"
TRAIN, SHIPPED, UNLABELLED, EVALUATE, INFERENCE = (
    f"{CONFIGS}/{name}.yaml" for name in ("train", "shipped", "unlabelled", "evaluate", "inference")
)
SMALL = {"size": [64, 64], "split": "slice"}  # phantoms look alike


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In MedSeg's packaging, without lung masks."""
    return write_medseg_pictures(tmp_path_factory.mktemp("shipped") / "data", slices=6, size=(96, 96))


def test_a_resumed_training_ends_bitwise_as_one_that_was_not_cut_off(
    pictures: Path, trained: Path, tmp_path: Path
) -> None:
    """Average, schedule, elastic deformation and the choice of unlabelled and of healthy slices included."""
    others, healthy = (
        str(write_medseg_pictures(tmp_path / str(seed), slices=4, size=(96, 96), seed=seed) / "Imgs") for seed in (7, 8)
    )
    files = [TRAIN, SHIPPED, UNLABELLED]
    more = {"unlabelled": others, "unlabelled_step": 2, "healthy": healthy, "healthy_step": 2}
    start = {"pretrained": str(trained / "model.pt")}
    settings = {"dataset_dir": str(pictures), "epochs": 3, **start, **SMALL, **more}
    run("training", files, tmp_path / "whole", **settings)
    limit: dict[str, Any] = {"train::trainer::max_epochs": 1}
    run("training", files, tmp_path / "cut", **settings, **limit)
    run("training", files, tmp_path / "cut", **settings, resume=True)
    ends = [torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("whole", "cut")]
    for part in ("network", "average"):
        torch.testing.assert_close(ends[0][part], ends[1][part], rtol=0, atol=0)
    saved = torch.load(tmp_path / "whole" / "model.pt", weights_only=True)
    kernel = "encoder._conv_stem.weight"
    assert torch.equal(saved[kernel], ends[0]["average"][kernel].half())
    assert not torch.equal(ends[0]["average"][kernel], ends[0]["network"][kernel])


@pytest.mark.parametrize(
    ("start", "rule"),
    [
        (False, "--pretrained must be weights that have learned from the labelled slices, got none"),
        (True, "--unlabelled must be a folder of scans or pictures, got none"),
    ],
)
def test_what_the_overlay_for_unlabelled_slices_needs_is_said(
    pictures: Path, trained: Path, tmp_path: Path, start: bool, rule: str
) -> None:
    given = {"pretrained": str(trained / "model.pt")} if start else {}
    with pytest.raises(RuntimeError) as caught:
        run("training", [TRAIN, SHIPPED, UNLABELLED], tmp_path, dataset_dir=str(pictures), **given, **SMALL)
    assert rule in str(origin(caught.value))


def test_the_network_of_the_thesis_learns_by_the_same_recipe(pictures: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"dataset_dir": str(pictures), "network": "drsegunet", "epochs": 1, **SMALL}
    run("training", [TRAIN, SHIPPED], tmp_path / "first", **settings)
    pretrained = str(tmp_path / "first" / "model.pt")
    run("training", [TRAIN, SHIPPED], tmp_path / "second", **settings, pretrained=pretrained)
    assert (tmp_path / "second" / "model.pt").is_file()


@pytest.fixture(scope="module")
def trained(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    run("training", [TRAIN, SHIPPED], folder, dataset_dir=str(pictures), epochs=2, **SMALL)
    run("evaluating", [TRAIN, SHIPPED, EVALUATE], folder, dataset_dir=str(pictures), **SMALL)
    return folder


def test_evaluation_names_both_kinds_and_both_together(trained: Path) -> None:
    assert [row["class"] for row in rows(trained / "lesion_scores.csv")] == [
        *("ground-glass", "consolidation", "infection")
    ]
    record = json.loads((trained / "model.json").read_text())
    assert record["settings"]["normalise"] == "window" and record["settings"]["crop"] == "lungs"


class Dense(nn.Module):
    """Finds ground-glass where the input is above 0, which is -400 HU in the window -1080 to 280."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, 1, H, W) to logits (B, 3, H, W)."""
        background = torch.zeros_like(x)
        return torch.cat([200 * x, background - 99, background], 1)


def test_a_scan_in_hu_is_cropped_to_its_lungs_and_the_mask_comes_back_in_place(trained: Path, tmp_path: Path) -> None:
    """On an oblique affine, read back by nibabel."""
    source = write_radiopaedia(tmp_path / "made", patients=1, size=(160, 160), slices=8) / "rp_im"
    scan: Any = nibabel.load(next(source.iterdir()))
    hu = np.asarray(scan.dataobj)
    angle = np.deg2rad(9)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ scan.affine[:3, :3]
    affine[:3, 3] = (12.0, -7.0, 30.0)
    folder = tmp_path / "scans"
    folder.mkdir()
    nibabel.save(nibabel.Nifti1Image(hu, affine), folder / "oblique.nii.gz")
    weights = shutil.copy(trained / "model.pt", tmp_path / "alone.pt")  # without record, so that the size can differ
    settings: dict[str, Any] = {"dataset_dir": str(folder), "weights": str(weights), "isolated": False}
    settings |= {"network": "efficientnet_lite0", "classes": "lesions", "window": [-1080, 280], "normalise": "window"}
    settings |= {"crop": "lungs", "crop_margin": [4, 4, 0], "size": [320, 320]}
    settings |= {"evaluator::network": {"_target_": f"{__name__}.Dense"}}
    run("run", [INFERENCE], tmp_path / "out", **settings)
    mask: Any = nibabel.load(tmp_path / "out" / "oblique_mask.nii.gz")
    np.testing.assert_allclose(mask.affine, affine, atol=1e-4)
    found = np.asarray(mask.dataobj) == 1
    lung = lung_mask(hu, tuple(nibabel.affines.voxel_sizes(affine)))
    places = np.argwhere(lung)
    low, high = places.min(0) - np.array([4, 4, 0]), places.max(0) + np.array([5, 5, 1])
    box = np.zeros(hu.shape, bool)
    box[tuple(slice(max(begin, 0), end) for begin, end in zip(low, high, strict=True))] = True
    assert 0.2 < box.mean() < 0.8 and not found[~box].any()
    dense = (hu > -400) & box
    assert 2 * (found & dense).sum() / (found.sum() + dense.sum()) > 0.97
