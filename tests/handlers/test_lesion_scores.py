"""Dice of lesions over all slices, absent ones included."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from csv_rows import rows
from ignite.engine import Engine

from common.handlers.lesion_scores import LESIONS, LesionScores, lesion_groups

CLASSES = ("ground-glass", "consolidation", "lung", "background")


def one_hot(plane: list[list[int]]) -> torch.Tensor:
    """Classes (H, W) to (classes, H, W)."""
    return torch.nn.functional.one_hot(torch.tensor(plane), len(CLASSES)).movedim(-1, 0).float()


TRUTH = one_hot([[0, 0, 0], [1, 3, 3]])
PREDICTED = one_hot([[0, 0, 1], [1, 3, 0]])  # ground-glass 2 of 3 and one too many; infection 4 of 4 and one too many
NOTHING = one_hot([[2, 2, 2], [3, 3, 3]])


def test_dice_agrees_with_hand_worked_values_and_absence_in_both_scores_one(tmp_path: Path) -> None:
    pairs = ((PREDICTED, TRUTH), (NOTHING, NOTHING), (PREDICTED, NOTHING))
    engine = Engine(lambda *_: [{"pred": pred, "label": label} for pred, label in pairs])
    scores = LesionScores(tmp_path, CLASSES)
    scores.attach(engine)
    engine.run([[{"case": "a", "slice": index} for index in range(3)]])
    expected = [[2 * 2 / (3 + 3), 2 * 1 / (2 + 1), 2 * 4 / (5 + 4)], [1, 1, 1], [0, 0, 0]]
    torch.testing.assert_close(torch.cat(scores.values)[..., 0], torch.tensor(expected))


def test_a_network_that_does_not_tell_lesions_apart_has_infection_once() -> None:
    assert lesion_groups(["infection", "background"], LESIONS) == {"infection": [0]}
    assert lesion_groups(CLASSES, LESIONS) == {"ground-glass": [0], "consolidation": [1], "infection": [0, 1]}


def test_the_table_averages_over_all_slices_of_one_evaluation(tmp_path: Path) -> None:
    batches = [[{"case": "a", "slice": index}] for index in range(2)]
    outputs = [[{"pred": PREDICTED, "label": TRUTH}], [{"pred": NOTHING, "label": NOTHING}]]
    engine = Engine(lambda _, batch: outputs[batch[0]["slice"]])
    LesionScores(tmp_path, CLASSES, scored="test").attach(engine)
    for _ in range(2):  # what an earlier evaluation left is forgotten
        engine.run(batches)
    found = rows(tmp_path / "lesion_scores.csv")
    means = ("ground-glass", 5 / 6), ("consolidation", 5 / 6), ("infection", 17 / 18)
    for row, (name, mean) in zip(found, means, strict=True):
        assert (row["class"], row["dice"], row["slices"], row["set"]) == (name, f"{mean:.6f}", "2", "test")
        # The slice without lesion counts as 1, because none is predicted in it
        assert (row["absent"], row["false_alarms"], row["absent_scores"]) == ("1", "0", "1 or 0")


def test_classes_without_lesions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="One of infection, ground-glass, consolidation must be a class, got lung, background"
    ):
        LesionScores(tmp_path, ["lung", "background"])
