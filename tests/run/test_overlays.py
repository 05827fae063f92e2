"""Overlays are checked as the command line is; numbers have ranges; steps and bundles are checked by name."""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from monai.bundle import ConfigParser
from monai.transforms import Compose, RandFlipd

from common.run.errors import full_disk, mistake_in_config
from common.run.overrides import check_overlays, check_overrides, check_settings, steps_of
from common.run.ranges import RANGES, check_ranges
from common.run.start import check_place

BUNDLES = sorted(path for path in Path("bundles").iterdir() if path.is_dir())
TRAIN = "bundles/ct_drsegunet/configs/train.yaml"
OWN_BASE = ("train", "inference", "selflearn")


def files_of(overlay: Path) -> list[str]:
    """The files that an overlay is given with."""
    base = "inference" if "inference" in overlay.stem or overlay.stem in ("audit", "monai_deploy") else "train"
    middle = {"multi_gpu_evaluate": ["evaluate"], "unlabelled": ["shipped"]}.get(overlay.stem, [])
    return [str(overlay.with_stem(stem)) for stem in (base, *middle, overlay.stem)]


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
def test_the_bundles_own_overlays_pass(bundle: Path) -> None:
    for path in sorted((bundle / "configs").glob("*.yaml")):
        if path.stem.startswith("reproduce"):
            continue
        files = [str(path)] if path.stem in OWN_BASE else files_of(path)
        check_overlays(files)
        check_ranges(ConfigParser.load_config_files(files))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("lerning_rate: 0.1", "there is no setting 'lerning_rate'. Did you mean learning_rate?"),
        ("optimzer: {_target_: torch.optim.SGD}", "there is no setting 'optimzer'. Did you mean optimizer?"),
        ("train::datset: {_target_: Dataset}", "train: there is no setting 'datset'. Did you mean train::dataset?"),
        ("amp: 'true'", "amp must be True or False, in this spelling, got 'true'."),
        ("size: 512", 'size must be a list such as "\\[512, 512\\]", got 512.'),
        ("learning_rate: 1e-3", "learning_rate is the text '1e-3', which YAML reads as no number. Write 1.0e-3."),
        ("train::trainer::decay: [25E4]", "train::trainer::decay::0 is the text '25E4'.* Write 25.0e[+]4."),
    ],
)
def test_mistakes_in_an_overlay_are_named_with_the_file(text: str, rule: str, tmp_path: Path) -> None:
    overlay = tmp_path / "own.yaml"
    overlay.write_text(text)
    with pytest.raises(ValueError, match=f"^{overlay}: {rule}"):
        check_overlays([TRAIN, str(overlay)])


def test_an_overlay_may_add_what_something_uses(tmp_path: Path) -> None:
    content: dict[str, Any] = {
        "momentum": 0.9,
        "optimizer": {"_target_": "torch.optim.SGD", "params": "$@model.parameters()", "momentum": "@momentum"},
        "train::trainer::event_names": [],
        "profiling": ["$print(@names)"],
        "batch_size": 3,
        "device": "$torch.device('cpu')",
        "split": "1e3",
    }
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(content))
    files = [TRAIN, str(tmp_path / "own.yaml")]
    check_overlays(files)
    assert list(steps_of(ConfigParser.load_config_files(files))) == ["run", "training", "profiling"]


def test_an_overlay_without_the_files_below_it_names_them() -> None:
    files = [TRAIN, str(Path(TRAIN).with_name("unlabelled.yaml"))]
    with pytest.raises(
        ValueError, match=r"'decay'.* an overlay of train\.yaml and shipped\.yaml: give these before it"
    ):
        check_overlays(files)


@pytest.mark.parametrize(
    ("setting", "rule"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number of 1 or more, got 0."),
        ({"epochs": -3}, "epochs must be a whole number of 1 or more, got -3."),
        ({"epochs": 2.5}, "epochs must be a whole number of 1 or more, got 2.5."),
        ({"learning_rate": 0}, "learning_rate must be a number above 0, got 0."),
        ({"threshold": 1.5}, "threshold must be a number from 0 to 1, got 1.5."),
        ({"size": [512]}, r"size must be a list of 2 whole numbers of 1 or more, got \[512\]."),
        ({"size": [512, 0]}, r"size must be a list of 2 whole numbers of 1 or more, got \[512, 0\]."),
        ({"window": [100, -1000]}, "window must be a list of 2 numbers, the smaller one first, got"),
        ({"seed": -1}, "seed must be a whole number from 0 to 4.*e.09, got -1."),
        (
            {"classes": "lesion", "label_names": {"medseg": [], "lesions": []}},
            "--classes is one of medseg, lesions, got",
        ),
        ({"fold": 5, "folds": 5}, "fold must be 0 to 4, as there are 5 folds, got 5."),
        ({"fold": -1, "folds": 5}, "fold must be a whole number of 0 or more, got -1."),
        ({"learning_rate": float("nan")}, "learning_rate must be a number above 0, got nan."),
        ({"levels": [{"epochs": 2}, {"epochs": 0}]}, "levels, number 2: epochs must be a whole number of 1 or more"),
    ],
)
def test_numbers_out_of_range_are_refused(setting: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=f"^{rule}"):
        check_ranges(setting)


def test_numbers_at_the_limits_and_expressions_are_accepted() -> None:
    check_ranges({"batch_size": 1, "fold": 4, "folds": 5, "threshold": 1, "size": [1, 1], "margin": 0})
    check_ranges({"batch_size": "$4 // 2", "size": ["@side", "@side"], "slices_at_once": None, "fold": 0})


def test_every_range_belongs_to_a_setting_of_a_bundle() -> None:
    files = [path for bundle in BUNDLES for path in (bundle / "configs").glob("*.yaml")]
    assert RANGES.keys() <= {name for path in files for name in yaml.safe_load(path.read_text())}


def test_an_unknown_step_is_refused_with_the_nearest() -> None:
    config = ConfigParser.load_config_file(TRAIN)
    with pytest.raises(ValueError, match=r"train.yaml: there is no step 'trainng'. Did you mean training\?"):
        check_overrides(["run", "trainng", "--config_file", TRAIN], config)
    with pytest.raises(ValueError, match=r"there is no step 'evaluating'"):
        check_overrides(["run", "evaluating", "--config_file", TRAIN], config)


def test_an_overlay_of_another_bundle_is_refused_and_ones_own_is_not(tmp_path: Path) -> None:
    other = "bundles/ct_weak_gan/configs/evaluate.yaml"
    with pytest.raises(ValueError, match=f"{other} belongs to the bundle ct_weak_gan, {TRAIN} to ct_drsegunet"):
        check_overrides(["run", "training", "--config_file", f"['{TRAIN}','{other}']"], {})
    (tmp_path / "own.yaml").write_text("epochs: 2")
    check_overrides(["run", "training", "--config_file", f"['{TRAIN}','{tmp_path / 'own.yaml'}']"], {})


def test_nested_settings_of_the_command_line_are_checked() -> None:
    with pytest.raises(ValueError, match=r"train: there is no setting 'trianer'. Did you mean --train::trainer"):
        check_overrides(["run", "training", "--config_file", TRAIN, "--train::trianer", "1"], {})
    check_settings({"train::trainer::max_epochs": 3}, [TRAIN])


def test_a_bundle_that_is_not_found_from_here_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Path(TRAIN).resolve()
    check_place({"bundle_root": "bundles/ct_drsegunet"}, str(here))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"Add --bundle_root {here.parents[1]}, or run from"):
        check_place({"bundle_root": "bundles/ct_drsegunet"}, str(here))


@pytest.mark.parametrize(
    ("component", "message"),
    [
        ({"_target_": "RandFlipdd"}, "component that does not exist: 'RandFlipdd'. Correct its _target_."),
        ({"_target_": "RandFlipd", "keys": "image", "probb": 1}, "RandFlipd.* unexpected keyword argument 'probb'"),
        ({"_target_": "RandFlipd", "prob": 1}, "RandFlipd.* missing 1 required positional argument: 'keys'"),
        ({"_target_": "RandFlipd", "keys": "@nothing"}, "setting that it does not have: @nothing"),
        ({"_target_": "common.run.errors.nothing"}, "component that does not exist: 'common.run.errors.nothing'"),
        ({"_target_": "RandFlipd", "keys": "image", "prob": [3]}, ""),  # wrong inside the component: Python's own text
    ],
)
def test_a_component_that_cannot_be_built_is_named_in_one_line(component: dict[str, Any], message: str) -> None:
    parser = ConfigParser({"augmentation": {"_target_": "Compose", "transforms": [component]}})
    with pytest.raises((RuntimeError, ModuleNotFoundError, ValueError)) as caught:
        parser.get_parsed_content("augmentation")
    found = mistake_in_config(caught.value)
    assert re.search(message, found) and bool(found) == bool(message)


def test_a_key_that_the_data_lack_and_a_full_disk_are_named() -> None:
    with pytest.raises(RuntimeError) as caught:
        Compose([RandFlipd(keys=["image", "labl"], prob=1.0)])({"image": torch.zeros(1, 2, 2)})
    assert re.search("a key that the data do not have: .*labl", mistake_in_config(caught.value))
    with pytest.raises(ValueError, match="per channel") as single:
        torch.nn.BatchNorm2d(4)(torch.zeros(1, 4, 1, 1))
    assert "Give a larger --size or --batch_size" in mistake_in_config(single.value)
    try:
        raise RuntimeError("saving failed") from OSError(errno.ENOSPC, "No space left on device", "out/mask.nii.gz")
    except RuntimeError as error:
        assert full_disk(error).startswith("out/mask.nii.gz: no space is left on the disk. Free some.")


def test_a_value_in_place_of_a_component_is_refused() -> None:
    files = "bundles/ct_drsegunet/configs/inference.yaml"
    with pytest.raises(ValueError, match=r"--datalist is a component here, got 'cases\.csv'\. Give a table"):
        check_settings({"datalist": "cases.csv"}, [files])
