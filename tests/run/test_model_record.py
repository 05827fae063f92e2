"""The record of weights: written with them, refused with others, and what it says is set before anything is built."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser

from common.datasets.scored_set import scored_set
from common.run import model_record
from common.run.model_record import read_record, save_weights, weights_files
from common.run.recorded import apply_record
from common.run.training_record import check_held_out, check_resumed, describe_sets

STATE = {"weight": torch.ones(2)}
RECORD: dict[str, Any] = {
    "bundle": "small",
    "settings": {"size": [64, 64], "network": "unet", "threshold": 0.3},
    "classes": ["lesion"],
    "split": {"fold": 1},
}
CONFIG = {
    "size": [512, 512],
    "network": "drsegunet",
    "threshold": 0.5,
    "names": ["lesion"],
    "sizes": "$@size * 2",
    "recorded": {"fixed": ["size", "network"], "adjustable": ["threshold"], "split": ["fold"]},
}


def test_weights_and_record_belong_together(tmp_path: Path) -> None:
    weights = tmp_path / "model.pt"
    save_weights(STATE, weights, RECORD)
    assert {**RECORD, "sha256": read_record(weights)["sha256"]} == read_record(weights)
    torch.save({"weight": torch.zeros(2)}, weights)
    with pytest.raises(
        ValueError, match=r"model\.json is not the record of .*model\.pt: it was written for weights with"
    ):
        read_record(weights)
    (tmp_path / "model.json").write_text("{")
    with pytest.raises(ValueError, match=r"model\.json: the record of the weights is damaged"):
        read_record(weights)
    (tmp_path / "model.json").unlink()
    assert read_record(weights) == {} == read_record(tmp_path / "missing.pt")


@pytest.mark.parametrize("writes", [0, 1, 2])
def test_killed_between_two_files_the_pair_is_the_old_or_the_new(
    writes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, left, whole = tmp_path / "model.pt", [writes], model_record._write
    save_weights(STATE, weights, {"settings": {"size": 1}})

    def write(path: Path, content: Any) -> None:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        whole(path, content)

    monkeypatch.setattr(model_record, "_write", write)
    try:
        save_weights({"weight": torch.zeros(2)}, weights, {"settings": {"size": 2}})
    except KeyboardInterrupt:
        assert writes < 2
    size = 1 if torch.load(weights, weights_only=True)["weight"][0] else 2
    assert read_record(weights)["settings"] == {"size": size} and size == (1 if writes == 0 else 2)


def config(tmp_path: Path, **settings: Any) -> ConfigParser:
    """A config whose bundle states CONFIG, with settings given from Python."""
    (tmp_path / "configs").mkdir(exist_ok=True)
    (tmp_path / "configs" / "inference.json").write_text(json.dumps(CONFIG))
    values = {**json.loads(json.dumps(CONFIG)), "bundle_root": str(tmp_path), "weights": str(tmp_path / "model.pt")}
    return ConfigParser({**values, **settings})


def test_settings_of_the_record_replace_what_was_resolved_already(tmp_path: Path) -> None:
    save_weights(STATE, tmp_path / "model.pt", RECORD)
    parser = config(tmp_path)
    assert parser.get_parsed_content("sizes") == [512, 512, 512, 512]
    assert apply_record(parser)
    assert parser.get_parsed_content("sizes") == [64, 64, 64, 64]
    assert (parser["network"], parser["threshold"]) == ("unet", 0.3)


def test_a_contradiction_is_refused_with_both_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    save_weights(STATE, tmp_path / "model.pt", RECORD)
    message = (
        r"--size \[96, 96\]: .*model\.json says that the weights were trained with size \[64, 64\]\. Leave out --size"
    )
    with pytest.raises(ValueError, match=message):
        apply_record(config(tmp_path, size=[96, 96]))
    file = str(tmp_path / "configs" / "inference.json")
    monkeypatch.setattr("sys.argv", ["monai.bundle", "run", "--config_file", file, "--network", "drsegunet"])
    with pytest.raises(ValueError, match=r"--network drsegunet: .* trained with network unet"):
        apply_record(config(tmp_path))  # the default, but given
    own = tmp_path / "own.json"
    own.write_text(json.dumps({"network": "drsegunet"}))
    monkeypatch.setattr("sys.argv", ["monai.bundle", "run", "--config_file", f"['{file}','{own}']"])
    with pytest.raises(ValueError, match=r"--network drsegunet: .* trained with network unet"):
        apply_record(config(tmp_path))
    monkeypatch.setattr("sys.argv", ["pytest"])
    with pytest.raises(ValueError, match=r"--threshold 0.7: .* with threshold 0\.3.* to use yours .* --adjust True"):
        apply_record(config(tmp_path, threshold=0.7))
    parser = config(tmp_path, threshold=0.7, adjust=True)
    apply_record(parser)
    assert parser["threshold"] == 0.7 and "threshold 0.7, as given; the weights were trained with 0.3" in caplog.text
    with pytest.raises(ValueError, match=r"--size \[96, 96\]: .* or give other weights\.$"):
        apply_record(config(tmp_path, size=[96, 96], adjust=True))  # it never fits the network


def test_weights_of_another_bundle_are_refused_and_only_their_tensors_are_a_start(tmp_path: Path) -> None:
    other = {"bundle": "other", "settings": {"classes": "infection", "filters": 8}, "classes": ["infection"]}
    save_weights(STATE, tmp_path / "model.pt", other)
    own = {"classes": "medseg", "label_names": {"medseg": ["lesion"]}, "names": "$@label_names[@classes]"}
    own["recorded"] = {"fixed": ["classes"], "adjustable": [], "split": []}
    with pytest.raises(ValueError, match=r"weights of other for the classes infection; this config has lesion\."):
        apply_record(config(tmp_path, **own))
    parser = config(tmp_path, **own, pretrained=str(tmp_path / "model.pt"))
    del parser.config["weights"]
    assert not apply_record(parser) and parser["classes"] == "medseg"


def test_another_label_map_than_the_trainings_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_weights(STATE, tmp_path / "model.pt", {**RECORD, "training": {"label_map": {"1": "a", "5": "b"}}})
    apply_record(config(tmp_path, label_map={"1": "b", "5": "a"}))
    assert "label_map {'1': 'b', '5': 'a'}, as given; the weights were trained with" in caplog.text


@pytest.mark.parametrize("content", ["null", "[]", '{"sha256": "0"}', '{"name": "mine"}'])
def test_a_file_that_is_no_record_is_named(tmp_path: Path, content: str) -> None:
    torch.save(STATE, tmp_path / "model.pt")
    (tmp_path / "model.json").write_text(content)
    with pytest.raises(ValueError, match=r"model\.json is not the record of weights"):
        read_record(tmp_path / "model.pt")


def test_weights_of_an_overlay_are_not_used_without_it(tmp_path: Path) -> None:
    recorded = {**RECORD, "settings": {**RECORD["settings"], "mirror": True}}
    save_weights(STATE, tmp_path / "model.pt", recorded)
    parser = config(tmp_path, recorded={**CONFIG["recorded"], "adjustable": ["threshold", "mirror"]})
    (tmp_path / "configs" / "tuned.yaml").write_text("mirror: true\n")
    with pytest.raises(ValueError, match=r"trained with mirror True, which .* Add .*tuned\.yaml to --config_file"):
        apply_record(parser)


def test_retraining_takes_the_settings_and_may_choose_others(tmp_path: Path) -> None:
    save_weights(STATE, tmp_path / "model.pt", RECORD)
    parser = config(tmp_path, size=[96, 96], fold=0, pretrained=str(tmp_path / "model.pt"))
    del parser.config["weights"]
    apply_record(parser)
    assert (parser["size"], parser["network"], parser["fold"]) == ([96, 96], "unet", 0)


def test_weights_without_record_name_what_is_assumed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.save(STATE, tmp_path / "model.pt")
    assert not apply_record(config(tmp_path))
    (warning,) = [record.message for record in caplog.records]
    assert "model.pt has no model.json" in warning and "Assumed: size [512, 512], network drsegunet." in warning


def test_weights_of_other_classes_are_refused(tmp_path: Path) -> None:
    save_weights(STATE, tmp_path / "model.pt", {**RECORD, "classes": ["A-line"]})
    with pytest.raises(ValueError, match="holds weights of small for the classes A-line; this config has lesion"):
        apply_record(config(tmp_path))


def test_members_of_an_ensemble_agree(tmp_path: Path) -> None:
    files = [str(tmp_path / name) for name in ("a.pt", "b.pt")]
    save_weights(STATE, Path(files[0]), RECORD)
    save_weights(STATE, Path(files[1]), {**RECORD, "split": {"fold": 2}})
    parser = config(tmp_path, weights=files)
    assert apply_record(parser) and parser["size"] == [64, 64]
    save_weights(STATE, Path(files[1]), {**RECORD, "settings": {"size": [32, 32]}})
    with pytest.raises(ValueError, match=r"size is \[64, 64\] in .*a\.json and \[32, 32\] in .*b\.json"):
        apply_record(config(tmp_path, weights=files))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("", "--weights must be the path of a file such as models/model.pt, got ''"),
        ([], r"--weights must be the path of a file .* got \[\]"),
        (["a.pt", "b.pt"], "--weights must be one file here, got 2: a.pt, b.pt"),
        (".", r"--weights must be a file, got the folder \.\. Give model\.pt"),
    ],
)
def test_weights_are_a_file(weights: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        weights_files(weights)


def test_a_list_needs_no_inner_quotes() -> None:
    assert weights_files("[a.pt, b.pt]", several=True) == weights_files(["a.pt", "b.pt"], several=True)


def cases(folder: Path, **sizes: int) -> list[dict[str, Any]]:
    """A case per patient, whose image has so many bytes."""
    folder.mkdir(exist_ok=True)
    for name, size in sizes.items():
        (folder / f"{name}.nii.gz").write_bytes(b"0" * size)
    return [{"case": name, "patient": name, "image": str(folder / f"{name}.nii.gz")} for name in sizes]


def test_patients_that_were_trained_on_are_not_scored_unless_they_are_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    here = cases(tmp_path / "here", a=5, b=6, c=7)
    data = describe_sets({"training": here[:2], "validation": here[2:], "test": []})
    assert (data["unit"], data["cases"]) == ("patient", {"training": 2, "validation": 1, "test": 0})
    save_weights(STATE, tmp_path / "model.pt", {**RECORD, "data": data})
    check_held_out(here[2:], tmp_path / "model.pt")
    assert "c chose the best epoch of these weights, so the scores are slightly too high" in caplog.text
    sides = {"training": [], "validation": [], "test": here[2:]}
    scored_set(sides, weights=tmp_path / "model.pt")
    assert "Scored: the test set, 1 cases of 1 patients. c chose the best epoch" in caplog.text
    with pytest.raises(ValueError, match="as trained on: a"):  # and nothing is said of a set that is not scored
        scored_set({**sides, "test": here}, weights=tmp_path / "model.pt")
    rule = r"names 1 of the 2 to be scored as trained on: b\. Evaluate with the split of the training \(--fold 1\)"
    with pytest.raises(ValueError, match=rule):
        check_held_out(here[1:], tmp_path / "model.pt")
    check_held_out(cases(tmp_path / "there", a=50, b=60), tmp_path / "model.pt")  # other files under the same names


def test_slices_of_one_patient_on_both_sides_are_compared_by_slice(tmp_path: Path) -> None:
    (volume,) = cases(tmp_path, a=5)
    slices = [{**volume, "case": f"a/{index}", "slice": index} for index in range(3)]
    data = describe_sets({"training": slices[:2], "validation": slices[2:], "test": []})
    save_weights(STATE, tmp_path / "model.pt", {**RECORD, "data": data})
    check_held_out(slices[2:], tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"names 1 of the 2 to be scored as trained on: a/1\."):
        check_held_out(slices[1:], tmp_path / "model.pt")


def test_a_training_is_resumed_with_its_own_settings_and_data(tmp_path: Path) -> None:
    data = describe_sets({"training": cases(tmp_path, a=5), "validation": cases(tmp_path, b=6), "test": []})
    before = {"training": {"learning_rate": 0.1, "batch_size": 4, "processes": 1}, "data": data}
    check_resumed(before, before, tmp_path / "last.pt")
    two = {**before, "training": {"learning_rate": 0.1, "batch_size": 2, "processes": 2}}
    check_resumed(before, two, tmp_path / "last.pt")  # the same batch, on two processes
    other = {**before, "training": {"learning_rate": 0.2, "batch_size": 4, "processes": 1}}
    with pytest.raises(
        ValueError, match=r"but learning_rate was 0\.1, now 0\.2\. Give those of the training; or start"
    ):
        check_resumed(before, other, tmp_path / "last.pt")
    more = {**before, "data": describe_sets({"training": cases(tmp_path, a=5, c=1), "validation": [], "test": []})}
    with pytest.raises(ValueError, match="the training data are now with c; the validation data are now without b"):
        check_resumed(before, more, tmp_path / "last.pt")
