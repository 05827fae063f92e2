"""Scores of classes agree with scikit-learn."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.handlers import ConfusionMatrix, MeanDice, MeanIoUHandler, from_engine
from monai.transforms import Activationsd, AsDiscreted, Compose
from sklearn.metrics import f1_score, jaccard_score

from common.handlers.class_scores import ClassScores
from common.statistics import mean_interval

CLASSES = ["ground-glass", "consolidation", "lung", "background"]


class Predicted(torch.nn.Module):
    """Predicts the class that the image's value says."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 1, H, W) of class indices to logits (B, 4, H, W)."""
        return 20.0 * torch.nn.functional.one_hot(x[:, 0].long(), 4).movedim(-1, 1).float()


def scores(
    predicted: np.ndarray, truth: np.ndarray, folder: Path, patients: Sequence[str] = ()
) -> dict[str, dict[str, str]]:
    """Evaluate as evaluate.yaml does; class maps (N, H, W)."""
    data = [
        {"image": torch.tensor(a)[None].float(), "label": torch.tensor(b)[None], "case": str(index), "slice": index}
        for index, (a, b) in enumerate(zip(predicted, truth, strict=True))
    ]
    data = [{**case, "patient": patient} for case, patient in zip(data, patients or [""] * len(data), strict=True)]
    pair = from_engine(["pred", "label"])
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(data), batch_size=2),
        network=Predicted(),
        postprocessing=Compose(
            [
                Activationsd("pred", softmax=True),
                AsDiscreted(["pred", "label"], threshold=[0.5, None], to_onehot=[None, 4]),
            ]
        ),
        key_val_metric={"val_mean_dice": MeanDice(include_background=True, output_transform=pair)},
        additional_metrics={
            "val_mean_iou": MeanIoUHandler(include_background=True, output_transform=pair),
            "val_f1": ConfusionMatrix(metric_name="f1 score", output_transform=pair),
        },
        val_handlers=[ClassScores(folder, CLASSES)],
    )
    evaluator.run()
    with (folder / "scores.csv").open() as file:
        return {row["class"]: row for row in csv.DictReader(file)}


def test_pooled_f1_agrees_with_scikit_learn(tmp_path: Path, rng: np.random.Generator) -> None:
    predicted, truth = rng.integers(0, 4, (2, 5, 16, 16))
    found = scores(predicted, truth, tmp_path)
    reference = f1_score(truth.ravel(), predicted.ravel(), average=None)
    assert [float(found[name]["f1"]) for name in CLASSES] == pytest.approx(reference, abs=1e-4)
    assert float(found["mean"]["f1"]) == pytest.approx(reference.mean(), abs=1e-4)


def test_dice_and_iou_are_means_over_slices(tmp_path: Path, rng: np.random.Generator) -> None:
    predicted, truth = rng.integers(0, 4, (2, 5, 16, 16))
    found = scores(predicted, truth, tmp_path)
    for score, reference in (("dice", f1_score), ("iou", jaccard_score)):
        values = [reference(b.ravel(), a.ravel(), average=None) for a, b in zip(predicted, truth, strict=True)]
        expected = np.mean(values, axis=0)
        assert [float(found[name][score]) for name in CLASSES] == pytest.approx(expected, abs=1e-4)


def test_intervals_are_over_patients_with_all_of_their_slices(tmp_path: Path, rng: np.random.Generator) -> None:
    predicted, truth = rng.integers(0, 4, (2, 14, 8, 8))
    patients = [f"p{index // 2}" for index in range(14)]
    found = scores(predicted, truth, tmp_path, patients)
    values = [f1_score(b.ravel(), a.ravel(), average=None) for a, b in zip(predicted, truth, strict=True)]
    expected = mean_interval(np.array(values)[:, 0], patients)
    row = found["ground-glass"]
    assert [float(row[f"dice_{bound}"]) for bound in ("low", "high")] == pytest.approx(expected[1:3], abs=1e-4)
    assert row["interval_over"] == "7 patients" and (tmp_path / "scores.npz").is_file()


def test_slices_without_a_class_count_in_f1_but_not_in_dice(tmp_path: Path) -> None:
    truth = np.full((2, 2, 2), 3)
    predicted = truth.copy()
    truth[0, 0] = predicted[0, 0] = 0  # two pixels of ground-glass, found
    predicted[1, 0] = 0  # two pixels of ground-glass, where there are none
    found = scores(predicted, truth, tmp_path)
    assert found["ground-glass"] == {
        "class": "ground-glass",
        **{"dice": "1.0000", "iou": "1.0000", "f1": "0.6667"},
        **{f"{score}_{bound}": "" for score in ("dice", "iou", "f1") for bound in ("low", "high")},
        **{"slices": "1", "absent": "1", "false_alarms": "1", "set": ""},
        "interval_over": "none: 1 to 2 slices, 5 needed",
    }
    assert [found["consolidation"][name] for name in ("slices", "absent", "false_alarms")] == ["0", "2", "0"]
    assert (found["consolidation"]["dice"], found["consolidation"]["f1"]) == ("", ""), "no slice's truth holds it"
    # Ground-glass 2 * 2 / (4 + 2), background 2 * 4 / (4 + 6); consolidation and lung have no score.
    assert float(found["mean"]["f1"]) == pytest.approx((4 / 6 + 8 / 10) / 2, abs=1e-4)
