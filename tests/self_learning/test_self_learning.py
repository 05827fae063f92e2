"""Self-learning: order of the stages, resuming, no ground truth in training, bad volumes and options."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from conftest import ROOT
from csv_rows import rows_by_name
from monai.bundle import ConfigParser, ConfigWorkflow

from common.datasets.ct import lesions
from common.datasets.ct.folder import inference_cases as scans
from common.handlers.checkpoint import Checkpoint
from common.networks.by_name import segmentation_network
from common.networks.drsegunet import DRSegUNet
from common.phantoms.ct.layouts import write_mosmed
from common.run.model_record import read_record
from common.self_learning.freezing import first_layers, freeze_first
from common.self_learning.levels import chosen_cases, draw_sets
from common.self_learning.results import add_scores, slice_values
from common.self_learning.stages import SelfLearning
from common.statistics import ScoreSums

CONFIG = "bundles/ct_drsegunet/configs/selflearn.yaml"
RATES = ({"learning_rate": 1e-3, "epochs": 2, "frozen": 0}, {"learning_rate": 1e-4, "epochs": 2, "frozen": 2})


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six small studies; the last has no mask."""
    return write_mosmed(tmp_path_factory.mktemp("mosmed") / "data", patients=6, size=(64, 64), slices=10, seed=3)


def learner(source: Path, folder: Path, **others: Any) -> SelfLearning:
    settings: dict[str, Any] = {
        "data": {"dataset_dir": str(source / "studies"), "lesion_masks": str(source / "masks")},
        "pseudo_labels": {"line_length": 2, "disk_radius": 1, "seed": 0},
        "training": {"size": [32, 32], "batch_size": 4, "seed": 0, "amp": False, "device": "cpu"},
        "levels": RATES,
    }
    places = {"bundle_root": ROOT / "bundles/ct_drsegunet", "output_dir": folder, "ckpt_dir": folder / "models"}
    return SelfLearning(**places, **{**settings, **others})


def steps(self: SelfLearning, calls: list[str], stop_before: int | None = None) -> SelfLearning:
    """Count the configs that are run, and stop as a kill would before one of them."""
    step = self.step

    def counted(name: str, files: Any, overrides: Mapping[str, Any]) -> None:
        if len(calls) == stop_before:
            raise KeyboardInterrupt
        calls.append(f"{name} {Path(str(overrides['output_dir'])).name}")
        step(name, files, overrides)

    self.step = counted  # type: ignore[method-assign]
    return self


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)


@pytest.fixture(scope="module")
def finished(studies: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A complete run of two levels, and its steps."""
    folder, calls = tmp_path_factory.mktemp("whole") / "run", list[str]()
    steps(learner(studies, folder), calls).run()
    return folder, calls


def test_stages_run_in_order_and_write_labels_scores_and_weights(finished: tuple[Path, list[str]]) -> None:
    folder, calls = finished
    assert calls == [
        *("training level_1", "evaluating level_1", "inference masks"),
        *("training level_2", "evaluating level_2", "inference masks"),
    ]
    for labels in (folder / "pseudo_labels", folder / "level_1" / "labels", folder / "level_2" / "labels"):
        cases = lesions(labels)
        assert len(cases) == 6 and all(case["lung"].is_file() for case in cases)
        for case in cases:
            image, label, lung = (np.asarray(nibabel.load(case[key]).dataobj) for key in ("image", "label", "lung"))
            assert image.shape == label.shape == lung.shape == (64, 64, 2)
            assert set(np.unique(label)) | set(np.unique(lung)) <= {0, 1} and not (label & ~lung).any()
    scores = rows_by_name(folder / "scores.csv")
    stages = ("pseudo-labels", "level 1", "level 2")
    assert list(scores) == [f"{stage}, {name}" for stage in stages for name in ("trained on", "held out")]
    assert {row["slices"] for name, row in scores.items() if name.endswith("held out")} <= {"0", "2"}
    assert list(rows_by_name(folder / "agreement.csv")) == ["level 1", "level 2"]
    assert (folder / "self_learning.png").stat().st_size > 10_000
    last, kept = weights(folder / "level_2" / "models" / "model.pt"), weights(folder / "models" / "model.pt")
    assert read_record(folder / "models" / "model.pt")["settings"]["classes"] == "radiopaedia"
    assert all(torch.equal(last[key], kept[key]) for key in last)


def test_training_never_sees_held_out_volumes_or_ground_truth_and_further_volumes_join_at_level_2(
    finished: tuple[Path, list[str]],
) -> None:
    folder, _ = finished
    sets = json.loads((folder / "self_learning.json").read_text())["sets"]
    assert {name: len(cases) for name, cases in sets.items()} == {"held out": 1, "starting": 3, "further": 2}
    for number, used in ((1, sets["starting"]), (2, sorted(sets["starting"] + sets["further"]))):
        config = json.loads((folder / f"level_{number}" / "config_training.json").read_text())
        assert config["training_cases"] == used and config["validation_cases"] == sets["held out"]
        before = folder / ("level_1/labels" if number == 2 else "pseudo_labels")
        assert config["dataset_dir"] == str(before)
        assert not set(used) & set(sets["held out"])
        assert "truth" not in config["dataset_dir"] and "truth" not in json.dumps(config["source_cases"])


def test_the_first_two_layers_do_not_change_and_all_others_learn(finished: tuple[Path, list[str]]) -> None:
    folder, _ = finished
    before, after = (weights(folder / f"level_{number}" / "models" / "last.pt")["network"] for number in (1, 2))
    start = weights(folder / "level_1" / "models" / "model.pt")  # which level 2 began with
    frozen = {name for name in after if name.startswith("stem.body.")}
    assert frozen and before.keys() == after.keys()
    assert {name for name in after if torch.equal(start[name], after[name])} == frozen


def test_layers_are_convolutions_with_the_batch_norms_before_them() -> None:
    network = DRSegUNet(out_channels=3)
    assert first_layers(network, 0) == []
    assert first_layers(network, 1) == ["stem.body.0"]
    assert first_layers(network, 2) == ["stem.body.0", "stem.body.1.0", "stem.body.1.2"]
    assert first_layers(network, 3)[-1] == "stem.shortcut.0"
    assert len(first_layers(segmentation_network("unet", 1, 3), 2)) == 2
    with pytest.raises(ValueError, match=r"DRSegUNet has \d+ layers and at least one must learn; got 99"):
        first_layers(network, 99)


def test_a_frozen_batch_norm_normalises_by_what_it_has_learned() -> None:
    network = torch.nn.Sequential(torch.nn.BatchNorm2d(1), torch.nn.Conv2d(1, 1, 1), torch.nn.BatchNorm2d(1))
    network[0].running_mean.fill_(5.0)  # type: ignore[operator, union-attr]
    freeze_first(network.append(torch.nn.Conv2d(1, 1, 1)), 1).train()
    x = torch.full((2, 1, 4, 4), 7.0)
    x[0] = 3.0
    torch.testing.assert_close(network[0](x), (x - 5) / (1 + 1e-5) ** 0.5)
    network(x)
    assert network[0].running_mean == 5 and network[2].running_mean != 0
    assert [parameter.requires_grad for parameter in network.parameters()] == [False] * 4 + [True] * 4


def test_a_run_stopped_between_stages_resumes_to_the_same_weights(
    studies: Path, finished: tuple[Path, list[str]], tmp_path: Path
) -> None:
    calls: list[str] = []
    for stop in (1, 3, 5):
        with pytest.raises(KeyboardInterrupt):
            steps(learner(studies, tmp_path / "run", resume=stop > 1), calls, stop_before=stop).run()
    steps(learner(studies, tmp_path / "run", resume=True), calls).run()
    assert calls == finished[1], "nothing is done twice"
    whole, cut = (weights(folder / "models" / "model.pt") for folder in (finished[0], tmp_path / "run"))
    assert all(torch.equal(whole[key], cut[key]) for key in whole)
    assert (tmp_path / "run" / "scores.csv").read_text() == (finished[0] / "scores.csv").read_text()


def test_a_run_stopped_inside_stages_resumes_to_the_same_weights(
    studies: Path, finished: tuple[Path, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    save = Checkpoint.save

    def saves_then_stops(self: Checkpoint, engine: Any) -> None:
        save(self, engine)
        saved.append(engine.state.epoch)
        if len(saved) in (1, 3):  # after the first epoch of either level
            raise KeyboardInterrupt

    def draws_then_stops(item: Any, path: Path, metadata: Any) -> None:
        drawn.append(item["case"])
        if len(drawn) == 3:
            raise KeyboardInterrupt

    drawn: list[str] = []
    monkeypatch.setattr("common.self_learning.pseudo_labels.draw", draws_then_stops)
    monkeypatch.setattr(Checkpoint, "save", saves_then_stops)
    for resume in (False, True, True):
        with pytest.raises(KeyboardInterrupt):
            learner(studies, tmp_path / "run", resume=resume).run()
    learner(studies, tmp_path / "run", resume=True).run()
    assert len(drawn) == 7 and len(set(drawn)) == 6, "labelled once, but for the one that was not finished"
    assert saved == [1, 2, 1, 2], "no epoch is trained twice"
    whole, cut = (weights(folder / "models" / "model.pt") for folder in (finished[0], tmp_path / "run"))
    assert all(torch.equal(whole[key], cut[key]) for key in whole)


def test_a_third_level_can_be_added_to_a_finished_run_and_other_settings_cannot(
    studies: Path, finished: tuple[Path, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, calls = tmp_path / "run", list[str]()
    shutil.copytree(finished[0], folder, symlinks=True)
    three = [*RATES, {**RATES[1], "epochs": 1}]
    steps(learner(studies, folder, levels=three, resume=True), calls).run()
    assert calls == ["training level_3", "evaluating level_3", "inference masks"]
    assert "level 3, held out" in rows_by_name(folder / "scores.csv")
    config = json.loads((folder / "level_3" / "config_training.json").read_text())
    assert config["pretrained"] == str(folder / "level_2" / "models" / "model.pt")
    with pytest.raises(ValueError, match=r"other settings: disk_radius was 1, now 2\. Give the same ones"):
        others = {"line_length": 2, "disk_radius": 2, "seed": 0}
        learner(studies, folder, levels=three, pseudo_labels=others, resume=True).run()
    with pytest.raises(ValueError, match="other settings: levels was"):
        learner(studies, folder, levels=RATES, resume=True).run()
    warnings: list[str] = []
    monkeypatch.setattr(
        "common.self_learning.record.logger.warning", lambda text, *parts: warnings.append(text % parts)
    )
    with pytest.raises(KeyboardInterrupt):
        steps(learner(studies, folder), [], stop_before=0).run()
    assert warnings == [f"Starting again: labels and levels in {folder} are removed. Use --resume True to continue."]
    assert not list(folder.glob("level_*")), "nothing of the earlier run is left to be mistaken for this one's"


def test_a_bad_volume_is_named_at_the_end_and_the_others_finish_without_ground_truth_as_well(
    studies: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, path in enumerate(sorted((studies / "studies").rglob("*.nii.gz"))[:4]):
        (tmp_path / "scans").mkdir(exist_ok=True)
        (tmp_path / "scans" / f"scan{number}.nii.gz").write_bytes(path.read_bytes() if number else b"no volume")
    levels = [{**RATES[0], "epochs": 1}]
    run = learner(tmp_path, tmp_path / "run", data={"dataset_dir": str(tmp_path / "scans")}, levels=levels)
    with pytest.raises(
        ValueError,
        match=r"All levels are done, but some cases could not be labelled or scored:\n  scan0: .*cannot be read",
    ):
        run.run()
    assert "No truth was given" in capsys.readouterr().out
    assert not (tmp_path / "run" / "scores.csv").exists() and (tmp_path / "run" / "self_learning.png").is_file()
    assert [path.name for path in (tmp_path / "run/level_1/labels/rp_msk").iterdir()].count("scan0.nii.gz") == 0
    assert len(list((tmp_path / "run/level_1/labels/rp_msk").iterdir())) == 3


def test_scores_are_those_worked_by_hand() -> None:
    truth = np.zeros((4, 4, 2), bool)
    truth[:2, :, 0] = True  # 8 pixels in the first slice, none in the second
    found = np.zeros_like(truth)
    found[1:3, :, 0] = found[0, :2, 1] = True  # 4 of them, 4 others; 2 where there is nothing
    values = slice_values([(found, truth)])

    def scores(chosen: list[bool]) -> tuple[dict[str, int], dict[str, float]]:
        sums = ScoreSums(["a", "a"], "volumes")
        counts = add_scores(sums, "row", values, np.array(chosen))
        return counts, {name: each.value for (_, name), each in sums.estimates().items()}

    counts, both = scores([True, True])
    assert counts == {"slices": 2, "absent": 1, "false_alarms": 1}
    expected = {"dice": 8 / 16, "iou": 4 / 12, "f1": 8 / 18, "precision": 4 / 10, "recall": 4 / 8}
    assert both == pytest.approx(expected)
    assert np.isnan(scores([False, True])[1]["dice"])


def test_sets_are_disjoint_complete_and_the_same_for_any_order() -> None:
    names = [f"case{number}" for number in range(25)]
    sets = draw_sets(names, 0.2, 0.67, seed=1)
    assert {name: len(cases) for name, cases in sets.items()} == {"held out": 5, "starting": 13, "further": 7}
    assert sorted(name for cases in sets.values() for name in cases) == sorted(names)
    assert sets == draw_sets(names[::-1], 0.2, 0.67, seed=1) != draw_sets(names, 0.2, 0.67, seed=2)
    assert draw_sets(names, 0.2, 1.0, seed=1)["further"] == []
    assert [len(cases) for cases in draw_sets(names[:3], 0.9, 0.1, seed=0).values()] == [1, 1, 1]
    with pytest.raises(ValueError, match=r"needs 3 volumes or more, one held out, .* got 2\. Add volumes"):
        draw_sets(names[:2], 0.2, 0.67, seed=0)


@pytest.mark.parametrize("page", ["configs/reproduce.yaml", "docs/README.md"])
def test_the_documented_command_has_the_counts_of_table_15(page: str, tmp_path: Path) -> None:
    (include,) = set(re.findall(r'--include "(CT-1/[^"]*)"', (ROOT / "bundles/ct_drsegunet" / page).read_text()))
    for folder, numbers in (("CT-0", range(200, 255)), ("CT-1", range(255, 939)), ("CT-2", range(939, 950))):
        (tmp_path / folder).mkdir()
        for number in numbers:  # MosMedData's; 255 to 304 are annotated
            (tmp_path / folder / f"study_{number:04d}.nii.gz").touch()
    names = [case["case"] for case in scans(tmp_path, include)]
    assert {f"CT-1/study_{number:04d}" for number in range(255, 305)} < set(names) and len(names) == 94
    defaults = ConfigParser.load_config_file(ROOT / CONFIG)
    sets = draw_sets(names, defaults["held_out"], defaults["starting"], defaults["seed"])
    slices = {name: 2 * len(cases) for name, cases in sets.items()}  # p-3 and p-2 of each volume
    assert slices == {"held out": 38, "starting": 100, "further": 50}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"levels": []}, r"--levels must be a list of one or more mappings of .* got \[\]"),
        ({"levels": [{"epochs": 2}]}, "Level 1 needs learning_rate, epochs, frozen; learning_rate, frozen is missing"),
        ({"levels": [{**RATES[0], "frozen": 99}]}, "at least one must learn; got 99. Freeze fewer"),
        (
            {"levels": [RATES[0], {**RATES[0], "epochs": 0}]},
            "Level 2: the learning rate must be above 0, epochs must be 1 or",
        ),
        ({"held_out": 0.0}, "--held_out must be a share of the volumes between 0 and 1, got 0.0"),
        ({"starting": 1.5}, "--starting must be a share of the volumes above 0, .* got 1.5"),
    ],
)
def test_bad_options_are_refused_before_any_work(
    studies: Path, tmp_path: Path, words: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        learner(studies, tmp_path / "run", **words)


def test_cases_are_chosen_by_name() -> None:
    cases = [{"case": name} for name in "abc"]
    assert chosen_cases(cases, ["a", "c"], ["b"]) == {"training": [cases[0], cases[2]], "validation": [cases[1]]}
    with pytest.raises(ValueError, match="--training_cases must be one or more of a, b, c; there is no case d"):
        chosen_cases(cases, ["d"], ["b"])
    with pytest.raises(ValueError, match=r"--validation_cases must be .*; got none"):
        chosen_cases(cases, ["a"], [])
    with pytest.raises(ValueError, match="A case cannot be both trained on and held out, got a in both"):
        chosen_cases(cases, ["a"], ["a"])


def test_masks_in_one_folder_are_found_for_studies_in_several(studies: Path, tmp_path: Path) -> None:
    cases = scans(studies / "studies", partners={"label": str(studies / "masks")})
    assert all("/" in case["case"] for case in cases)
    found = {case["case"]: case["label"].name for case in cases if "label" in case}
    assert found == {name: f"{Path(name).name}_mask.nii.gz" for name in found} and len(found) == 5
    for folder in ("a", "b"):  # the same name twice: a mask without folder could belong to either
        (tmp_path / "scans" / folder).mkdir(parents=True)
        (tmp_path / "scans" / folder / "1.nii.gz").touch()
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "1.nii.gz").touch()
    with pytest.raises(FileNotFoundError, match="No ground truth for any of 2 cases"):
        scans(tmp_path / "scans", partners={"label": str(tmp_path / "masks")})


def test_synthetic_studies_come_with_their_ground_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "common.datasets.ct.folder.UNSEEN_STUDIES", {"patients": 3, "size": (64, 64), "slices": 4, "seed": 2140}
    )
    monkeypatch.setenv("COVID_LUNG_CACHE", str(tmp_path))
    cases = scans("phantom_studies", partners={"label": ""})
    assert sorted("label" in case for case in cases) == [False, True, True], "the last has no mask"
    assert not any("label" in case for case in scans("phantom_studies"))


def test_the_config_reaches_every_setting_of_the_learner(tmp_path: Path) -> None:
    words = {"output_dir": str(tmp_path), "size": [64, 64], "line_length": 3, "starting": 0.5, "initialize": []}
    workflow = ConfigWorkflow(config_file=CONFIG, run_id="self_learning", **words)
    workflow.initialize()
    found = workflow.parser.get_parsed_content("self_learner")
    assert found.training["size"] == [64, 64] and found.pseudo_labels["line_length"] == 3 and found.starting == 0.5
    assert [level["learning_rate"] for level in found.levels] == [9.8e-4, 9.8e-6]
    assert [level["frozen"] for level in found.levels] == [0, 2]


@pytest.mark.slow
def test_the_command_of_the_docs_runs_resumes_and_answers_mistakes_in_one_line(
    runner: Callable[..., subprocess.CompletedProcess[str]], studies: Path, tmp_path: Path
) -> None:
    words = ["--dataset_dir", studies / "studies", "--lesion_masks", studies / "masks", "--size", "[32,32]"]
    words += ["--output_dir", tmp_path / "out", "--ckpt_dir", tmp_path / "models"]
    words += ["--line_length", 2, "--disk_radius", 1]
    levels = ["--levels", "[{'learning_rate': 1e-3, 'epochs': 1, 'frozen': 0}]"]
    first = runner("self_learning", "--config_file", CONFIG, *words, *levels)
    assert first.returncode == 0, first.stderr[-2000:]
    assert "level 1, held out" in first.stdout and "scores.csv" in first.stdout
    assert (tmp_path / "models" / "model.pt").is_file() and (tmp_path / "out" / "run_self_learning.json").is_file()
    more = [
        "--levels",
        "[{'learning_rate': 1e-3, 'epochs': 1, 'frozen': 0}, {'learning_rate': 1e-4, 'epochs': 1, 'frozen': 2}]",
    ]
    second = runner("self_learning", "--config_file", CONFIG, *words, *more, "--resume", True)
    assert second.returncode == 0, second.stderr[-2000:]
    assert "level 1, training: done before" in second.stdout and "level 2, held out" in second.stdout
    third = runner("self_learning", "--config_file", CONFIG, *words, *more, "--resume", True, "--held_out", 0.5)
    assert third.returncode == 1 and "Traceback" not in third.stderr
    assert "other settings: held_out was 0.2, now 0.5" in third.stderr
    fourth = runner("self_learning", "--config_file", CONFIG, "--level", 3, "--output_dir", tmp_path / "x")
    assert fourth.returncode == 1 and "Did you mean --levels?" in fourth.stderr
