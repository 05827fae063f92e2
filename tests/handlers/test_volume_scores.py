"""Dice per volume by hand-worked counts, and the rule for volumes without infection."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from csv_rows import rows
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
        found = rows(folder / f"{name}.csv")
        shown = [column for column in found[0] if not column.endswith(("_low", "_high"))]
        tables[name] = [shown, *([row[column] for column in shown] for row in found)]
    assert [table.pop(0) for table in tables.values()] == [
        "row,mean,maximum,minimum,count,absent,false_alarms,interval_over".split(","),
        "case,patient,dice,slices,slices_with_infection,true_positive,false_positive,false_negative".split(","),
        "case,patient,slice,dice,true_positive,false_positive,true_negative,false_negative".split(","),
    ]
    return tables


def test_the_dice_of_a_volume_is_that_of_its_pooled_pixels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # a: Dice 6/9, 0/4 and none for the empty slice; pooled 3 hit, 1 extra, 6 missed: 6/13. b: empty, as predicted.
    tables = evaluate({"a": [(3, 1, 2), (0, 0, 4), (0, 0, 0)], "b": [(0, 0, 0), (0, 0, 0)]}, tmp_path)
    assert tables["scores"] == [
        ["volumes", "0.461538", "0.461538", "0.461538", "1", "1", "0", "none: 1 volume, 5 needed"],
        ["slices", "0.333333", "0.666667", "0.000000", "2", "3", "0", "none: 1 volume, 5 needed"],
        ["pooled pixels", "0.461538", "", "", "5", "", "", "none: 1 volume, 5 needed"],
    ]
    assert tables["scores_per_volume"] == [
        ["a", "", "0.461538", "3", "2", "3", "1", "6"],
        ["b", "", "", "2", "0", "0", "0", "0"],
    ]
    assert tables["scores_per_slice"][:2] == [
        ["a", "", "0", "0.666667", "3", "1", "10", "2"],
        ["a", "", "1", "0.000000", "0", "0", "12", "4"],
    ]
    assert [row[:4] for row in tables["scores_per_slice"][2:]] == [
        [case, "", number, ""] for case, number in (("a", "2"), ("b", "0"), ("b", "1"))
    ]
    printed = capsys.readouterr().out
    assert "volumes 0.4615 0.4615 0.4615 1 1 0 none" in " ".join(printed.split())


def test_a_volume_without_infection_is_counted_and_so_is_what_was_predicted_in_it(tmp_path: Path) -> None:
    tables = evaluate({"a": [(4, 0, 0)], "b": [(0, 0, 0), (0, 2, 0)]}, tmp_path)
    assert [row[2] for row in tables["scores_per_volume"]] == ["1.000000", ""]
    assert [row[3] for row in tables["scores_per_slice"]] == ["1.000000", "", ""]
    assert tables["scores"][0][:7] == ["volumes", "1.000000", "1.000000", "1.000000", "1", "1", "1"]
    assert tables["scores"][1][4:7] == ["1", "2", "1"]
    assert tables["scores"][2][1] == "0.800000", "8 / (8 + 2)"


def test_without_any_infection_there_is_no_score(tmp_path: Path) -> None:
    for row in evaluate({"a": [(0, 0, 0)]}, tmp_path)["scores"][:2]:
        assert row[1:] == ["", "", "", "0", "1", "0", "none: 0 volumes, 5 needed"]
