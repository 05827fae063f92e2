"""Real images with lesions and real normal slices: mixed by three commands, trained on and segmented."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigWorkflow
from PIL import Image

from common.datasets.ct import image_labels
from common.datasets.ct.cut import main

CONFIGS = "bundles/ct_weak_gan/configs"
SEED = 11  # of a split that trains on elastix and validates on ibsi: there are no further patients without lesions


def run(step: str, file: str, **settings: Any) -> None:
    """What MONAI's command does, in this process."""
    workflow = ConfigWorkflow(config_file=f"{CONFIGS}/{file}.yaml", run_id=step, logging_file=False, **settings)
    workflow.initialize()
    workflow.run()


def mixed(real_data: Callable[[str], Path], folder: Path) -> Path:
    """MedSeg's pictures as lesions, and as normal a lung of elastix and what lies far from IBSI's tumour.

    The window of MedSeg's pictures is not known; the volumes are cut with the usual lung window.
    """
    medseg, elastix, ibsi = (real_data(name) for name in ("ct_medseg_slices", "ct_elastix_lung", "ct_ibsi_lung"))
    lung, tumour = elastix / "3DCT_lung_baseline_mask.mha", ibsi / "nifti" / "mask" / "mask.nii.gz"
    for source, place, words in (
        ("medseg", medseg / "train" / "Imgs", "--label 1 --picture_axes LP --patients unknown"),
        ("elastix", elastix, f"--label 0 --include 3DCT_lung --lung_masks {lung}"),
        ("ibsi", ibsi / "nifti" / "image", f"--label 0 --lesion_masks {tumour} --gap 12"),
    ):
        main(["--source", source, "--dataset_dir", str(place), "--output_dir", str(folder), *words.split()])
    return folder


@pytest.mark.slow
def test_a_mix_of_real_sources_trains_and_segments_and_is_warned_of(
    tmp_path: Path, real_data: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("itk")
    mix = mixed(real_data, tmp_path / "mix")
    cases = image_labels(mix, "table")
    assert {
        source: [case["label"] for case in cases if case["source"] == source]
        for source in ("medseg", "elastix", "ibsi")
    } == {"medseg": [1] * 50, "elastix": [0] * 106, "ibsi": [0] * 5}
    words: dict[str, Any] = {"size": [64, 64], "filters": 4, "output_dir": str(tmp_path)}
    data = {"source": "table", "dataset_dir": str(mix), "seed": SEED, "training_slices": [20, 20]}
    with caplog.at_level(logging.INFO):
        run("training", "train", **data, **words, ckpt_dir=str(tmp_path), epochs=1)
    for line in (
        "Drawn to train on: 20 of 106 normal slices, 20 of 35 with lesions.",
        "Validation: 9 slices of 5 patients, 4 with lesions.",
        "All normal slices come from elastix, all slices with lesions from medseg. A network may",
    ):
        assert line in caplog.text
    pictures = real_data("ct_medseg_slices") / "train" / "Imgs"
    scans = {"dataset_dir": str(pictures), "include": "14", "picture_axes": "LP"}
    run("run", "inference", **scans, **words, weights=str(tmp_path / "model.pt"))
    size = Image.open(pictures / "14.jpg").size
    assert [Image.open(tmp_path / f"14_{name}.png").size for name in ("heat", "normal", "mask")] == [size] * 3
    assert (tmp_path / "14_overlay.png").is_file()
