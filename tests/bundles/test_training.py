"""Training by MONAI's own runner: it learns, resumes to the same weights, and reports mistakes in one line."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from conftest import ROOT
from scipy import ndimage

from common.datasets.ct import lesions
from common.datasets.splits import split
from common.phantoms.ct.layouts import write_radiopaedia
from common.phantoms.ct.medseg_layouts import write_medseg_pictures

CONFIGS = "bundles/ct_drsegunet/configs"
TRAIN, EVALUATE, INFER = (f"{CONFIGS}/{name}.yaml" for name in ("train", "evaluate", "inference"))
Runner = Callable[..., "subprocess.CompletedProcess[str]"]


def threshold_baseline(cases: list[dict[str, Path]]) -> float:
    """Pooled Dice of ground-glass by threshold alone, inside the true lung: -700 to -150 HU, lightly smoothed."""
    both = total = 0
    for case in cases:
        hu, truth, lung = (np.asarray(nibabel.load(case[key]).dataobj) for key in ("image", "label", "lung"))
        smooth = ndimage.gaussian_filter(hu.astype(np.float32), 1)
        found = (smooth > -700) & (smooth <= -150) & (lung > 0)
        both += 2 * int((found & (truth == 1)).sum())
        total += int(found.sum() + (truth == 1).sum())
    return both / total


@pytest.mark.slow
def test_training_on_phantoms_beats_thresholding_on_unseen_patients(runner: Runner, tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_radiopaedia(root, patients=15, size=(64, 64), slices=14)
    settings = [
        "--dataset_dir",
        root,
        "--size",
        "[64,64]",
        "--epochs",
        10,
        "--learning_rate",
        1.5e-3,
        "--batch_size",
        4,
    ]
    settings += ["--amp", True, "--ckpt_dir", tmp_path / "models", "--output_dir", tmp_path / "eval"]
    trained = runner("training", "--config_file", TRAIN, *settings)
    assert trained.returncode == 0, trained.stderr[-2000:]
    evaluated = runner("evaluating", "--config_file", f"['{TRAIN}','{EVALUATE}']", *settings)
    assert evaluated.returncode == 0, evaluated.stderr[-2000:]
    with (tmp_path / "eval" / "scores.csv").open() as file:
        scores = {row["class"]: row for row in csv.DictReader(file)}
    baseline = threshold_baseline(split(lesions(root), test_set="auto")["test"])
    print({name: row["f1"] for name, row in scores.items()}, "baseline", baseline)
    assert float(scores["lung"]["f1"]) > 0.93
    assert float(scores["ground-glass"]["f1"]) > max(0.6, baseline + 0.15)  # F1 of pooled pixels is pooled Dice
    left = {path.name for path in (tmp_path / "eval").iterdir()}
    assert {
        "metrics.csv",
        "curves.png",
        "validation.png",
        "evaluation.png",
        "scores_per_slice.csv",
        "run_training.json",
    } <= left
    page = (tmp_path / "eval" / "report.html").read_text()
    assert f">{scores['ground-glass']['f1']}</td>" in page, "what the score tables hold"
    assert "evaluation.png" in page and "curves.png" not in page, "of the evaluation, not of the training"
    patients = (tmp_path / "eval" / "scores_per_patient.csv").read_text().splitlines()[1:]
    assert page.count('<th scope="row">') == len(patients) > 0
    assert any(name.startswith("events.out.tfevents") for name in left)
    assert json.loads((tmp_path / "eval" / "config_training.json").read_text())["epochs"] == 10
    assert "class" in evaluated.stdout and "ground-glass" in evaluated.stdout

    # The same weights at inference: a held-out patient's mask agrees with its truth as the evaluation said.
    case = split(lesions(root), test_set="auto")["test"][0]
    command = ["--config_file", INFER, "--dataset_dir", case["image"], "--size", "[64,64]"]
    inferred = runner(*command, "--weights", tmp_path / "models" / "model.pt", "--output_dir", tmp_path / "out")
    assert inferred.returncode == 0, inferred.stderr[-2000:]
    mask = np.asarray(nibabel.load(next((tmp_path / "out").glob("*_mask.nii.gz"))).dataobj)
    lung = np.asarray(nibabel.load(case["lung"]).dataobj) > 0
    assert 2 * ((mask > 0) & lung).sum() / ((mask > 0).sum() + lung.sum()) > 0.93


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten small pictures in MedSeg's layout."""
    root = tmp_path_factory.mktemp("pictures") / "data"
    write_medseg_pictures(root, slices=10, size=(64, 64))
    return root


def arguments(data: Path, folder: Path, epochs: int = 6) -> list[str]:
    settings = ["--dataset_dir", data, "--size", "[64,64]", "--epochs", epochs, "--learning_rate", 1e-3]
    return [str(each) for each in (*settings, "--ckpt_dir", folder / "models", "--output_dir", folder / "eval")]


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_weights(runner: Runner, pictures: Path, tmp_path: Path) -> None:
    whole = runner("training", "--config_file", TRAIN, *arguments(pictures, tmp_path / "whole"))
    assert whole.returncode == 0, whole.stderr[-2000:]

    cut = tmp_path / "cut"
    command = [
        sys.executable,
        "-m",
        "monai.bundle",
        "run",
        "training",
        "--config_file",
        TRAIN,
        *arguments(pictures, cut),
    ]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    table = cut / "eval" / "metrics.csv"
    limit = time.monotonic() + 240
    while not (table.exists() and len(table.read_text().splitlines()) >= 4):  # in the fourth epoch, or about to be
        assert process.poll() is None and time.monotonic() < limit, "the run ended or hung before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = torch.load(cut / "models" / "last.pt", weights_only=True)["epoch"]
    assert 2 <= before < 6, "killed in the middle"

    resumed = runner("training", "--config_file", TRAIN, *arguments(pictures, cut), "--resume", True)
    assert resumed.returncode == 0, resumed.stderr[-2000:]
    assert f"Resume: after epoch {before} of 6." in resumed.stdout
    for name in ("last.pt", "model.pt"):
        ends = [torch.load(run / "models" / name, weights_only=True) for run in (tmp_path / "whole", cut)]
        weights = [end.get("network", end) for end in ends]
        assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0]), name
    columns = [
        [
            {key: row[key] for key in row if key != "seconds"}
            for row in csv.DictReader((run / "eval" / "metrics.csv").open())
        ]
        for run in (tmp_path / "whole", cut)
    ]
    assert columns[0] == columns[1] and len(columns[0]) == 6


def test_a_finished_run_that_is_resumed_does_nothing(runner: Runner, pictures: Path, tmp_path: Path) -> None:
    first = runner("training", "--config_file", TRAIN, *arguments(pictures, tmp_path, epochs=1))
    assert first.returncode == 0, first.stderr[-2000:]
    before = torch.load(tmp_path / "models" / "last.pt", weights_only=True)["network"]
    again = runner("training", "--config_file", TRAIN, *arguments(pictures, tmp_path, epochs=1), "--resume", True)
    assert again.returncode == 0, again.stderr[-2000:]
    after = torch.load(tmp_path / "models" / "last.pt", weights_only=True)["network"]
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.slow
def test_every_option_reaches_the_network(runner: Runner, pictures: Path, tmp_path: Path) -> None:
    words = ["--network", "unet", "--decoder", "upsample", "--classes", "radiopaedia"]
    trained = runner("training", "--config_file", TRAIN, *arguments(pictures, tmp_path, epochs=1), *words)
    assert trained.returncode == 0, trained.stderr[-2000:]
    weights = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    assert weights["decoder.head.weight"].shape == (3, 16, 1, 1)
    assert not any("running_mean" in key or "ups.0" in key for key in weights), "no batch norm, no learned up-sampling"
    places = ["--dataset_dir", pictures / "Imgs", "--weights", tmp_path / "models" / "model.pt", "--size", "[64,64]"]
    inferred = runner("--config_file", INFER, *places, "--output_dir", tmp_path / "out", *words)
    assert inferred.returncode == 0, inferred.stderr[-2000:]
    other = runner("--config_file", INFER, *places[:-2], "--output_dir", tmp_path / "other", "--network", "drsegunet")
    assert other.returncode == 1
    rule = "says that the weights were trained with network unet. Leave out --network, or give other weights."
    assert f"ERROR  --network drsegunet: {tmp_path}/models/model.json {rule}" in other.stderr


@pytest.mark.usefixtures("small_phantoms")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["training", "--config_file", TRAIN, "--epoch", "5"], "There is no setting 'epoch'. Did you mean --epochs?"),
        (["training", "--config_file", TRAIN, "--dataset_dir", "/nowhere"], "No such folder: /nowhere"),
        (
            ["--config_file", INFER, "--weights", "/nowhere/model.pt"],
            "No weights at /nowhere/model.pt. Train the bundle",
        ),
        (["--config_file", INFER, "--output_dir", "/proc/out"], "/proc/out must be a writable folder"),
        (["training", "--config_file", TRAIN, "--network", "vnet"], "Unknown network 'vnet'"),
    ],
)
def test_mistakes_end_in_one_line_not_a_traceback(
    runner: Runner, words: list[str], message: str, tmp_path: Path
) -> None:
    folders = [] if "--output_dir" in words else ["--output_dir", tmp_path / "out"]
    result = runner(*words, *folders, *(["--ckpt_dir", tmp_path / "models"] if words[0] == "training" else []))
    assert result.returncode == 1
    assert f"ERROR  {message}" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_empty_folder_is_an_error_that_lists_the_formats(runner: Runner, pictures: Path, tmp_path: Path) -> None:
    runner("training", "--config_file", TRAIN, *arguments(pictures, tmp_path, epochs=1))
    (tmp_path / "empty").mkdir()
    weights = ["--weights", tmp_path / "models" / "model.pt", "--output_dir", tmp_path / "out"]
    result = runner("--config_file", INFER, "--dataset_dir", tmp_path / "empty", *weights)
    assert result.returncode == 3
    assert "ERROR  No scan in" in result.stderr and ".nii.gz" in result.stderr


def test_an_unreadable_file_changes_only_the_exit_code(runner: Runner, pictures: Path, tmp_path: Path) -> None:
    runner("training", "--config_file", TRAIN, *arguments(pictures, tmp_path, epochs=1))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "good.jpg").write_bytes((pictures / "Imgs" / "1.jpg").read_bytes())
    (tmp_path / "in" / "text.png").write_text("hello")
    weights = ["--weights", tmp_path / "models" / "model.pt", "--output_dir", tmp_path / "out", "--size", "[64,64]"]
    result = runner("--config_file", INFER, "--dataset_dir", tmp_path / "in", *weights)
    assert result.returncode == 2
    assert "ERROR  1 of 2 cases failed" in result.stderr
    assert "text.png: a file of suffix .png must hold a png, jpeg, bmp, tiff or webp image" in result.stderr
    assert "Traceback" not in result.stderr
    assert [path.name for path in (tmp_path / "out").glob("*_mask.*")] == ["good_mask.png"]


@pytest.mark.gpu
def test_training_and_inference_run_on_a_gpu(runner: Runner, pictures: Path, tmp_path: Path) -> None:
    trained = runner("training", "--config_file", TRAIN, *arguments(pictures, tmp_path, epochs=2), "--amp", True)
    assert trained.returncode == 0, trained.stderr[-2000:]
    weights = ["--weights", tmp_path / "models" / "model.pt", "--output_dir", tmp_path / "out", "--size", "[64,64]"]
    inferred = runner("--config_file", INFER, "--dataset_dir", pictures / "Imgs", *weights)
    assert inferred.returncode == 0, inferred.stderr[-2000:]
    assert len(list((tmp_path / "out").glob("*_mask.png"))) == 10
