"""The tuned recipe of ct_drsegunet trains, resumes and scores by its overlay."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigWorkflow

from common.phantoms.ct.medseg_layouts import write_medseg_pictures

CONFIGS = "bundles/ct_drsegunet/configs"
TRAIN, TUNED, EVALUATE = (f"{CONFIGS}/{name}.yaml" for name in ("train", "tuned", "evaluate"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In MedSeg's packaging, without lung masks."""
    return write_medseg_pictures(tmp_path_factory.mktemp("tuned") / "data", slices=5, size=(96, 96))


def run(step: str, files: list[str], data: Path, folder: Path, **settings: Any) -> ConfigWorkflow:
    paths = {"dataset_dir": str(data), "ckpt_dir": str(folder), "output_dir": str(folder)}
    patch = {"patch_size": [32, 32]} if TUNED in files else {}
    workflow = ConfigWorkflow(config_file=files, run_id=step, size=[48, 48], **patch, **paths, **settings)
    workflow.initialize()
    workflow.run()
    return workflow


def test_a_resumed_run_ends_bitwise_as_one_that_was_not_cut_off(pictures: Path, tmp_path: Path) -> None:
    """Schedule and augmentation included; cut off by an epoch limit, so that both runs have the same schedule."""
    whole = run("training", [TRAIN, TUNED], pictures, tmp_path / "whole", epochs=3)
    limit: dict[str, Any] = {"train::trainer::max_epochs": 1}
    run("training", [TRAIN, TUNED], pictures, tmp_path / "cut", epochs=3, **limit)
    run("training", [TRAIN, TUNED], pictures, tmp_path / "cut", epochs=3, resume=True)
    ends = [torch.load(tmp_path / name / "last.pt", weights_only=True)["network"] for name in ("whole", "cut")]
    torch.testing.assert_close(*ends, rtol=0, atol=0)
    assert whole.parser.get_parsed_content("optimizer").param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)
    for name in ("whole", "cut"):
        with (tmp_path / name / "metrics.csv").open() as file:
            rates = [float(row["learning_rate"]) for row in csv.DictReader(file)]
        assert rates == pytest.approx([1e-3, 7.5e-4, 2.5e-4])  # a cosine: (1 + cos 60 degrees) / 2, (1 + cos 120) / 2
    model = torch.load(tmp_path / "whole" / "model.pt", weights_only=True)
    torch.testing.assert_close(model, ends[0], rtol=0, atol=0)  # the last epoch, not the best


def test_lungs_are_learned_where_the_source_has_no_masks_of_them(pictures: Path, tmp_path: Path) -> None:
    workflow = run("training", [TRAIN, TUNED], pictures, tmp_path, epochs=1)
    classes = torch.cat([plane["label"].unique() for plane in workflow.parser.get_parsed_content("train::dataset")])
    assert set(classes.tolist()) >= {0, 2, 3}
    run("evaluating", [TRAIN, TUNED, EVALUATE], pictures, tmp_path)
    with (tmp_path / "lesion_scores.csv").open() as file:
        assert [row["class"] for row in csv.DictReader(file)] == ["ground-glass", "consolidation", "infection"]
