"""MLflow's store holds what metrics.csv holds, for every bundle, without a word more on the screen."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from monai.bundle import ConfigWorkflow
from monai.utils import path_to_sqlite_uri
from test_federated import BUNDLES, TRAIN, settings_of

from common.run.overrides import check_overrides

mlflow = pytest.importorskip("mlflow")

pytestmark = pytest.mark.slow


def run_of(store: Path, experiment: str) -> tuple[Any, Callable[[str], list[float]]]:
    """The only run of an experiment, and the values of a metric by its name, in order."""
    client = mlflow.MlflowClient(path_to_sqlite_uri(store))
    (run,) = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return run, lambda name: [each.value for each in client.get_metric_history(run.info.run_id, name)]


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store of all bundles: to make its tables takes longer than a small training."""
    return tmp_path_factory.mktemp("store") / "runs.db"


@pytest.mark.parametrize("bundle", BUNDLES)
def test_every_bundle_tracks_the_loss_and_the_scores_of_its_table(bundle: str, store: Path, tmp_path: Path) -> None:
    write, phantoms, _ = BUNDLES[bundle]
    workflow = ConfigWorkflow(
        config_file=str(ROOT / "bundles" / bundle / TRAIN),
        logging_file=False,
        tracking="mlflow",
        tracking_uri=path_to_sqlite_uri(store),
        experiment_name=bundle,
        run_name="small",
        **settings_of(bundle, write(tmp_path / "data", **phantoms), tmp_path, epochs=2),
    )
    workflow.initialize()
    workflow.run()
    run, values = run_of(store, bundle)
    assert (run.info.run_name, run.info.status) == ("small", "FINISHED")
    iterations = workflow.trainer.state.epoch_length
    assert run.data.params == {"max_epochs": "2", "epoch_length": str(iterations)}
    rows = table(tmp_path / "eval")
    losses = np.reshape(values("train_loss"), (2, iterations)).mean(1)
    np.testing.assert_allclose(losses, [float(row["loss"]) for row in rows], rtol=1e-4)
    metric = workflow.evaluator.state.key_metric_name
    np.testing.assert_allclose(values(metric), [float(row[metric]) for row in rows], atol=1e-4)


def test_the_runner_names_the_run_and_leaves_the_store_in_output_dir(
    runner: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    write, phantoms, _ = BUNDLES["us_reverse_transfer"]
    settings = settings_of("us_reverse_transfer", write(tmp_path / "data", **phantoms), tmp_path, epochs=1)
    words = [word for name, value in settings.items() for word in (f"--{name}", value)]
    names = ["--tracking", "mlflow", "--experiment_name", "lungs", "--run_name", "first"]
    trained = runner("training", "--config_file", f"bundles/us_reverse_transfer/{TRAIN}", *words, *names)
    assert trained.returncode == 0, trained.stderr[-2000:]
    assert "mlflow.store" not in trained.stdout + trained.stderr
    run, values = run_of(tmp_path / "eval" / "mlruns.db", "lungs")
    assert run.info.run_name == "first" and len(values("train_loss")) > 0


def test_the_runs_name_is_a_setting_only_where_runs_are_tracked() -> None:
    command = ["run", "training", "--config_file", f"bundles/us_dense_seg/{TRAIN}", "--run_name", "first"]
    check_overrides([*command, "--tracking", "mlflow"], {})
    with pytest.raises(ValueError, match="There is no setting 'run_name'"):
        check_overrides(command, {})


def test_settings_of_ones_own_track_every_loss_and_the_bundles_settings(store: Path, tmp_path: Path) -> None:
    tracking = {
        "handlers_id": {"trainer": {"id": "train::trainer", "handlers": "train::handlers"}},
        "configs": {
            "save_execute_config": False,
            "trainer": {
                "_target_": "MLFlowHandler",
                "tracking_uri": path_to_sqlite_uri(store),
                "experiment_name": "own",
                "experiment_param": {"filters": "@filters", "method": "@method"},
                "output_transform": "$lambda output: output[0]",
                "close_on_complete": True,
            },
        },
    }
    (tmp_path / "my.json").write_text(json.dumps(tracking))
    write, phantoms, _ = BUNDLES["ct_weak_gan"]
    workflow = ConfigWorkflow(
        config_file=str(ROOT / "bundles" / "ct_weak_gan" / TRAIN),
        logging_file=False,
        tracking=str(tmp_path / "my.json"),
        **settings_of("ct_weak_gan", write(tmp_path / "data", **phantoms), tmp_path, epochs=1),
    )
    workflow.initialize()
    workflow.run()
    run, values = run_of(store, "own")
    assert run.data.params.items() >= {"filters": "4", "method": "separation"}.items()
    (row,) = table(tmp_path / "eval")
    for term in ("loss", "reconstruction", "fidelity", "adversarial", "critic"):
        assert np.mean(values(term)) == pytest.approx(float(row[term]), abs=1e-5), term
