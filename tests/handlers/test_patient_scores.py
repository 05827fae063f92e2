"""Dice per volume and per patient, and the mean over lesions by which the best epoch is chosen."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from csv_rows import rows
from ignite.engine import Engine

from common.handlers.patient_scores import FILES, SUMS, PatientScores
from common.metrics import LesionDice

CLASSES = ("ground-glass", "consolidation", "lung", "background")


def one_hot(plane: list[list[int]]) -> torch.Tensor:
    """Classes (H, W) to (classes, H, W)."""
    return torch.nn.functional.one_hot(torch.tensor(plane), len(CLASSES)).movedim(-1, 0).float()


# Slices by volume: (predicted, true)
SLICES = {
    "a": [([[0, 0, 3]], [[0, 3, 3]]), ([[3, 3, 3]], [[0, 1, 3]])],  # ground-glass 1 of 2, one too many
    "b": [([[0, 3, 3]], [[0, 3, 3]])],  # all found
    "c": [([[2, 3, 3]], [[2, 3, 3]])],  # no lesion, and none found
}
PATIENTS = {"a": "first", "b": "first", "c": "second"}


def evaluate(folder: Path, patients: dict[str, str]) -> None:
    batches = [[{"case": case, "slice": index}] for case, slices in SLICES.items() for index in range(len(slices))]

    def score(_: Engine, batch: list[dict[str, object]]) -> list[dict[str, torch.Tensor]]:
        predicted, true = SLICES[str(batch[0]["case"])][int(str(batch[0]["slice"]))]
        return [{"pred": one_hot(predicted), "label": one_hot(true)}]

    engine = Engine(score)
    PatientScores(folder, CLASSES, patients, scored="test").attach(engine)
    for _ in range(2):  # what an earlier evaluation left is forgotten
        engine.run(batches)


def test_pixels_are_pooled_over_a_volume_and_over_a_patient(tmp_path: Path) -> None:
    evaluate(tmp_path, PATIENTS)
    volumes = rows(tmp_path / "scores_per_volume.csv")
    ground_glass = {"a": "0.5000", "b": "1.0000", "c": ""}  # 2 * 1 / (2 + 2)
    infection = {"a": "0.4000", "b": "1.0000", "c": ""}  # 2 * 1 / (2 + 3)
    for row in volumes:
        assert row["dice_ground-glass"] == ground_glass[row["case"]]
        assert row["dice_infection"] == infection[row["case"]]
        assert row["patient"] == PATIENTS[row["case"]] and int(row["slices"]) == len(SLICES[row["case"]])
    assert [row["dice_consolidation"] for row in volumes] == ["0.0000", "", ""]
    first, second = rows(tmp_path / "scores_per_patient.csv")
    assert (first["patient"], first["volumes"], first["slices"]) == ("first", "2", "3")
    assert float(first["dice_ground-glass"]) == pytest.approx(2 * 2 / (3 + 3), abs=1e-4)  # not the mean of 0.5 and 1
    assert second["dice_ground-glass"] == "", "no lesion in the ground truth"
    means = {row["class"]: row for row in rows(tmp_path / "patient_scores.csv")}
    assert list(means) == ["ground-glass", "consolidation", "infection"]
    assert float(means["ground-glass"]["dice"]) == pytest.approx(2 / 3, abs=1e-4)
    assert means["ground-glass"]["interval_over"] == "none: 1 patient, 5 needed"
    counts = ("patients", "absent", "false_alarms", "volumes", "set")
    assert {tuple(row[name] for name in counts) for row in means.values()} == {("1", "1", "0", "3", "test")}


def test_without_patients_no_table_is_left_that_could_be_taken_for_one(tmp_path: Path) -> None:
    evaluate(tmp_path, PATIENTS)
    assert all((tmp_path / name).exists() for name in (*FILES, SUMS))
    evaluate(tmp_path, {})
    assert not any((tmp_path / name).exists() for name in (*FILES, SUMS))


def lesion_dice(pairs: list[tuple[list[list[int]], list[list[int]]]]) -> float:
    engine = Engine(lambda _, pair: [one_hot(plane) for plane in pair])
    metric = LesionDice([0, 1], output_transform=lambda output: ([output[0]], [output[1]]))
    metric.attach(engine, "dice")
    return float(engine.run(pairs).metrics["dice"])


def test_the_best_epoch_is_chosen_by_lesions_alone(caplog: pytest.LogCaptureFixture) -> None:
    # Ground-glass: 2/3 in the first slice, 0 in the second, absent in the third; consolidation: 0 in the second
    slices = [([[0, 0, 3]], [[0, 3, 3]]), ([[3, 3, 3]], [[0, 1, 3]]), ([[2, 3, 3]], [[2, 3, 3]])]
    assert lesion_dice(slices) == pytest.approx(((2 / 3 + 0) / 2 + 0) / 2)
    # A better lung and background make it no better
    worse = [*slices[:2], ([[3, 2, 2]], [[2, 3, 3]])]
    assert lesion_dice(worse) == pytest.approx(lesion_dice(slices))
    assert not caplog.text
    assert lesion_dice(slices[2:]) == 1.0  # lung and background, where no slice holds a lesion
    assert "No slice of the validation holds a lesion" in caplog.text
