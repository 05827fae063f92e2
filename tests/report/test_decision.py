"""What drove a diagnosis: contributions are weight times share, and sum with the bias to the network's logits."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from csv_rows import rows_by_name
from PIL import Image

from common.networks.reverse_transfer import ReverseTransfer
from common.report.decision import Decision
from common.report.frames import ReportFramesd
from common.transforms.ultrasound import Diagnosed

DIAGNOSES, MAPS = ["normal", "pneumonia", "COVID-19"], ["A-line", "B-line", "pleural line", "background"]
METADATA = ROOT / "bundles" / "us_reverse_transfer" / "configs" / "metadata.json"


@pytest.fixture
def network() -> ReverseTransfer:
    """A decision with round weights."""
    made = ReverseTransfer(torch.nn.Identity(), classes=4)
    with torch.no_grad():
        made.classifier.weight.copy_(
            torch.tensor([[8.0, -4.0, 1.0, 0.0], [0.0, 2.0, 0.0, 1.0], [-8.0, 10.0, 2.0, 0.0]])
        )
        made.classifier.bias.copy_(torch.tensor([0.5, 0.0, -0.5]))
    return made


def test_a_decision_is_explained_by_hand_worked_numbers(network: ReverseTransfer, tmp_path: Path) -> None:
    decision = Decision(network, DIAGNOSES, MAPS)
    row = decision.row(dict(zip((f"share_{name}" for name in MAPS), (0.05, 0.2, 0.05, 0.7), strict=True)))
    assert list(row) == decision.columns
    # weight x share: 8 x 0.05, -4 x 0.2, 1 x 0.05, 0 and 0.5 | 0.4, 0.7 | -0.4, 2, 0.1, -0.5
    for name, expected in (("normal", 0.15), ("pneumonia", 1.1), ("COVID-19", 1.2)):
        assert row[f"logit_{name}"] == pytest.approx(expected)
        parts = [row[f"contribution_{name}_{part}"] for part in (*MAPS, "bias")]
        assert sum(parts) == pytest.approx(expected)
    assert row["contribution_COVID-19_B-line"] == pytest.approx(2.0)
    assert row["contribution_normal_bias"] == pytest.approx(0.5)
    # COVID-19 before pneumonia: B-line 2.0 - 0.4, pleural line 0.1 - 0.0; all others speak for pneumonia
    assert row["diagnosis"] == "COVID-19" and row["decided_by"] == "B-line +1.60, pleural line +0.10 over pneumonia"
    total = np.exp([0.15, 1.1, 1.2]).sum()
    assert row["probability_COVID-19"] == pytest.approx(np.exp(1.2) / total)
    decision.write(tmp_path / "weights.csv")
    written = rows_by_name(tmp_path / "weights.csv")
    assert list(written) == [*MAPS, "bias"] and sum(len(row) - 1 for row in written.values()) == 15
    assert [written["B-line"][name] for name in DIAGNOSES] == ["-4", "2", "10"]


def test_seven_maps_have_24_weights() -> None:
    names = [f"map {number}" for number in range(7)]
    assert Decision(ReverseTransfer(torch.nn.Identity(), classes=7), DIAGNOSES, names).weights.size == 24


def test_a_clips_row_follows_from_its_mean_shares_and_is_the_mean_of_its_frames(
    network: ReverseTransfer, tmp_path: Path
) -> None:
    """All numbers of a row of cases.csv follow from each other, and from the network's own logits of the frames."""
    decision, diagnose = Decision(network, DIAGNOSES, MAPS), Diagnosed("pred", network, MAPS, DIAGNOSES)
    report = ReportFramesd("pred", tmp_path, METADATA, MAPS, decision)
    frames = torch.randn(5, 4, 12, 16, generator=torch.Generator().manual_seed(3)).mul(2).softmax(1)
    for number, maps in enumerate(frames):
        item = diagnose({"pred": maps}) | {"pred": torch.zeros(1, 40, 60), "picture": torch.zeros(1, 40, 60)}
        report({**item, "case": "clip", "frame": number, "seconds": number / 3, "last": number == 4})
    with (tmp_path / "cases.csv").open() as file:
        row = {name: value for name, value in next(csv.DictReader(file)).items()}
    logits = network.decide(frames).detach().double()  # as training and evaluation have it
    assert [float(row[f"logit_{name}"]) for name in DIAGNOSES] == pytest.approx(logits.mean(0).tolist(), abs=1e-5)
    expected = logits.mean(0).softmax(0).tolist()
    assert [float(row[f"probability_{name}"]) for name in DIAGNOSES] == pytest.approx(expected, abs=1e-5)
    weights = np.column_stack([network.classifier.weight.detach(), network.classifier.bias.detach()])
    shares = [float(row[f"share_{name}"]) for name in MAPS]
    for name, line in zip(DIAGNOSES, weights, strict=True):
        parts = [float(row[f"contribution_{name}_{part}"]) for part in (*MAPS, "bias")]
        assert parts == pytest.approx((line * [*shares, 1]).tolist(), abs=1e-4)
        assert sum(parts) == pytest.approx(float(row[f"logit_{name}"]), abs=1e-4)
    assert row["diagnosis"] == DIAGNOSES[int(logits.mean(0).argmax())]
    with Image.open(tmp_path / "clip_overlay.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    below = pixels[-46 - int(decision.height) : -46]
    orange, blue = (below[..., 0] - below[..., 2] > 60).sum(), (below[..., 2] - below[..., 0] > 60).sum()
    assert orange > 1000 and blue > 1000, "cells for and against"
