"""Settings travel with weights: a bundle trained with other settings evaluates and infers rightly without options."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow
from report_files import masks_of, probabilities_of
from small_packages import scans, training_data, write_data

from common.run.errors import origin
from common.run.recorded import plain

OTHERS: dict[str, dict[str, Any]] = {  # settings that differ from the config's own
    "ct_drsegunet": {
        **{"size": [32, 48], "network": "unet", "window": [-900, 200]},
        **{"normalise": "window", "crop": "lungs", "crop_margin": [2, 3, 1]},
    },
    "ct_transfer_unet": {
        "size": [32, 48],
        "filters": 2,
        "lungs": "network",
        "window": [-900, 200],
        "training_slices": 8,
    },
    "ct_weak_gan": {
        **{"size": [32, 48], "filters": 2, "method": "vagan", "training_slices": [8, 8]},
        **{"normalise": "training", "heat": "affine"},
    },
    "mosmed_encoders": {"size": [32, 64], "encoder": "mobilenetv2", "shares": [1, 1, 1]},
    "us_dense_seg": {"size": [32, 48], "filters": 2, "labels": "sparse"},
    "us_reverse_transfer": {"size": [32, 48], "filters": 2, "pretraining": "none", "frames_per_second": 1},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


def configs(bundle: str, *names: str) -> list[str]:
    return [f"bundles/{bundle}/configs/{name}.yaml" for name in names]


def run(step: str, files: list[str], **settings: Any) -> ConfigWorkflow:
    """What MONAI's command does, in this process."""
    workflow = ConfigWorkflow(config_file=files, run_id=step, **settings)
    workflow.initialize()
    workflow.run()
    return workflow


def refused(message: str, step: str, files: list[str], **settings: Any) -> None:
    """The step ends with this message."""
    with pytest.raises(Exception) as error:
        run(step, files, **settings)
    assert re.search(message, str(origin(error.value))), str(origin(error.value))


@pytest.mark.slow
@pytest.mark.parametrize("bundle", OTHERS)
def test_settings_of_a_training_reach_evaluation_and_inference(
    bundle: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = {**training_data(bundle, data), **OTHERS[bundle], "epochs": 1, "amp": False, "batch_size": 16}
    places = {"ckpt_dir": str(tmp_path), "output_dir": str(tmp_path / "training")}
    run("training", configs(bundle, "train"), **trained, **places)
    record = json.loads((tmp_path / "model.json").read_text())
    assert (record["bundle"], record["version"]) == (bundle, "0.1.0")
    fixed = {name: value for name, value in OTHERS[bundle].items() if name in record["settings"]}
    assert {name: record["settings"][name] for name in fixed} == fixed and "size" in fixed and len(fixed) >= 2
    seen = {"training", "validation"} | ({"test"} if "shares" in record["split"] else set())
    assert all(record["data"][name] and record["data"]["cases"][name] for name in seen)
    assert record["scores"]["epoch"] == 1 and len(record["scores"]) > 1 and len(record["classes"]) >= 1

    capsys.readouterr()
    bare = {name: trained[name] for name in ("dataset_dir", "source", "amp") if name in trained}
    scored = run("evaluating", configs(bundle, "train", "evaluate"), **bare, **places)
    assert scored.parser["size"] == OTHERS[bundle]["size"]
    assert f"size {OTHERS[bundle]['size']}" in capsys.readouterr().out
    assert (tmp_path / "training" / "scores.csv").is_file()

    refused(
        r"learning_rate was .*, now 0\.5",
        "training",
        configs(bundle, "train"),
        **trained,
        **places,
        resume=True,
        learning_rate=0.5,
    )
    if "fold" in record["split"]:
        message = r"names \d+ of the \d+ to be scored as trained on: .* with the split of the training \(.*--fold 0"
        refused(
            message, "evaluating", configs(bundle, "train", "evaluate"), **bare, **places, fold=2
        )  # part 1 may be the validation

    outputs = []
    for name, given in (("bare", {}), ("given", fixed)):
        folder = tmp_path / name
        settings = {"weights": str(tmp_path / "model.pt"), "dataset_dir": str(scans(bundle, data)), **given}
        done = run("run", configs(bundle, "inference"), **settings, amp=False, isolated=False, output_dir=str(folder))
        outputs.append(masks_of(folder))
        for key in [key for key in record["settings"] if key in done.parser]:
            assert plain(done.parser.get_parsed_content(key)) == record["settings"][key]
        network = done.parser.get_parsed_content("model")
        torch.testing.assert_close(network.state_dict(), torch.load(tmp_path / "model.pt", weights_only=True))
    assert outputs[0].keys() == outputs[1].keys() and outputs[0]
    assert all(np.array_equal(outputs[0][name], outputs[1][name]) for name in outputs[0])
    settings |= {"weights": [str(tmp_path / "model.pt")] * 2, "amp": False, "isolated": False}
    if bundle in ("ct_weak_gan", "us_reverse_transfer"):
        message = "--weights must be one file here, got 2"
        refused(message, "run", configs(bundle, "inference"), **settings, output_dir=str(tmp_path / "two"))
        return
    run("run", configs(bundle, "inference"), **settings, output_dir=str(tmp_path / "two"))
    twice = masks_of(tmp_path / "two")
    assert all(np.mean(outputs[0][name] != twice[name]) < 0.001 for name in twice) and twice.keys() == outputs[0].keys()
    scored = run("evaluating", configs(bundle, "train", "evaluate"), **bare, **places, weights=settings["weights"])
    assert len(scored.parser.get_parsed_content("model").members) == 2

    settings |= {"weights": str(tmp_path / "model.pt"), "probabilities": True}
    run("run", configs(bundle, "inference"), **settings, output_dir=str(tmp_path / "maps"))
    with_maps, maps = masks_of(tmp_path / "maps"), probabilities_of(tmp_path / "maps", record["classes"])
    assert all(np.array_equal(with_maps[name], outputs[0][name]) for name in outputs[0])
    assert maps.keys() == with_maps.keys()
    for name, values in maps.items():
        mask, likeliest = with_maps[name], values.max(0)
        assert values.shape[1:] == mask.shape and 0 <= values.min() and values.max() <= 1
        if len(values) > 1:  # softmax
            np.testing.assert_allclose(values.sum(0), 1, atol=0.5 / 255 * len(values) + 2e-3)  # in steps of 1/255
            assert ((mask == 0) | (likeliest > 0.25)).all()
        else:
            assert np.array_equal(mask == 1, likeliest > 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("bundle", OTHERS)
def test_all_cases_are_trained_on_and_another_training_starts_from_it(
    bundle: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = {"shares": [1, 0, 0]} if bundle in ("mosmed_encoders", "ct_weak_gan") else {"folds": 0}
    source = {**training_data(bundle, data), "epochs": 1, "amp": False, "batch_size": 16}
    places = {"ckpt_dir": str(tmp_path / "first"), "output_dir": str(tmp_path / "out")}
    run("training", configs(bundle, "train"), **{**source, **OTHERS[bundle], **whole}, **places)
    record = json.loads((tmp_path / "first" / "model.json").read_text())
    assert record["scores"] == {"epoch": 1, "validation": "none"}
    assert record["data"]["cases"]["validation"] == record["data"]["cases"]["test"] == 0
    assert record["data"]["training"]
    refused("There is nothing to score", "evaluating", configs(bundle, "train", "evaluate"), **source, **places)

    weights = tmp_path / "first" / "model.pt"
    chosen = {"pretrained": str(weights), "learning_rate": 1e-12, **whole}
    more = {name: OTHERS[bundle][name] for name in ("training_slices", "frames_per_second") if name in OTHERS[bundle]}
    run(
        "training",
        configs(bundle, "train"),
        **{**source, **more, **chosen},
        ckpt_dir=str(tmp_path),
        output_dir=str(tmp_path),
    )
    first, second = (torch.load(path, weights_only=True) for path in (weights, tmp_path / "model.pt"))
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    for name in [name for name in first if not name.endswith(statistics)]:
        torch.testing.assert_close(first[name], second[name], msg=name)
    assert json.loads((tmp_path / "model.json").read_text())["start"] == str(weights)
