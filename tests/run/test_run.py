"""The command line is checked against the config, and errors are printed in one line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from common.run.monai_command import arguments_given, given_arguments
from common.run.overrides import check_overrides, run_id
from common.run.record import git_commit, record
from common.run.start import writable

TRAIN = "bundles/ct_drsegunet/configs/train.yaml"
EVALUATE = "bundles/ct_drsegunet/configs/evaluate.yaml"


def check(*overrides: str, files: str = TRAIN, **values: object) -> None:
    config = {**ConfigParser.load_config_file(TRAIN), **values}
    check_overrides(["training", "--config_file", files, *overrides], config)


def test_settings_of_the_config_are_accepted() -> None:
    check("--epochs", "3", "--train::trainer::max_epochs", "3", "--learning_rate=1e-3", epochs=3)
    check("--weights", "model.pt", files=f"['{TRAIN}','{EVALUATE}']")


@pytest.mark.parametrize(
    ("typed", "meant"), [("epoch", "epochs"), ("learningrate", "learning_rate"), ("data_dir", "dataset_dir")]
)
def test_mistyped_settings_are_refused_with_the_nearest(typed: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"There is no setting '{typed}'. Did you mean --{meant}"):
        check(f"--{typed}", "5", **{typed: 5})


def test_booleans_in_small_letters_are_refused() -> None:
    with pytest.raises(ValueError, match="--amp must be True or False, in this spelling, got 'false'"):
        check("--amp", "false", amp="false")


def test_text_in_place_of_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="--epochs must be a number such as 30, got 'many'"):
        check("--epochs", "many", epochs="many")


def test_a_number_for_a_list_is_refused() -> None:
    with pytest.raises(ValueError, match=r'--size must be a list such as "\[512, 512\]", got 128'):
        check("--size", "128", size=128)


def test_the_step_is_read_from_the_command_line() -> None:
    assert run_id(["run", "training", "--config_file", TRAIN]) == "training"
    assert run_id(["run", "--config_file", TRAIN]) == "run"
    assert run_id(["run", "--run_id", "evaluating", "--config_file", TRAIN]) == "evaluating"


def test_a_run_records_everything_needed_to_repeat_it(tmp_path: Path) -> None:
    record(tmp_path, "training", 7, {"epochs": 3})
    facts = json.loads((tmp_path / "run_training.json").read_text())
    assert facts["seed"] == 7 and {"command", "commit", "started", "versions"} <= facts.keys()
    assert facts["versions"]["monai"].startswith("1.6")
    assert json.loads((tmp_path / "config_training.json").read_text()) == {"epochs": 3}


def test_without_git_the_commit_is_the_one_that_the_image_was_built_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.run.record.__file__", str(tmp_path / "common/run/record.py"))
    assert git_commit() is None
    (tmp_path / "COMMIT").write_text("1f2e3d\n")
    assert git_commit() == "1f2e3d"
    (tmp_path / "COMMIT").write_text("")  # built without --build-arg COMMIT
    assert git_commit() is None


def test_a_folder_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PermissionError, match=r"file.* must be a writable folder"):
        writable(tmp_path / "file" / "output")


def test_a_step_that_is_run_from_python_leaves_the_command_line_as_it_was() -> None:
    before = list(sys.argv)
    with pytest.raises(KeyError), arguments_given(["run", "--outputs", "[seg]"]):
        assert given_arguments() == ["run", "--outputs", "[seg]"]
        raise KeyError
    assert sys.argv == before
