"""Diagnosis by an encoder with ImageNet weights trains, resumes, scores and infers; its maps decide."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from bundle_steps import run
from csv_rows import rows

from common.networks.encoder_maps import maps_network
from common.networks.reverse_transfer import OWN_MAP, ReverseTransfer
from common.phantoms.ultrasound.layouts import write_pocus

CONFIGS = "bundles/us_reverse_transfer/configs"
TRAIN, ENCODER, EVALUATE, INFERENCE = (
    f"{CONFIGS}/{name}.yaml" for name in ("train", "encoder", "evaluate", "inference")
)
SMALL: dict[str, Any] = {"size": [64, 64], "epochs": 2, "samples": 24, "batch_size": 8, "frames_per_second": 2}
MAPS = ("looks normal", "looks like pneumonia", "looks like COVID-19")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pocus(
        tmp_path_factory.mktemp("clips") / "pocus", patients=9, clips=1, seconds=1.0, rate=4.0, size=(96, 128)
    )


def test_a_resumed_training_ends_bitwise_as_one_that_was_not_cut_off(clips: Path, tmp_path: Path) -> None:
    """Average, schedule, augmentation and the balanced draw of frames included."""
    settings = {"dataset_dir": str(clips), **SMALL}
    limit: dict[str, Any] = {"train::trainer::max_epochs": 1}
    run("training", [TRAIN, ENCODER], tmp_path / "whole", **settings)
    run("training", [TRAIN, ENCODER], tmp_path / "cut", **settings, **limit)
    run("training", [TRAIN, ENCODER], tmp_path / "cut", **settings, resume=True)
    ends = [torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("whole", "cut")]
    for part in ("network", "average"):
        torch.testing.assert_close(ends[0][part], ends[1][part], rtol=0, atol=0)


def test_it_scores_and_infers_with_the_settings_of_its_record(clips: Path, tmp_path: Path) -> None:
    settings = {"dataset_dir": str(clips), **SMALL}
    run("training", [TRAIN, ENCODER], tmp_path, **settings)
    run("evaluating", [TRAIN, ENCODER, EVALUATE], tmp_path, **settings)
    assert [row["class"] for row in rows(tmp_path / "scores.csv")] == ["normal", "pneumonia", "COVID-19", "mean"]
    record = json.loads((tmp_path / "model.json").read_text())
    assert record["settings"]["network"] == "efficientnet_lite0" and record["settings"]["size"] == [64, 64]
    out = tmp_path / "out"
    run("run", [INFERENCE], out, dataset_dir=str(clips), weights=str(tmp_path / "model.pt"), isolated=False)
    for row in rows(out / "cases.csv"):
        assert sum(float(row[f"share_{name}"]) for name in MAPS) == pytest.approx(1, abs=1e-4)
        for diagnosis in ("normal", "pneumonia", "COVID-19"):
            parts = [float(row[f"contribution_{diagnosis}_{name}"]) for name in (*MAPS, "bias")]
            assert sum(parts) == pytest.approx(float(row[f"logit_{diagnosis}"]), abs=1e-4)


def test_in_the_beginning_each_map_speaks_for_its_own_diagnosis() -> None:
    network = ReverseTransfer(maps_network("efficientnet_lite0", 3), classes=3, own_maps=True)
    maps = torch.zeros(1, 3, 4, 4)
    maps[:, 1] = 1.0
    assert network.decide(maps)[0].tolist() == pytest.approx([-OWN_MAP / 3, OWN_MAP * 2 / 3, -OWN_MAP / 3])
    assert network.decide(torch.full((1, 3, 4, 4), 1 / 3))[0].tolist() == pytest.approx([0, 0, 0], abs=1e-6)


def test_the_encoder_keeps_its_statistics_and_when_frozen_its_weights() -> None:
    frozen = maps_network("efficientnet_lite0", 3, frozen=True).train()
    before = {name: value.clone() for name, value in frozen.encoder.state_dict().items()}  # type: ignore[union-attr, operator]
    frozen(torch.rand(2, 1, 64, 64)).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in frozen.encoder.state_dict().items())  # type: ignore[union-attr, operator]
    grads = {name for name, weight in frozen.named_parameters() if weight.grad is not None}
    assert grads == {"maps.weight", "maps.bias"}
