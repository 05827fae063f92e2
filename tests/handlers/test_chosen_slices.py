"""Slices are chosen by number and case, or spread over the case with most infection."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.engines import SupervisedEvaluator

from common.handlers.chosen_slices import ChosenSlices


def samples(areas: dict[str, list[int]]) -> list[dict[str, Any]]:
    """Slices of 4 x 5 pixels of each case, with so many positive ones; their numbers start at 3."""
    made = []
    for case, slices in areas.items():
        for index, area in enumerate(slices):
            label = torch.zeros(20)
            label[:area] = 1
            image = torch.full((2, 4, 5), index / 8)
            made.append({"image": image, "label": label.reshape(1, 4, 5), "case": case, "slice": index + 3})
    return made


def chosen(folder: Path, data: list[dict[str, Any]], **options: Any) -> dict[str, np.ndarray]:
    """What is kept of an evaluation that predicts the image, in batches that reach across cases."""
    SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=torch.utils.data.DataLoader(data, batch_size=4),
        network=torch.nn.Identity(),
        val_handlers=[ChosenSlices(folder, **options)],
    ).run()
    with np.load(folder / "chosen_slices.npz", allow_pickle=False) as file:
        return dict(file)


AREAS = {"a": [9, 0, 0], "b": [0, 2, 9, 3, 0, 0, 0], "c": [1, 1, 5]}  # 9, 14 and 7 positive pixels


def test_slices_of_the_case_with_most_infection_are_spread_evenly(tmp_path: Path) -> None:
    kept = chosen(tmp_path, samples(AREAS), count=4)
    assert kept["titles"].tolist() == [f"b, slice {number}" for number in (3, 5, 7, 9)]
    assert kept["truths"].sum((1, 2)).tolist() == [0, 9, 0, 0]
    assert kept["images"][:, 0, 0].tolist() == [0, 0.25, 0.5, 0.75]
    assert kept["predictions"].sum((1, 2)).tolist() == [0, 0, 0, 20], "above 0.5"
    assert {key: (kept[key].dtype.name, kept[key].shape) for key in ("images", "truths", "predictions")} == {
        "images": ("float16", (4, 4, 5)), "truths": ("uint8", (4, 4, 5)), "predictions": ("uint8", (4, 4, 5))
    }  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["chosen_slices.npz"]


def test_slices_are_chosen_by_number_and_case(tmp_path: Path) -> None:
    kept = chosen(tmp_path, samples(AREAS), case="c", slices=[5, 3])
    assert kept["titles"].tolist() == ["c, slice 5", "c, slice 3"]
    assert kept["truths"].sum((1, 2)).tolist() == [5, 1]
    assert chosen(tmp_path, samples(AREAS), case="c")["titles"].tolist() == [f"c, slice {n}" for n in (3, 4, 5)]


def test_a_second_sheet_shows_another_case_and_adjacent_slices(tmp_path: Path) -> None:
    def names(**options: Any) -> list[str]:
        return chosen(tmp_path, samples(AREAS), **options)["titles"].tolist()

    assert names(rank=2) == [f"a, slice {number}" for number in (3, 4, 5)], "9 positive pixels, fewer than 14 of b"
    assert names(rank=5)[0] == "c, slice 3", "the last of three cases"
    assert names(count=3, adjacent=True) == [f"b, slice {number}" for number in (4, 5, 6)], "2, 9 and 3 pixels"
    assert names(rank=3, count=9, adjacent=True) == [f"c, slice {number}" for number in (3, 4, 5)]


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"case": "d"}, "No case 'd' was evaluated. Give one of a, b, c."),
        ({"slices": [4, 2]}, "b has no slice 2. Choose from its 7 slices, with numbers from 3 to 9."),
        ({"count": 0}, "At least one slice must be saved, of the first case or a later one, got count=0, rank=1."),
    ],
)
def test_missing_slices_are_refused_with_the_existing_ones(tmp_path: Path, options: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=re.escape(rule)):
        chosen(tmp_path, samples(AREAS), **options)


def test_cases_whose_slices_are_mixed_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a: its slices must follow one another, got c between them"):
        chosen(tmp_path, samples(AREAS) + samples({"a": [1]}))
