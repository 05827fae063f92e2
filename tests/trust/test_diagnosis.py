"""Probabilities by patient, and answers that are not given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from csv_rows import rows

from common.networks.reverse_transfer import ReverseTransfer
from common.report.decision import RECORD, Decision
from common.run.model_record import add_to_record, read_record, save_weights
from common.trust.command import main
from common.trust.diagnosis import Clips, best_temperature, calibration_error, least_probability, read_clips

DIAGNOSES = ["normal", "pneumonia", "COVID-19"]


def drawn(count: int, temperature: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and diagnoses that are as frequent as the logits say once they are divided by a temperature."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (count, 3))
    chances = np.exp(logits / temperature)
    chances /= chances.sum(1, keepdims=True)
    truth = np.array([random.choice(3, p=each) for each in chances])
    return logits, truth


def write_folds(folder: Path, patients: int = 60, temperature: float = 2.0) -> None:
    """Evaluations of three folds, two clips a patient."""
    logits, truth = drawn(2 * patients, temperature)
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    for fold in range(3):
        path = folder / f"fold{fold}" / "eval" / "clips.csv"
        path.parent.mkdir(parents=True)
        lines = ["case,patient,frames,truth,prediction," + ",".join(f"probability_{name}" for name in DIAGNOSES)]
        for clip in range(2 * patients):
            if clip // 2 % 3 == fold:
                numbers = ",".join(f"{value:.6f}" for value in chances[clip])
                lines.append(f"clip{clip},p{clip // 2},3,{DIAGNOSES[truth[clip]]},normal,{numbers}")
        path.write_text("\n".join(lines) + "\n")


def write_weights(folder: Path) -> Path:
    torch.manual_seed(0)
    network = ReverseTransfer(torch.nn.Identity(), classes=3, diagnoses=3)
    save_weights(network.state_dict(), folder / "model.pt", {"settings": {"diagnoses": DIAGNOSES}})
    return folder / "model.pt"


def test_the_temperature_that_the_diagnoses_were_drawn_with_is_found() -> None:
    for temperature in (0.7, 2.5):
        logits, truth = drawn(4000, temperature)
        clips = Clips([str(number) for number in range(4000)], logits, truth, np.ones(4000))
        assert best_temperature(clips) == pytest.approx(temperature, rel=0.1)


def test_a_patient_with_many_clips_counts_as_one() -> None:
    """Twenty clips of one patient, all wrong, against one right clip of each of ten patients."""
    logits = np.tile([2.0, 0.0, 0.0], (30, 1))
    owners, truth = ["many"] * 20 + [f"p{number}" for number in range(10)], np.array([1] * 20 + [0] * 10)
    weights = np.array([1 / owners.count(owner) for owner in owners])
    by_patient = best_temperature(Clips(owners, logits, truth, weights))
    assert by_patient < 2 < best_temperature(Clips(owners, logits, truth, np.ones(30)))


@pytest.mark.parametrize(
    ("accuracy", "expected"),
    [(1.0, 0.9), (0.75, 0.6), (0.6, 0.5)],
    ids=["only the first", "three of four", "four of six"],
)
def test_the_least_probability_by_hand(accuracy: float, expected: float) -> None:
    """Right, wrong and right, right, wrong and right: the clips of 0.8 and those of 0.5 are answered together."""
    confidence = np.array([0.9, 0.8, 0.8, 0.6, 0.5, 0.5])
    right = np.array([True, False, True, True, False, True])
    assert least_probability(confidence, right, np.ones(6), accuracy) == expected


def test_an_accuracy_that_no_answer_reaches_leaves_all_clips_without_one() -> None:
    assert least_probability(np.array([0.9, 0.8]), np.array([False, True]), np.ones(2), 0.9) == 1


def test_the_calibration_error_by_hand() -> None:
    confidence, right = np.array([0.95, 0.95, 0.65, 0.65]), np.array([True, True, True, False])
    assert calibration_error(confidence, right, np.ones(4)) == pytest.approx((0.05 + 0.15) / 2)


def test_what_was_learned_decides_in_inference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_folds(tmp_path / "cv")
    weights = write_weights(tmp_path)
    command = ["diagnosis", str(tmp_path / "cv"), "--bundle", "us_reverse_transfer", "--weights", str(weights)]
    assert main([*command, "--accuracy", "0.8", "--output_dir", str(tmp_path / "out")]) == 0
    learned = read_record(weights)[RECORD]
    assert learned["temperature"] == pytest.approx(2, rel=0.4) and 0.5 < learned["least"] < 1
    assert (learned["data"]["clips"], learned["data"]["patients"]) == (120, 60)
    table = {row["measure"]: row for row in rows(tmp_path / "out" / "diagnosis.csv")}
    error = table["expected calibration error"]
    assert float(error["calibrated"]) < float(error["before"])
    assert float(table["accuracy of these"]["calibrated"]) > float(table["accuracy of all answers"]["before"])
    curve = rows(tmp_path / "out" / "diagnosis_coverage.csv")
    assert [float(row["answered"]) for row in curve] == sorted((float(row["answered"]) for row in curve), reverse=True)

    network = ReverseTransfer(torch.nn.Identity(), classes=3, diagnoses=3)
    decision = Decision(network, DIAGNOSES, ["a", "b", "c"], weights)
    torch.nn.init.zeros_(network.classifier.weight)
    network.classifier.bias.data = torch.tensor([0.0, 2.0, 0.0])
    row = decision.row({f"share_{name}": 1 / 3 for name in "abc"})
    chance = float(np.exp(2 / decision.temperature) / (np.exp(2 / decision.temperature) + 2))
    assert row["probability_pneumonia"] == pytest.approx(chance) and row["diagnosis"] == "pneumonia"
    assert row["answer"] == ("pneumonia" if chance >= learned["least"] else "uncertain")
    network.classifier.bias.data = torch.tensor([0.0, 0.1, 0.0])
    assert decision.row({f"share_{name}": 1 / 3 for name in "abc"})["answer"] == "uncertain"


def test_weights_that_do_not_know_always_answer(tmp_path: Path) -> None:
    network = ReverseTransfer(torch.nn.Identity(), classes=3, diagnoses=3)
    decision = Decision(network, DIAGNOSES, ["a", "b", "c"], write_weights(tmp_path))
    row = decision.row({f"share_{name}": 1 / 3 for name in "abc"})
    assert row["answer"] == row["diagnosis"]


def test_a_damaged_record_is_refused(tmp_path: Path) -> None:
    weights = write_weights(tmp_path)
    add_to_record(weights, RECORD, {"temperature": "warm"})
    with pytest.raises(ValueError, match=r"on the diagnosis is damaged .* python -m common.trust diagnosis"):
        Decision(ReverseTransfer(torch.nn.Identity(), classes=3, diagnoses=3), DIAGNOSES, ["a", "b", "c"], weights)


def test_a_patient_in_two_folds_is_refused(tmp_path: Path) -> None:
    write_folds(tmp_path)
    path = tmp_path / "fold1" / "eval" / "clips.csv"
    path.write_text(path.read_text().replace("p1,", "p0,"))
    with pytest.raises(ValueError, match=r"Patient p0 is in .*fold0.* and in .*fold1"):
        read_clips(tmp_path, DIAGNOSES)


def test_one_fold_is_not_enough(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"two folds or more with eval/clips\.csv are needed, found 0"):
        read_clips(tmp_path, DIAGNOSES)
