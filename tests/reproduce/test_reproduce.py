"""Papers' tables by one command: hand-worked means, nothing run twice, nothing lost to a crash, mistakes named."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import ROOT
from csv_rows import rows

from common.reproduce.command import main
from common.reproduce.experiments import Options, find_experiments
from common.reproduce.plan import read_plan

pytestmark = pytest.mark.usefixtures("prepared_processes")
TRAIN = {
    "bundle_root": ".",
    "dataset_dir": "phantom",
    "ckpt_dir": "models",
    "output_dir": "eval",
    "fold": 0,
    "resume": False,
    "seed": 0,
    "labels": "dense",
    "epochs": 50,
    "pretrained": "",
    "run": [
        {
            "_target_": "fake_steps.train",
            **{key: f"@{key}" for key in ("ckpt_dir", "labels", "fold", "epochs", "pretrained", "resume")},
        }
    ],
    "training": "@run",
    "initialize": [{"_target_": "common.run.start.start_run", "output_dir": "@output_dir", "seed": "@seed"}],
}
EVALUATE = {
    "evaluating": [{"_target_": "fake_steps.score", **{k: f"@{k}" for k in ("output_dir", "labels", "fold", "epochs")}}]
}
STEPS = """
import os, time
from pathlib import Path
import torch

def train(ckpt_dir, labels, fold, epochs, pretrained, resume):
    assert resume is True
    Path(ckpt_dir).mkdir(parents=True, exist_ok=True)
    with open(os.path.join(ckpt_dir, "trained.txt"), "a") as file:
        device = os.environ.get("CUDA_VISIBLE_DEVICES", "any")
        file.write(f"{epochs} {pretrained} {torch.get_num_threads()} {device}\\n")
    if pretrained:
        torch.load(pretrained, weights_only=True)
    torch.save({"weight": torch.zeros(1)}, os.path.join(ckpt_dir, "model.pt"))

def score(output_dir, labels, fold, epochs):
    if labels == "broken":
        raise RuntimeError("no such labels")
    while labels == "slow" and not os.path.exists(os.path.join(output_dir, "go")):
        time.sleep(0.02)
    iou = {0: 0.5, 1: 0.6, 2: 0.8}[fold] + (0.1 if labels == "dense" else 0)
    line = "" if fold == 1 else iou / 2
    Path(output_dir, "scores.csv").write_text(f"class,iou,slices\\nline,{line},3\\nmean,{iou},9\\n")
"""
PLAN: dict[str, Any] = {
    "steps": {"training": ["train.yaml"], "evaluating": ["train.yaml", "evaluate.yaml"]},
    "quick": {"epochs": 1},
    "variants": {"sparse": {"labels": "sparse"}, "dense": {"labels": "dense"}},
    "folds": [0, 1, 2],
    "tables": [
        {
            "name": "table_1",
            "title": "Table 1, IoU",
            "columns": {
                "mean IoU": {"row": "mean", "column": "iou"},
                "line": {"row": "line", "column": "iou"},
            },
            "paper": {"sparse": {"mean IoU": [0.654, 0.055]}, "dense": {"mean IoU": 0.711, "line": [0.52, 0.01]}},
        }
    ],
}


# ``python -m common.reproduce`` with bundles of another folder
COMMAND = (
    "import sys, pathlib; from common.reproduce.command import main; "
    "sys.exit(main(sys.argv[2:], pathlib.Path(sys.argv[1])))"
)


def write_bundle(bundles: Path, name: str = "fake", **changes: Any) -> None:
    """A bundle whose training takes no time; ``changes`` are of its reproduce.yaml."""
    configs = bundles / name / "configs"
    configs.mkdir(parents=True, exist_ok=True)
    contents = {"train": TRAIN, "evaluate": EVALUATE, "reproduce": {**PLAN, **changes}}
    for file, content in contents.items():
        (configs / f"{file}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    (configs / "metadata.json").write_text("{}")
    (bundles / name / "fake_steps.py").write_text(STEPS)


@pytest.fixture
def bundles(tmp_path: Path) -> Path:
    """A folder with one fake bundle."""
    write_bundle(tmp_path / "bundles")
    return tmp_path / "bundles"


def reproduce(bundles: Path, *arguments: object, bundle: str = "fake") -> int:
    return main([bundle, "--output_dir", str(bundles.parent / "out"), *map(str, arguments)], bundles)


def trainings(folder: Path) -> dict[str, int]:
    """How often each experiment below a folder was trained."""
    return {
        str(path.parents[1].relative_to(folder)): len(path.read_text().splitlines())
        for path in sorted(folder.glob("*/*/models/trained.txt"))
    }


def test_a_table_holds_hand_worked_means_beside_the_papers_numbers(
    bundles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reproduce(bundles, "--jobs", 2, "--only", "sparse") == 0
    assert reproduce(bundles, "--jobs", 2, "--only", "dense/fold[01]") == 0
    folder = bundles.parent / "out" / "fake"
    sparse, dense = rows(folder / "table_1.csv")
    # 0.5, 0.6, 0.8: mean 1.9 / 3; deviations -0.1333, -0.0333, 0.1667, squares sum to 0.046667, halved, root
    assert (sparse["mean IoU mean"], sparse["mean IoU std"]) == ("0.633333", "0.152753")
    assert (sparse["mean IoU paper mean"], sparse["mean IoU paper std"]) == ("0.654", "0.055")
    assert (sparse["folds"], sparse["missing folds"]) == ("3 of 3", "")
    # fold 1 has no score for the line: 0.25 and 0.4
    assert (sparse["line mean"], sparse["line std"], sparse["line folds"]) == ("0.325", "0.106066", "2")
    assert sparse["line paper mean"] == sparse["line paper std"] == ""
    assert (dense["folds"], dense["missing folds"], dense["mean IoU mean"]) == ("2 of 3", "fold2", "0.65")
    assert (dense["line mean"], dense["line std"], dense["line folds"]) == ("0.3", "", "1")
    assert (dense["mean IoU paper mean"], dense["mean IoU paper std"]) == ("0.711", "")
    each = {(row["variant"], row["fold"]): row["mean IoU"] for row in rows(folder / "table_1_folds.csv")}
    assert each["sparse", "fold2"] == "0.8" and each["dense", "fold0"] == "0.6" and len(each) == 5
    text = (folder / "table_1.md").read_text()
    assert "# Table 1, IoU" in text and "Data: synthetic phantoms." in text and "Commit" in text
    assert "INCOMPLETE: dense has 2 of 3 folds, without fold2." in text
    assert "0.633 ± 0.153" in text and "0.654 ± 0.055" in text and "0.325 ± 0.106 (2 folds)" in text
    assert "Settings other" not in text, "all settings are train.yaml's"
    assert (folder / "table_1.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "[1/3] fake/sparse/fold0 starts" in printed and "[3/3] fake/sparse/fold" in printed
    assert "0.633 ± 0.153" in printed

    # Half of the cores each; the command in the log and in the run's record can be repeated by hand.
    cores = max(1, (os.cpu_count() or 1) // 2)
    assert (folder / "sparse/fold0/models/trained.txt").read_text().startswith(f"50  {cores} ")
    command = json.loads((folder / "sparse/fold1/eval/run_evaluating.json").read_text())["command"]
    assert "--fold 1" in command and "run evaluating" in command and "evaluate.yaml" in command
    assert "$ python -m monai.bundle run training --config_file" in (folder / "sparse/fold0/log.txt").read_text()


def test_finished_experiments_are_not_run_again_and_changed_settings_are_refused(
    bundles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reproduce(bundles, "--only", "*/fold0", "--epochs", 3) == 0
    folder = bundles.parent / "out" / "fake"
    assert reproduce(bundles, "--only", "*/fold[01]", "--epochs=3") == 0
    assert "2 of them done before" in capsys.readouterr().out
    assert trainings(folder) == {f"{v}/fold{k}": 1 for v in ("dense", "sparse") for k in (0, 1)}
    with pytest.raises(
        ValueError, match=r"fold0 holds an experiment with other settings: epochs was 3, now not set\. .*re"
    ):
        reproduce(bundles)
    assert reproduce(bundles, "--tables_only") == 0
    assert "epochs 3 (config: 50)" in (folder / "table_1.md").read_text()
    assert sum(trainings(folder).values()) == 4


def test_quick_runs_lie_in_a_folder_of_their_own_and_take_the_first_run_by_default(bundles: Path) -> None:
    assert reproduce(bundles, "--quick", "--only", "d*") == 0
    out = bundles.parent / "out"
    quick = out / "quick" / "fake"
    assert not (out / "fake").exists()
    assert trainings(quick) == {"dense/fold0": 1}
    assert (quick / "dense/fold0/models/trained.txt").read_text().startswith("1 ")
    sparse, dense = rows(quick / "table_1.csv")
    assert (dense["folds"], dense["mean IoU mean"], dense["mean IoU std"]) == ("1 of 1", "0.6", "")
    assert (sparse["folds"], sparse["missing folds"]) == ("0 of 1", "fold0")
    text = (quick / "table_1.md").read_text()
    assert "QUICK RUN" in text and "Settings other than train.yaml's: epochs 1 (config: 50)." in text
    assert reproduce(bundles, "--quick", "--only", "dense/fold[02]") == 0
    assert trainings(quick) == {"dense/fold0": 1, "dense/fold2": 1}
    _, dense = rows(quick / "table_1.csv")
    assert (dense["folds"], dense["missing folds"], dense["mean IoU mean"]) == ("2 of 3", "fold1", "0.75")


@pytest.mark.parametrize(("visible", "devices"), [(None, {"0", "1"}), ("5,7", {"5", "7"})])
def test_with_several_gpus_each_experiment_has_its_own(
    bundles: Path, monkeypatch: pytest.MonkeyPatch, visible: str | None, devices: set[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert reproduce(bundles, "--jobs", 2, "--only", "dense/fold[01]") == 0
    folder = bundles.parent / "out" / "fake" / "dense"
    assert {path.read_text().split()[-1] for path in folder.glob("*/models/trained.txt")} == devices


def test_the_table_names_the_users_own_data(bundles: Path) -> None:
    (bundles.parent / "data").mkdir()
    assert reproduce(bundles, "--only", "dense/fold0", "--dataset_dir", bundles.parent / "data") == 0
    assert f"Data: {bundles.parent / 'data'}." in (bundles.parent / "out/fake/table_1.md").read_text()


def test_a_failing_experiment_is_named_and_the_others_finish(bundles: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_bundle(bundles, variants={"broken": {"labels": "broken"}, "dense": {"labels": "dense"}}, folds=[0], tables=[{
        "name": "table_1", "columns": {"IoU": {"row": "mean", "column": "iou"}, "F1": {"row": "mean", "column": "f1"}}
    }])  # fmt: skip
    assert reproduce(bundles) == 2
    captured = capsys.readouterr()
    assert captured.err == "FAILED  fake/broken/fold0: RuntimeError: no such labels\n"
    folder = bundles.parent / "out" / "fake"
    broken, dense = rows(folder / "table_1.csv")
    assert (broken["folds"], dense["folds"], dense["IoU mean"], broken["IoU mean"]) == ("0 of 1", "1 of 1", "0.6", "")
    assert "No scores.csv has a number in row 'mean', column 'f1' (F1)." in (folder / "table_1.md").read_text()
    assert reproduce(bundles) == 2
    assert trainings(folder) == {"broken/fold0": 1, "dense/fold0": 1}, "a finished training is not repeated"


@pytest.mark.slow
@pytest.mark.parametrize("kill", [os.kill, os.killpg], ids=["the command", "all its processes"])
def test_killing_the_command_ends_its_experiment_and_the_next_call_resumes(
    bundles: Path, kill: Callable[[int, int], None]
) -> None:
    write_bundle(bundles, variants={"dense": {"labels": "dense"}, "slow": {"labels": "slow"}}, folds=[0], tables=[{
        "name": "table_1", "columns": {"mean IoU": {"row": "mean", "column": "iou"}}
    }])  # fmt: skip
    out = bundles.parent / "out"
    command = [sys.executable, "-c", COMMAND, str(bundles), "fake", "--output_dir", str(out)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)
    record = out / "fake/slow/fold0/experiment.json"
    limit = time.monotonic() + 120
    while not (record.exists() and json.loads(record.read_text())["finished"] == ["training"]):
        assert process.poll() is None and time.monotonic() < limit, "the run ended or hung before it could be killed"
        time.sleep(0.02)
    kill(process.pid, signal.SIGKILL)
    process.wait()
    (record.parent / "eval/go").touch()  # the experiment would end now, were it still there
    time.sleep(1)
    assert json.loads(record.read_text())["finished"] == ["training"]

    assert reproduce(bundles) == 0
    assert trainings(out / "fake") == {"dense/fold0": 1, "slow/fold0": 1}
    assert [row["mean IoU mean"] for row in rows(out / "fake/table_1.csv")] == ["0.6", "0.5"]


def test_needed_experiments_of_another_bundle_run_first(bundles: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_bundle(
        bundles, "transfer", variants={"dense": {}, "none": {}}, folds=[0], quick={},
        needs={"dense": {"bundle": "fake", "variant": "dense", "as": "pretrained"}},
        tables=[{"name": "table_2", "columns": {"mean IoU": {"row": "mean", "column": "iou"}}}],
    )  # fmt: skip
    assert reproduce(bundles, "--quick", bundle="transfer") == 0
    quick = bundles.parent / "out" / "quick"
    weights = quick / "fake/dense/fold0/models/model.pt"
    assert weights.is_file() and not (quick / "fake/sparse").exists() and not (quick / "fake/dense/fold1").exists()
    assert str(weights) in (quick / "transfer/dense/fold0/models/trained.txt").read_text()
    assert str(weights) not in (quick / "transfer/none/fold0/models/trained.txt").read_text()
    text = (quick / "transfer/table_2.md").read_text()
    assert "Starts from fake, trained on synthetic phantoms." in text
    assert "fake: Settings other than train.yaml's: epochs 1 (config: 50)." in text
    assert reproduce(bundles, "--quick", bundle="transfer") == 0
    assert trainings(quick / "fake") == {"dense/fold0": 1} and sum(trainings(quick / "transfer").values()) == 2
    with pytest.raises(ValueError, match=r"transfer/dense/fold0 needs fake, which has its own data: .*--fake::data"):
        reproduce(bundles, "--dataset_dir", bundles, bundle="transfer")
    with pytest.raises(ValueError, match=r"fake/dense/fold0 holds .* epochs was 1, now 2"):
        reproduce(bundles, "--quick", "--fake::epochs", 2, bundle="transfer")

    write_bundle(bundles, variants={"dense": {"labels": "broken"}}, tables=[{**PLAN["tables"][0], "paper": {}}])
    other = ["--output_dir", str(bundles.parent / "other")]
    assert reproduce(bundles, *other, bundle="transfer") == 2
    assert "FAILED  transfer/dense/fold0: it needs fake/dense/fold0" in capsys.readouterr().err
    assert trainings(bundles.parent / "other/transfer") == {"none/fold0": 1}


def test_the_papers_split_is_that_of_the_pretraining_too(tmp_path: Path) -> None:
    for given, expected in (({}, "paper"), ({"us_dense_seg": {"split": "image"}}, "image")):
        settings = {"us_reverse_transfer": {"dataset_dir": "phantom", "split": "paper"}, **given}
        options = Options(ROOT / "bundles", tmp_path, "us_reverse_transfer", False, settings)
        splits = {each.name: each.settings["split"] for each in find_experiments(options.plan(), options)}
        assert splits["us_reverse_transfer/none/fold0"] == splits["us_reverse_transfer/dense/fold2"] == "paper"
        pretrained = {split for name, split in splits.items() if name.startswith("us_dense_seg")}
        assert pretrained == {expected} and len(splits) == 15


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["--epoch", "3"], "There is no setting 'epoch'. Did you mean --epochs?"),
        (["--epochs", "many"], "--epochs must be a number such as 50, got 'many'"),
        (["--resume", "True"], "--resume cannot be given because the experiments of fake differ in it"),
        (
            ["--labels", "dense"],
            "--labels cannot be given because the experiments of fake differ in it. Choose experiments with",
        ),
        (["--only", "spars"], "--only spars matches none of the variants sparse, dense"),
        (["--onyl", "dense*"], "There is no setting 'onyl'. Did you mean --only?"),
        (["--quick", "True"], "got True. --quick and --tables_only take no value"),
        (["--epochs"], "Give settings as --setting value, got --epochs"),
        (["--jobs", "0"], "--jobs must be 1 or more, got 0"),
    ],
)
def test_mistakes_on_the_command_line_are_refused(bundles: Path, arguments: list[str], rule: str) -> None:
    with pytest.raises(ValueError, match=re.escape(rule)):
        reproduce(bundles, *arguments)
    assert not (bundles.parent / "out").exists()


TABLE = PLAN["tables"][0]


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"varients": {}}, "There is no key 'varients'. Did you mean variants?"),
        ({"variants": {False: {}}}, "variants: False must be the name of a folder"),
        ({"variants": {}}, "variants must name at least one"),
        ({"settings": {"epoch": 3}}, "there is no setting 'epoch'. Did you mean --epochs?"),
        ({"folds": 3}, "folds must be a list of whole numbers such as [0, 1, 2], got 3"),
        ({"steps": {"training": "train.yaml"}}, "steps: training must be a list of configs"),
        ({"needs": {"dense": {"bundle": "fake"}}}, "needs: dense needs bundle, variant, as; variant, as is missing"),
        ({"needs": {"dense": {"bundle": "fake", "variant": "dense", "as": "pretrained"}}}, "needs itself"),
        ({"tables": []}, "tables must be a list of one or more"),
        ({"sheets": {"name": "figure_10"}}, "sheets must be a list of entries, got {'name'"),
        ({"sheets": [{"name": "table_1", "classes": ["line"]}]}, "tables, sheets and curves must have different names"),
        (
            {"sheets": [{"name": "figure_10", "classes": ["line"], "run": "seed0"}]},
            "sheet figure_10: there is no run 'seed0'. Runs: fold0",
        ),
        (
            {"tables": [{**TABLE, "paper": {"dence": {}}}]},
            "table table_1: there is no variant 'dence'. Did you mean dense?",
        ),
        ({"tables": [{**TABLE, "paper": {"dense": {"IoU": 1}}}]}, "table table_1: there is no heading 'IoU'"),
        ({"tables": [{**TABLE, "paper": {"dense": {"line": "0.5 ± 0.1"}}}]}, "must be a number, or [mean, standard"),
        ({"tables": [{**TABLE, "columns": {"line": "iou"}}]}, "table table_1: columns: line must be a mapping"),
    ],
)
def test_mistakes_in_the_file_are_named(bundles: Path, changes: dict[str, Any], rule: str) -> None:
    write_bundle(bundles, **changes)
    with pytest.raises(ValueError, match=re.escape(rule)) as caught:
        reproduce(bundles)
    assert "reproduce.yaml" in str(caught.value)


def test_missing_files_are_named(bundles: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"No such folder: nodata\. Give the data of fake, or phantom"):
        reproduce(bundles, "--dataset_dir", "nodata")
    with pytest.raises(FileNotFoundError, match=r"No bundle 'fakes' in .*can be reproduced: fake\."):
        reproduce(bundles, bundle="fakes")
    (bundles / "bare").mkdir()
    with pytest.raises(FileNotFoundError, match=r"bare has no configs/reproduce\.yaml in"):
        reproduce(bundles, bundle="bare")
    write_bundle(bundles, steps={"training": ["trian.yaml"]})
    with pytest.raises(FileNotFoundError, match=r"reproduce\.yaml: steps: training names trian\.yaml"):
        reproduce(bundles)
    (bundles / "fake/configs/reproduce.yaml").write_text("steps: [")
    with pytest.raises(ValueError, match=r"fake/configs/reproduce\.yaml: while parsing"):
        reproduce(bundles)


def test_the_command_answers_mistakes_in_one_line() -> None:
    command = [sys.executable, "-m", "common.reproduce", "ct_nothing"]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 1
    assert "ERROR  No bundle 'ct_nothing' in" in finished.stderr and "Traceback" not in finished.stderr


def test_a_variant_may_have_its_own_steps_and_a_table_may_be_a_curve(bundles: Path) -> None:
    files = ["train.yaml", "retrain.yaml"]
    (bundles / "fake" / "configs" / "retrain.yaml").write_text(
        yaml.safe_dump({"epochs": 7, "rate": 0.1, "run_it": ["$@rate"]})
    )
    table = {**PLAN["tables"][0], "curve": {"label": "slices", "values": {"sparse": 0, "dense": 50}}}
    steps_of = {"dense": {"training": files, "evaluating": [*files, "evaluate.yaml"]}}
    write_bundle(bundles, steps_of=steps_of, tables=[table], folds=[0])
    assert reproduce(bundles, "--rate", 0.5) == 0, "a word of one variant's configs alone is one of the bundle's"
    out = bundles.parent / "out" / "fake"
    epochs = {
        name: (out / name / "fold0" / "models" / "trained.txt").read_text().split()[0] for name in PLAN["variants"]
    }
    assert epochs == {"sparse": "50", "dense": "7"}
    assert json.loads((out / "dense" / "fold0" / "experiment.json").read_text())["steps"] == steps_of["dense"]
    assert (out / "table_1.png").stat().st_size > 1000

    for changes, message in (
        ({"steps_of": {"dens": {}}}, "steps_of: there is no variant 'dens'"),
        (
            {"tables": [{**table, "curve": {"label": "slices", "values": {"sparse": 0}}}]},
            "curve: values needs sparse, dense; dense is missing",
        ),
    ):
        write_bundle(bundles, **changes)
        with pytest.raises(ValueError, match=message):
            reproduce(bundles)


def test_a_column_may_come_from_another_table_of_the_run(bundles: Path) -> None:
    """Epochs beside scores: in the table with one decimal, not in the figure; a run without the file has none."""
    epochs = {"file": "training.csv", "row": "training", "column": "epochs"}
    paper = {"dense": {"mean IoU": 0.7111, "epochs": 61}}
    table = {**TABLE, "columns": {**TABLE["columns"], "epochs": epochs}, "paper": paper}
    write_bundle(bundles, tables=[table], variants={"dense": {"labels": "dense"}})
    assert reproduce(bundles) == 0
    folder = bundles.parent / "out" / "fake"
    assert "No training.csv has a number in row 'training', column 'epochs'" in (folder / "table_1.md").read_text()
    for fold, count in ((0, 40), (2, 43)):
        (folder / f"dense/fold{fold}/eval/training.csv").write_text(f"row,epochs\ntraining,{count}\n")
    assert reproduce(bundles, "--tables_only") == 0
    (dense,) = rows(folder / "table_1.csv")
    assert [dense[f"epochs {part}"] for part in ("mean", "std", "folds", "paper mean")] == [
        "41.5",
        "2.12132",
        "2",
        "61",
    ]
    text = (folder / "table_1.md").read_text()
    assert "| 41.5 ± 2.1 (2 folds) |" in text and "| 61.0 " in text and "0.7333 ± 0.1528" in text
    plan = read_plan("fake", bundles)
    assert plan.tables[0].drawn == ["mean IoU", "line"]


def test_a_setting_of_some_variants_may_be_given_for_the_others(
    bundles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    variants = {"own": {"labels": "sparse"}, "other": {}}
    write_bundle(bundles, variants=variants, folds=[0], tables=[{**PLAN["tables"][0], "paper": {}}])
    assert reproduce(bundles, "--labels", "dense") == 0
    assert "--labels has no effect on own, which set it themselves." in capsys.readouterr().out
    labels = {
        name: json.loads((bundles.parent / "out" / "fake" / name / "fold0" / "experiment.json").read_text())["settings"]
        for name in variants
    }
    assert {name: settings["labels"] for name, settings in labels.items()} == {"own": "sparse", "other": "dense"}
