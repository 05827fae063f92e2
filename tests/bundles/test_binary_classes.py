"""ct_drsegunet learns infection as one class, from masks that do not tell lesions apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from csv_rows import rows
from monai.bundle import ConfigWorkflow

from common.datasets.ct import lesions
from common.phantoms.ct.layouts import write_mosmed

CONFIGS = "bundles/ct_drsegunet/configs"
TRAIN, EVALUATE, INFER = (f"{CONFIGS}/{name}.yaml" for name in ("train", "evaluate", "inference"))


def run(step: str, files: list[str], folder: Path, **settings: Any) -> ConfigWorkflow:
    places = (
        {"output_dir": str(folder)} if step == "inference" else {"ckpt_dir": str(folder), "output_dir": str(folder)}
    )
    workflow = ConfigWorkflow(config_file=files, run_id=step, **places, **settings)
    workflow.initialize()
    workflow.run()
    return workflow


def test_mosmeddata_trains_evaluates_and_segments_one_class(tmp_path: Path) -> None:
    data = write_mosmed(tmp_path / "data", patients=6, size=(64, 64), slices=4, seed=3)
    small: dict[str, Any] = {"dataset_dir": str(data), "size": [32, 32], "network": "unet", "folds": 3, "batch_size": 4}
    with pytest.raises(FileNotFoundError, match="has none of the known layouts"):
        lesions(data)  # its masks do not say which kind of lesion
    trained = run("training", [TRAIN], tmp_path, classes="infection", epochs=1, **small)
    dataset = trained.parser.get_parsed_content("train::dataset")
    truth = {case["case"]: np.asarray(nibabel.load(case["label"]).dataobj) > 0 for case in lesions(data, ["infection"])}
    for plane in dataset:
        present = bool((plane["label"] == 0).any())
        assert set(plane["label"].unique().tolist()) <= {0, 1} and present <= bool(truth[plane["case"]].any())
    record = json.loads((tmp_path / "model.json").read_text())
    assert record["classes"] == ["infection", "background"] and record["settings"]["classes"] == "infection"

    run("evaluating", [TRAIN, EVALUATE], tmp_path, **small)
    assert [row["class"] for row in rows(tmp_path / "scores.csv")] == ["infection", "background", "mean"]
    for name in ("lesion_scores", "patient_scores"):
        assert [row["class"] for row in rows(tmp_path / f"{name}.csv")] == ["infection"], "once"

    study = next((data / "studies").rglob("*.nii.gz"))
    inferring = {"dataset_dir": str(study), "weights": str(tmp_path / "model.pt"), "threshold": 0.0, "isolated": False}
    run("inference", [INFER], tmp_path / "out", **inferring)
    mask = np.asarray(nibabel.load(next((tmp_path / "out").glob("*_mask.nii.gz"))).dataobj)
    assert set(np.unique(mask).tolist()) <= {0, 4}
    (row,) = rows(tmp_path / "out" / "lesions.csv")
    assert row["lung_from"] == "threshold" and row["infection_ml"] == row["lesion_ml"]
    assert "infection" in (tmp_path / "out" / "labels.ctbl").read_text()
