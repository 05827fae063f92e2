"""Dice per volume by hand-worked counts, and the rule for volumes without infection."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from monai.engines import SupervisedEvaluator
from monai.handlers import ConfusionMatrix, from_engine

from common.handlers.volume_scores import VolumeScores

PIXELS = 16


def plane(hit: int, extra: int, missed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Prediction and ground truth (1, PIXELS, 1) with these true positive, false positive and false negative pixels."""
    pred, truth = torch.zeros(2, PIXELS)
    pred[: hit + extra] = 1
    truth[:hit] = truth[hit + extra : hit + extra + missed] = 1
    return pred.reshape(1, PIXELS, 1), truth.reshape(1, PIXELS, 1)


def evaluate(volumes: dict[str, list[tuple[int, int, int]]], folder: Path) -> dict[str, list[list[str]]]:
    """Tables of the counts of each volume's slices, without their headings; batches reach across volumes."""
    samples = []
    for case, slices in volumes.items():
        for index, counts in enumerate(slices):
            pred, truth = plane(*counts)
            samples.append({"image": pred, "label": truth, "case": case, "slice": index})
    metric = ConfusionMatrix(
        metric_name="f1 score", compute_sample=False, output_transform=from_engine(["pred", "label"])
    )
    SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=torch.utils.data.DataLoader(samples, batch_size=2),
        network=torch.nn.Identity(),
        key_val_metric={"val_f1": metric},
        val_handlers=[VolumeScores(folder)],
    ).run()
    tables = {}
    for name in ("scores", "scores_per_volume", "scores_per_slice"):
        with (folder / f"{name}.csv").open(newline="") as file:
            tables[name] = list(csv.reader(file))
    assert [table.pop(0) for table in tables.values()] == [
        ["row", "mean", "maximum", "minimum", "count"],
        "case,dice,slices,slices_with_infection,true_positive,false_positive,false_negative".split(","),
        "case,slice,dice,true_positive,false_positive,true_negative,false_negative".split(","),
    ]
    return tables


def test_the_dice_of_a_volume_is_that_of_its_pooled_pixels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # a: Dice 6/9, 0/4 and 1 for the empty slice; pooled 3 hit, 1 extra, 6 missed: 6/13. b: empty, as predicted.
    tables = evaluate({"a": [(3, 1, 2), (0, 0, 4), (0, 0, 0)], "b": [(0, 0, 0), (0, 0, 0)]}, tmp_path)
    assert tables["scores"] == [
        ["volumes", "0.730769", "1.000000", "0.461538", "2"],
        ["volumes with infection", "0.461538", "0.461538", "0.461538", "1"],
        ["slices", "0.733333", "1.000000", "0.000000", "5"],
        ["slices with infection", "0.333333", "0.666667", "0.000000", "2"],
        ["pooled pixels", "0.461538", "0.461538", "0.461538", "5"],
    ]
    assert tables["scores_per_volume"] == [
        ["a", "0.461538", "3", "2", "3", "1", "6"],
        ["b", "1.000000", "2", "0", "0", "0", "0"],
    ]
    assert tables["scores_per_slice"][:2] == [
        ["a", "0", "0.666667", "3", "1", "10", "2"],
        ["a", "1", "0.000000", "0", "0", "12", "4"],
    ]
    assert [row[:3] for row in tables["scores_per_slice"][2:]] == [
        [case, number, "1.000000"] for case, number in (("a", "2"), ("b", "0"), ("b", "1"))
    ]
    printed = capsys.readouterr().out
    assert "volumes 0.7308 1.0000 0.4615 2" in " ".join(printed.split())


def test_a_volume_without_infection_scores_zero_if_something_is_predicted(tmp_path: Path) -> None:
    tables = evaluate({"a": [(4, 0, 0)], "b": [(0, 0, 0), (0, 2, 0)]}, tmp_path)
    assert [row[1] for row in tables["scores_per_volume"]] == ["1.000000", "0.000000"]
    assert [row[2] for row in tables["scores_per_slice"]] == ["1.000000", "1.000000", "0.000000"]
    assert tables["scores"][0] == ["volumes", "0.500000", "1.000000", "0.000000", "2"]
    assert tables["scores"][4][1] == "0.800000", "8 / (8 + 2)"


def test_without_any_infection_its_slices_have_no_score(tmp_path: Path) -> None:
    assert evaluate({"a": [(0, 0, 0)]}, tmp_path)["scores"][3] == ["slices with infection", "", "", "", "0"]
