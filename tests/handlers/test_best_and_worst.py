"""The best and the worst slices of an evaluation are those of its table, and slices without infection take no part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT
from csv_rows import rows
from monai.engines import SupervisedEvaluator
from monai.handlers import ConfusionMatrix, from_engine

from common.handlers.best_and_worst import BestAndWorst
from common.handlers.slice_scores import SliceScores

METADATA = ROOT / "bundles/ct_transfer_unet/configs/metadata.json"


def evaluate(folder: Path, slices: list[tuple[int, int, int]], count: int) -> list[str]:
    """Titles of the sheet, for slices with so many annotated, predicted and common pixels of 100, two to a case."""
    data = []
    for number, (truth, predicted, common) in enumerate(slices):
        label, image = torch.zeros(100), torch.zeros(100)
        label[:truth], image[truth - common : truth - common + predicted] = 1, 1
        planes = {"image": image.reshape(1, 10, 10), "label": label.reshape(1, 10, 10)}
        data.append({**planes, "case": f"case {number // 2}", "slice": number % 2})
    metric = ConfusionMatrix(
        metric_name="f1 score", compute_sample=False, output_transform=from_engine(["pred", "label"])
    )
    SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=torch.utils.data.DataLoader(data, batch_size=3),
        network=torch.nn.Identity(),
        key_val_metric={"val_f1": metric},
        val_handlers=[SliceScores(folder), BestAndWorst(folder, METADATA, ["infection"], count)],
    ).run()
    with np.load(folder / "best_and_worst.npz", allow_pickle=False) as file:
        assert file["truths"].sum((1, 2)).min() > 0
        return list(file["titles"].tolist())


def test_the_sheet_shows_the_extremes_of_the_table(tmp_path: Path, rng: np.random.Generator) -> None:
    slices = []
    for _ in range(12):
        truth, predicted = (int(number) for number in rng.integers(1, 50, 2))
        slices.append((truth, predicted, int(rng.integers(0, min(truth, predicted) + 1))))
    titles = evaluate(tmp_path, [*slices, (0, 0, 0), (0, 30, 0)], count=3)
    table = [
        row
        for row in rows(tmp_path / "scores_per_slice.csv")
        if row["true_positive"] != "0" or row["false_negative"] != "0"
    ]
    assert len(table) == 12
    ordered = sorted(float(row["f1"]) for row in table)
    shown = [float(title.split(",")[0].removeprefix("F1 ")) for title in titles]
    assert shown == pytest.approx([*ordered[:-4:-1], *ordered[:3]], abs=5.0001e-4)
    by_name = {f"{row['case']}, slice {row['slice']}": float(row["f1"]) for row in table}
    for title, f1 in zip(titles, shown, strict=True):
        assert by_name[title.split(", ", 1)[1]] == pytest.approx(f1, abs=5.0001e-4)
    assert (tmp_path / "best_and_worst.png").read_bytes().startswith(b"\x89PNG")


def test_of_equal_scores_the_larger_lesion_is_shown_and_no_slice_twice(tmp_path: Path) -> None:
    titles = evaluate(tmp_path, [(4, 0, 0), (9, 0, 0), (5, 5, 5), (7, 7, 7), (6, 2, 1)], count=2)
    assert titles == [
        "F1 1.000, case 1, slice 1",
        "F1 1.000, case 1, slice 0",
        "F1 0.000, case 0, slice 1",
        "F1 0.000, case 0, slice 0",
    ]
    assert len(set(evaluate(tmp_path, [(4, 0, 0), (5, 5, 5), (6, 2, 1)], count=2))) == 3


def test_without_infection_nothing_is_drawn(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        evaluate(tmp_path, [(0, 0, 0), (0, 3, 0)], count=2)
    assert not (tmp_path / "best_and_worst.png").exists()


def test_the_number_of_examples_is_checked(tmp_path: Path) -> None:
    handler: Any = BestAndWorst
    with pytest.raises(ValueError, match="must be shown, got 0"):
        handler(tmp_path, METADATA, ["infection"], 0)
