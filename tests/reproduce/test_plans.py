"""Plans beside a bundle's reproduce.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ROOT

from common.reproduce.command import main
from common.reproduce.experiments import Options, find_experiments

SETTINGS = {"ct_drsegunet": {"dataset_dir": "phantom", "encoder_weights": "imagenet", "unlabelled": "scans"}}


def test_the_ablation_runs_five_folds_of_each_lever_and_goes_on_from_the_same_fold(tmp_path: Path) -> None:
    options = Options(ROOT / "bundles", tmp_path, "ct_drsegunet", False, SETTINGS, file="reproduce_shipped.yaml")
    experiments = {each.name: each for each in find_experiments(options.plan(), options)}
    assert len(experiments) == 5 * len(options.plan().variants)
    second = experiments["ct_drsegunet/unlabelled/fold1"]
    weights = tmp_path / "ct_drsegunet" / "shipped" / "fold1" / "models" / "model.pt"
    assert second.overrides["pretrained"] == str(weights)
    names = list(experiments)
    assert names.index("ct_drsegunet/shipped/fold1") < names.index(second.name)
    assert second.settings["unlabelled"] == "scans"
    # A lever of the command line does not reach the rows that leave it out, nor recipes without it
    assert experiments["ct_drsegunet/short_random_weights/fold0"].settings["encoder_weights"] == "none"
    assert "encoder_weights" not in experiments["ct_drsegunet/tuned/fold0"].settings


def test_a_plan_that_a_bundle_lacks_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"Plans of us_dense_seg: reproduce\.yaml\."):
        main(["us_dense_seg", "--plan", "reproduce_shipped.yaml"])
