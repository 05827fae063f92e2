"""The calibration error is that of MONAI's metric, and by hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from csv_rows import rows
from monai.metrics import CalibrationErrorMetric

from common.handlers.calibration_scores import BINS, REGIONS, CalibrationScores, of_slices
from common.handlers.lungs_of_slices import lungs_of
from common.metrics import calibration_errors
from common.phantoms.ct.chest_ct import chest_ct


def test_the_error_of_a_slice_is_that_of_monai() -> None:
    generator = torch.Generator().manual_seed(0)
    probability = torch.rand(3, 1, 32, 32, generator=generator)
    truth = torch.rand(3, 1, 32, 32, generator=generator) < probability**2
    metric = CalibrationErrorMetric(num_bins=BINS, metric_reduction="none")
    metric(probability, truth.float())
    found = calibration_errors(of_slices(probability, truth, torch.ones_like(truth)).double().numpy())
    assert found[:, 0] == pytest.approx(metric.aggregate().numpy()[:, 0], abs=1e-5)


def test_the_error_by_hand() -> None:
    """Ten pixels of 0.95, of which five are lesion, and ten of 0.01, of which none is: |0.95 - 0.5| half, 0.01 half."""
    probability = torch.tensor([0.95] * 10 + [0.01] * 10).view(1, 1, 4, 5)
    truth = torch.tensor([True] * 5 + [False] * 15).view(1, 1, 4, 5)
    all_pixels = calibration_errors(of_slices(probability, truth, torch.ones_like(truth)).double().numpy())
    without_easy = calibration_errors(of_slices(probability, truth, probability >= 0.05).double().numpy())
    nothing = of_slices(probability, truth, torch.zeros_like(truth))
    assert all_pixels.item() == pytest.approx((0.45 + 0.01) / 2, abs=1e-6)
    assert without_easy.item() == pytest.approx(0.45, abs=1e-6)
    assert not nothing.any() and np.isnan(calibration_errors(nothing.double().numpy())).all()


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_an_evaluation_writes_table_and_picture(activation: str, tmp_path: Path) -> None:
    handler = CalibrationScores(tmp_path, [0, 1] if activation == "softmax" else [0], activation, lung_channel=1)
    handler.clear()
    for number in range(6):
        logits = torch.zeros(1, 4 if activation == "softmax" else 1, 8, 8)  # a probability of lesion of one half
        label = torch.full((1, 1, 8, 8), 3 if activation == "softmax" else 0)
        label[..., :2] = 1  # of which a quarter is lesion
        image = torch.zeros(1, 2, 8, 8)
        image[:, 1, ..., :4] = 1  # the lung, half of which is lesion: no error there
        state = SimpleNamespace(
            output={"pred": logits, "label": label, "image": image},
            batch=[{"case": f"c{number}", "slice": 0, "patient": f"p{number}"}],
        )
        engine: Any = SimpleNamespace(state=state)
        handler.before_decision(engine)
        handler.remember(engine)
    handler.write(engine)
    first, lungs, last = rows(tmp_path / "calibration.csv")
    assert [row["pixels"] for row in (first, lungs, last)] == list(REGIONS)
    errors = [float(row["calibration_error"].split()[0]) for row in (first, lungs, last)]
    assert errors == pytest.approx([0.25, 0.0, 0.25])
    assert first["interval_over"] == "6 patients" and (tmp_path / "calibration.png").is_file()


def test_lungs_of_a_normalised_slice_are_found() -> None:
    """In a window, as the networks get it: the lungs of a synthetic patient, Dice with its true lung above 0.9."""
    patient = chest_ct(3, size=(128, 128), slices=5)
    image = torch.from_numpy((patient.image[..., 2].clip(-1080, 280).astype(np.float32) + 1080) / 680 - 1)
    found = lungs_of({"image": image[None, None]})
    lung = torch.from_numpy(patient.lung[..., 2] > 0)
    assert found.shape == (1, 1, 128, 128)
    assert 2 * (found[0, 0] & lung).sum() / (found.sum() + lung.sum()) > 0.9
