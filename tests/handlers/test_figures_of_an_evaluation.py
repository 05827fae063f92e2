"""What an evaluation keeps for figures: histograms of probabilities, slices of several cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from csv_rows import rows
from monai.engines import SupervisedEvaluator
from monai.transforms import Activationsd, AsDiscreted, Compose
from PIL import Image

from common.handlers.largest_slices import LargestSlices
from common.handlers.probability_histogram import ProbabilityHistogram
from common.handlers.threshold_scores import ThresholdScores

CLASSES = ["ground-glass", "lung", "background"]


def evaluate(data: list[dict[str, Any]], handler: Any) -> None:
    """An evaluation whose network gives the image as logits."""
    steps = [
        Activationsd("pred", softmax=True),
        AsDiscreted(["pred", "label"], threshold=[0.5, None], to_onehot=[None, len(CLASSES)]),
    ]
    SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=torch.utils.data.DataLoader(data, batch_size=2),
        network=torch.nn.Identity(),
        postprocessing=Compose(steps),
        val_handlers=[handler],
    ).run()


def sample(probabilities: list[list[float]], labels: list[int], case: str = "a", number: int = 0) -> dict[str, Any]:
    """A slice of 1 pixel per column of ``probabilities`` (classes, pixels)."""
    logits = torch.tensor(probabilities).log()[:, None]  # (classes, 1, pixels)
    return {"image": logits, "label": torch.tensor(labels)[None, None], "case": case, "slice": number}


def test_each_threshold_has_its_dice_and_each_probability_its_share_of_lesions(tmp_path: Path) -> None:
    first = sample([[0.72, 0.32, 0.08], [0.1, 0.3, 0.02], [0.18, 0.38, 0.9]], [0, 2, 0])  # lesion: 0.82, 0.62, 0.10
    second = sample([[0.01, 0.1, 0.3], [0.01, 0.1, 0.22], [0.98, 0.8, 0.48]], [2, 2, 2], number=1)
    evaluate([first, second], ThresholdScores(tmp_path, lesions=[0, 1]))
    table = rows(tmp_path / "thresholds_per_slice.csv")
    assert len(table) == 2 and len(table[0]) == 3 + 19
    found = [[float(row[f"dice_{threshold}"]) for threshold in ("0.05", "0.50", "0.70", "0.90")] for row in table]
    # Two of three pixels are lesion in the first slice: all three, two, one, or none found; none in the second slice
    assert found == [pytest.approx([4 / 5, 2 / 4, 2 / 3, 0], abs=1e-4), [0, 0, 1, 1]]
    bins = [[float(cell) for cell in row.values()] for row in rows(tmp_path / "reliability.csv")]
    held = {logit: tuple(counts) for logit, *counts in bins if counts[0]}
    logits = {p: round(np.log(p / (1 - p)) // 0.1 * 0.1 + 0.05, 3) for p in (0.82, 0.62, 0.1, 0.02, 0.2, 0.52)}
    lesion = {p: int(p in (0.82, 0.1)) for p in logits}  # no lung is found, so only lesions count there
    assert held == {logits[p]: (1, lesion[p], lesion[p], lesion[p]) for p in sorted(logits)}


def test_probabilities_are_counted_before_and_after_the_decision(tmp_path: Path) -> None:
    first = sample([[0.61, 0.21], [0.29, 0.41], [0.1001, 0.3801]], [0, 1])
    second = sample([[0.97, 0.01], [0.02001, 0.01], [0.01, 0.98001]], [0, 2], number=1)
    evaluate([first, second, second], ProbabilityHistogram(tmp_path, CLASSES))
    table = rows(tmp_path / "probabilities.csv")
    assert len(table) == 50 and [row["probability"] for row in table[:2]] == ["0.01", "0.03"]
    shares = {key: np.array([float(row[key]) for row in table]) for key in table[0]}
    assert all(shares[key].sum() == pytest.approx(1, abs=1e-5) for key in shares if key != "probability")
    # Bins of 0.02: of ground-glass, 0.61 and 0.21 once, 0.97 and 0.01 twice
    found = {
        int(place): round(6 * shares["softmax ground-glass"][place])
        for place in shares["softmax ground-glass"].nonzero()[0]
    }
    assert found == {30: 1, 10: 1, 48: 2, 0: 2}
    # Refined: 0.61, 0.97 twice and 0.98 twice exceed 0.5, five of 18 values; the pixel with 0.41 has no class
    assert (
        shares["refined"][[0, -1]] == pytest.approx([13 / 18, 5 / 18], abs=1e-6) and shares["refined"][1:-1].sum() == 0
    )
    assert shares["refined lung"][0] == 1
    with Image.open(tmp_path / "probabilities.png") as picture:
        assert picture.size == (1200, 460)


def test_the_largest_lesion_of_each_case_is_saved_with_numbers_of_classes(tmp_path: Path) -> None:
    sure = [[0.98, 0.01, 0.01, 0.4], [0.01, 0.98, 0.01, 0.3], [0.01, 0.01, 0.98, 0.3]]
    data = [
        sample(sure, [0, 2, 2, 2], "a", 4),
        sample(sure, [0, 0, 1, 2], "a", 5),
        sample(sure, [0, 0, 0, 1], "b", 0),
        sample(sure, [2, 2, 2, 0], "c", 7),
    ]
    evaluate(data, LargestSlices(tmp_path, CLASSES, columns=2))
    with np.load(tmp_path / "largest_slices.npz", allow_pickle=False) as file:
        kept = dict(file)
    assert kept["titles"].tolist() == ["b, slice 0", "a, slice 5"]
    assert kept["truths"][:, 0].tolist() == [[1, 1, 1, 2], [1, 1, 2, 0]], "background is 0"
    assert kept["predictions"][0, 0].tolist() == [1, 2, 0, 0], "no class above 0.5 in the last pixel"
    assert kept["images"].dtype == np.float16 and kept["images"].shape == (2, 1, 4)
