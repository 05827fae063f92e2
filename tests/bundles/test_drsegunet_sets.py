"""ct_drsegunet is scored on patients that neither training nor the choice of the best epoch has seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from csv_rows import rows
from monai.bundle import ConfigWorkflow

from common.phantoms.ct.layouts import write_radiopaedia

CONFIGS = "bundles/ct_drsegunet/configs"
TRAIN, EVALUATE = (f"{CONFIGS}/{name}.yaml" for name in ("train", "evaluate"))


def run(step: str, files: list[str], data: Path, folder: Path, **settings: Any) -> ConfigWorkflow:
    places = {"dataset_dir": str(data), "ckpt_dir": str(folder), "output_dir": str(folder)}
    workflow = ConfigWorkflow(
        config_file=files, run_id=step, size=[32, 32], folds=3, network="unet", **places, **settings
    )
    workflow.initialize()
    workflow.run()
    return workflow


def test_three_sets_share_no_patient_and_the_lesions_choose_the_epoch(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = write_radiopaedia(tmp_path / "data", patients=6, size=(64, 64), slices=4)
    trained = run("training", [TRAIN], data, tmp_path, epochs=2, learning_rate=1e-2)
    cases = trained.parser.get_parsed_content("cases")
    patients = {name: {case["patient"] for case in members} for name, members in cases.items()}
    assert [len(patients[name]) for name in ("training", "validation", "test")] == [2, 2, 2]
    assert len(set.union(*patients.values())) == 6
    seen = {
        name: {plane["case"] for plane in trained.parser.get_parsed_content(f"{side}::dataset").planes}
        for name, side in (("training", "train"), ("validation", "validate"))
    }
    assert all(seen[name] == {case["case"] for case in cases[name]} for name in seen)
    state: Any = trained.parser.get_parsed_content("validate::evaluator").state
    epochs = rows(tmp_path / "metrics.csv")
    columns = ("dice_ground-glass", "dice_consolidation")
    lesions = [np.mean([float(row[name]) for name in columns if row[name]]) for row in epochs]
    assert [float(row["val_lesion_dice"]) for row in epochs] == pytest.approx(lesions, abs=1e-4)
    assert state.best_metric_epoch == lesions.index(max(lesions)) + 1 and state.key_metric_name == "val_lesion_dice"

    capfd.readouterr()
    run("evaluating", [TRAIN, EVALUATE], data, tmp_path, epochs=2)
    assert "Scored: the test set, 2 cases of 2 patients." in capfd.readouterr().out
    for name in ("scores.csv", "lesion_scores.csv", "patient_scores.csv"):
        assert {row["set"] for row in rows(tmp_path / name)} == {"test"}
    assert {row["patient"] for row in rows(tmp_path / "scores_per_patient.csv")} == patients["test"]
    assert {row["case"] for row in rows(tmp_path / "scores_per_slice.csv")} == {case["case"] for case in cases["test"]}
