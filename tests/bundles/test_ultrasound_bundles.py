"""Both ultrasound bundles by MONAI's own runner: train, evaluate, transfer weights, infer, report mistakes."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch
from monai.bundle import ConfigParser
from PIL import Image
from pydicom.data import get_testdata_file

from common.networks.reverse_transfer import ReverseTransfer
from common.networks.unet import classic_unet
from common.phantoms.ultrasound.image import lung_ultrasound
from common.phantoms.ultrasound.layouts import write_pocus, write_semantic_lung
from common.readers.ultrasound.frames import frames
from common.run.errors import origin
from common.transfer import read_state_dict, start_segmentation

SEGMENT, DIAGNOSE = "bundles/us_dense_seg/configs", "bundles/us_reverse_transfer/configs"
SMALL = ["--size", "[64,96]", "--filters", 8]
Runner = Callable[..., "subprocess.CompletedProcess[str]"]


def files_of(configs: str) -> str:
    return f"['{configs}/train.yaml','{configs}/evaluate.yaml']"


def scores_of(folder: Path, name: str = "scores.csv") -> dict[str, dict[str, str]]:
    with (folder / name).open() as file:
        return {next(iter(row.values())): row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small phantoms in both layouts."""
    root = tmp_path_factory.mktemp("ultrasound")
    write_semantic_lung(root / "labels", patients=4, images=12, size=(96, 128))
    write_pocus(root / "diagnoses", patients=9, clips=1, seconds=1.0, rate=4.0, size=(96, 128))
    return root


@pytest.fixture(scope="module")
def segmentation(data: Path, runner: Runner) -> Path:
    """A dense and a sparse segmentation, trained and evaluated as the README says."""
    for labels in ("dense", "sparse"):
        settings = ["--dataset_dir", data / "labels", "--labels", labels, *SMALL, "--epochs", 6, "--batch_size", 2]
        settings += ["--learning_rate", 2e-3]
        settings += ["--ckpt_dir", data / "models" / labels, "--output_dir", data / "eval" / labels]
        for step, configs in (("training", f"{SEGMENT}/train.yaml"), ("evaluating", files_of(SEGMENT))):
            done = runner(step, "--config_file", configs, *settings)
            assert done.returncode == 0, done.stderr[-2000:]
    return data


@pytest.mark.slow
def test_segmentation_learns_and_writes_its_tables_and_figures(segmentation: Path) -> None:
    dense, sparse = (scores_of(segmentation / "eval" / labels) for labels in ("dense", "sparse"))
    print({name: (row["iou_sparse"], row["iou_dense"]) for name, row in dense.items()})
    assert float(dense["background"]["iou_dense"]) > 0.8 and float(dense["B-line"]["iou_dense"]) > 0.4
    assert float(dense["mean"]["iou_sparse"]) > 0.5 and float(sparse["mean"]["iou_sparse"]) > 0.5
    assert sparse["mean"]["iou_dense"] == "" and dense["mean"]["accuracy_dense"] != ""
    left = {path.name for path in (segmentation / "eval" / "dense").iterdir()}
    assert {"metrics.csv", "curves.png", "validation.png", "evaluation.png", "scores_per_image.csv"} <= left
    chosen = [np.load(segmentation / "eval" / labels / "patient_images.npz") for labels in ("dense", "sparse")]
    for key in ("images", "titles", "patients"):
        np.testing.assert_array_equal(chosen[0][key], chosen[1][key])
    assert chosen[0]["patients"].tolist() == sorted({title[0] for title in chosen[0]["titles"].tolist()})
    # Pleural lines, 3 and 4 of dense labels, are 7 in sparse ones; regions, 5 and 6, are background
    np.testing.assert_array_equal(np.array([0, 1, 2, 7, 7, 0, 0])[chosen[0]["truths"]], chosen[1]["truths"])


@pytest.mark.slow
def test_a_resumed_run_ends_with_the_same_weights_scheduler_and_augmentation_included(
    runner: Runner, data: Path, tmp_path: Path
) -> None:
    common = ["--dataset_dir", data / "labels", "--size", "[32,48]", "--filters", 2, "--augmentation", "random"]
    common += ["--plateau_patience", 0]  # so that the rate falls within four epochs
    common += ["--val_interval", 2]  # the scheduler has nothing to go by in the first epoch
    for name, runs in (("whole", [4]), ("cut", [2, 4])):
        for epochs in runs:
            folders = ["--ckpt_dir", tmp_path / name / "models", "--output_dir", tmp_path / name / "eval"]
            resume = ["--resume", True] if epochs != runs[0] else []
            command = ["training", "--config_file", f"{SEGMENT}/train.yaml", *common, "--epochs", epochs, *folders]
            done = runner(*command, *resume)
            assert done.returncode == 0, done.stderr[-2000:]
    whole, cut = (torch.load(tmp_path / name / "models" / "last.pt", weights_only=True) for name in ("whole", "cut"))
    assert whole["epoch"] == cut["epoch"] == 4 and whole["scheduler"] == cut["scheduler"]
    assert all(torch.equal(value, cut["network"][name]) for name, value in whole["network"].items())
    tables = [list(csv.DictReader((tmp_path / name / "eval" / "metrics.csv").open())) for name in ("whole", "cut")]
    assert [row["loss"] for row in tables[0]] == [row["loss"] for row in tables[1]]
    assert float(tables[0][-1]["learning_rate"]) <= 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("pretraining", ["dense", "none"])
def test_diagnosis_trains_from_a_segmentation_and_from_random_weights(
    runner: Runner, segmentation: Path, pretraining: str, tmp_path: Path
) -> None:
    settings = ["--dataset_dir", segmentation / "diagnoses", "--pretraining", pretraining, *SMALL, "--epochs", 2]
    settings += ["--ckpt_dir", tmp_path / "models", "--output_dir", tmp_path / "eval"]
    start = ["--pretrained", segmentation / "models" / "dense" / "model.pt"] if pretraining == "dense" else []
    trained = runner("training", "--config_file", f"{DIAGNOSE}/train.yaml", *settings, *start)
    assert trained.returncode == 0, trained.stderr[-2000:]
    loaded = {"dense": "all 46 tensors", "none": "none, training starts from random ones"}[pretraining]
    assert f"Weights: {loaded}" in trained.stdout or f"model.pt, {loaded}" in trained.stdout
    evaluated = runner("evaluating", "--config_file", files_of(DIAGNOSE), *settings)
    assert evaluated.returncode == 0, evaluated.stderr[-2000:]
    assert 0 <= float(scores_of(tmp_path / "eval")["mean"]["frame_accuracy"]) <= 1
    assert {"frames.csv", "clips.csv", "confusion.png", "curves.png"} <= {p.name for p in (tmp_path / "eval").iterdir()}
    clips = list(csv.DictReader((tmp_path / "eval" / "clips.csv").open()))
    page = (tmp_path / "eval" / "report.html").read_text()
    assert page.count('<th scope="row">') == len(clips)
    assert page.count("differs from the ground truth</li>") == sum(row["truth"] != row["prediction"] for row in clips)

    clip = next((segmentation / "diagnoses").rglob("*.mp4"))
    command = [
        "--config_file",
        f"{DIAGNOSE}/inference.yaml",
        "--dataset_dir",
        clip,
        "--pretraining",
        pretraining,
        *SMALL,
    ]
    command += ["--weights", tmp_path / "models" / "model.pt", "--output_dir", tmp_path / "out", "--amp", False]
    inferred = runner(*command)
    assert inferred.returncode == 0, inferred.stderr[-2000:]
    (found_case,) = csv.DictReader((tmp_path / "out" / "cases.csv").open())
    page = (tmp_path / "out" / "report.html").read_text()
    assert f'<option value="{found_case["diagnosis"]}">' in page and page.count("data:image/jpeg") == 1
    rows = list(csv.DictReader((tmp_path / "out" / "frames.csv").open()))
    expected = by_hand(tmp_path / "models" / "model.pt", clip, pretraining)
    for row, probabilities in zip(rows, expected, strict=True):
        found = [float(row[f"probability_{name}"]) for name in ("normal", "pneumonia", "COVID-19")]
        assert found == pytest.approx(probabilities, abs=1e-4)
        assert sum(float(value) for name, value in row.items() if name.startswith("share_")) == pytest.approx(
            1, abs=1e-4
        )


def by_hand(weights: Path, clip: Path, pretraining: str) -> list[list[float]]:
    """Probabilities by the network's own forward pass on frames that training's preprocessing made."""
    parser = ConfigParser()
    parser.read_config(f"{DIAGNOSE}/train.yaml")
    parser.update({"pretraining": pretraining, "size": [64, 96], "filters": 8})
    preprocessing, network = (parser.get_parsed_content(key) for key in ("train::preprocessing", "network_def"))
    network.load_state_dict(read_state_dict(weights))
    network.eval()
    probabilities = []
    with torch.no_grad():
        for frame in frames(clip, 3):
            image = preprocessing({"image": frame.pixels, "label": "normal"})["image"].as_tensor().float()
            probabilities.append(network(image[None]).softmax(1)[0].tolist())
    return probabilities


@pytest.mark.parametrize("configs", [SEGMENT, DIAGNOSE])
def test_a_frame_is_preprocessed_equally_in_training_and_inference(configs: str, tmp_path: Path) -> None:
    made = lung_ultrasound(3, size=(90, 130))
    for name, pixels in (("image", made.image), ("label", made.label)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    label = tmp_path / "label.png" if configs == SEGMENT else "normal"
    seen = []
    for name, key in (("train", "train::preprocessing"), ("inference", "preprocessing")):
        parser = ConfigParser()
        parser.read_config(f"{configs}/{name}.yaml")
        for image in (tmp_path / "image.png", made.image):  # as MONAI Label gives it, and as a clip's frame comes
            seen.append(parser.get_parsed_content(key)({"image": image, "label": label})["image"].as_tensor().float())
    assert seen[0].shape == (1, 464, 624) and 0 <= seen[0].min() and 0.5 < seen[0].max() <= 1
    assert all(torch.equal(seen[0], other) for other in seen[1:])


@pytest.mark.gpu
def test_frames_in_batches_on_a_gpu_give_the_results_of_single_frames_on_the_cpu(
    runner: Runner, tmp_path: Path
) -> None:
    write_pocus(tmp_path / "clips", patients=3, clips=1, seconds=2.0, rate=10.0, size=(96, 128))
    torch.manual_seed(0)
    torch.save(classic_unet(1, 7, filters=8).state_dict(), tmp_path / "model.pt")
    command = [
        "--config_file",
        f"{SEGMENT}/inference.yaml",
        "--dataset_dir",
        tmp_path / "clips",
        *SMALL,
        "--amp",
        False,
    ]
    command += ["--weights", tmp_path / "model.pt", "--frames_per_second", 0]
    for device, batch in (("cuda", 16), ("cpu", 1)):
        folders = ["--output_dir", tmp_path / device, "--device", f"$torch.device('{device}')"]
        done = runner(*command, *folders, "--frames_at_once", batch)
        assert done.returncode == 0, done.stderr[-2000:]
    tables = [list(csv.DictReader((tmp_path / device / "frames.csv").open())) for device in ("cuda", "cpu")]
    for a, b in zip(*tables, strict=True):
        shares = [[float(row[name]) for name in row if name.startswith("share_")] for row in (a, b)]
        assert shares[0] == pytest.approx(shares[1], abs=2e-3)  # pixels where two classes are about equal


@pytest.mark.slow
def test_bad_files_are_named_and_all_others_are_segmented(runner: Runner, segmentation: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    clips = sorted((segmentation / "diagnoses").rglob("*.mp4"))
    shutil.copy(clips[0], folder / "good.mp4")
    Image.fromarray(lung_ultrasound(1, size=(96, 128)).image).save(folder / "good.png")
    (folder / "zero.mp4").touch()
    (folder / "cut.mp4").write_bytes(clips[1].read_bytes()[:-3000])
    (folder / "text.png").write_text("no picture")
    Image.fromarray(np.full((8, 8), 40000, np.uint16)).save(folder / "deep.png")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "still.gif")
    shutil.copy(get_testdata_file("CT_small.dcm"), folder / "ct.dcm")
    assert pydicom.dcmread(folder / "ct.dcm").Modality == "CT"
    command = ["--config_file", f"{SEGMENT}/inference.yaml", "--dataset_dir", folder, *SMALL]
    weights = segmentation / "models" / "dense" / "model.pt"
    done = runner(*command, "--weights", weights, "--output_dir", tmp_path / "out")
    assert done.returncode == 2
    message = done.stderr[done.stderr.index("ERROR") :]
    assert "5 of 7 cases failed" in message and "Traceback" not in done.stderr
    for name in ("zero.mp4", "cut.mp4", "text.png", "deep.png", "still.gif"):
        assert name in message, name
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["not_read"] == {"ct.dcm": "modality CT is not US"}
    done_cases = scores_of(tmp_path / "out", "cases.csv")
    assert [row["frames"] for row in done_cases.values()] == ["3", "1"]
    left = {path.name for path in (tmp_path / "out").iterdir()}
    print(left)
    assert not any("part" in name or name.startswith(("cut", "zero", "text", "deep", "still", "ct")) for name in left)


def test_the_best_epoch_is_not_the_one_whose_background_is_best_unless_accuracy_chooses_it() -> None:
    """100 pixels, 10 of them A-line: 5 are found, none else; or 9, and 7 beside them."""
    chosen = {}
    for best in ("mean_iou", "accuracy"):
        for found, beside in ((5, 0), (9, 7)):
            parser = ConfigParser()
            parser.read_config(f"{SEGMENT}/train.yaml")
            parser.update({"labels": "sparse", "best": best})
            truth = torch.tensor([0] * 10 + [3] * 90)
            predicted = torch.tensor([0] * found + [3] * (10 - found) + [0] * beside + [3] * (90 - beside))
            key_metric, scores = (parser.get_parsed_content(f"validate::{name}") for name in ("key_metric", "scores"))
            parser.get_parsed_content("validate::confusion").update(
                (torch.nn.functional.one_hot(predicted, 4).T[None].float(), truth[None])
            )
            ((name, metric),) = key_metric.items()
            chosen[name, found] = metric.compute()
            chosen["val_mean_iou", found] = scores["val_mean_iou"].compute()
    expected = {  # IoU of the A-line 5 / 10 and 9 / 17, of the background 90 / 95 and 83 / 91
        ("val_foreground_iou", 5): 0.5, ("val_foreground_iou", 9): 9 / 17,
        ("val_mean_iou", 5): (0.5 + 90 / 95) / 2, ("val_mean_iou", 9): (9 / 17 + 83 / 91) / 2,
        ("val_accuracy", 5): 0.95, ("val_accuracy", 9): 0.92,
    }  # fmt: skip
    assert chosen == pytest.approx(expected)
    assert chosen["val_mean_iou", 5] > chosen["val_mean_iou", 9], "the background would hide that more is found"
    parser.update({"best": "dice"})
    with pytest.raises(RuntimeError) as error:
        parser.get_parsed_content("validate::key_metric")
    assert str(origin(error.value)) == "--best is one of mean_iou, accuracy, got 'dice'."


@pytest.mark.parametrize(("overlays", "rates"), [([], [1e-3, 1e-3]), (["tuned"], [1e-5, 0.1])])
def test_the_paper_has_one_learning_rate_and_the_tuned_recipe_two(overlays: list[str], rates: list[float]) -> None:
    parser = ConfigParser()
    parser.read_config([f"{DIAGNOSE}/{name}.yaml" for name in ("train", *overlays)])
    parser.update({"filters": 4})
    optimizer, model = (parser.get_parsed_content(key) for key in ("optimizer", "model"))
    assert [group["lr"] for group in optimizer.param_groups] == rates
    counts = [sum(parameter.numel() for parameter in group["params"]) for group in optimizer.param_groups]
    assert counts[1] == 24 and sum(counts) == sum(parameter.numel() for parameter in model.parameters())


def test_pretraining_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    parser = ConfigParser()
    parser.read_config(f"{SEGMENT}/train.yaml")
    networks: dict[str, Any] = {}
    for labels in ("dense", "sparse"):
        parser.update({"labels": labels, "filters": 4})
        parser.parse(True)
        networks[labels] = parser.get_parsed_content("network_def")
    torch.save(networks["dense"].state_dict(), tmp_path / "dense.pt")
    sparse, dense = ReverseTransfer(networks["sparse"], classes=4), ReverseTransfer(networks["dense"], classes=7)
    with pytest.raises(ValueError, match=r"44 of 46 do: 2 of another shape.*Give the options that .*--filters"):
        start_segmentation(sparse, tmp_path / "dense.pt")
    with pytest.raises(FileNotFoundError, match=r"none\.pt\. Train us_dense_seg first, .*--pretraining none"):
        start_segmentation(dense, tmp_path / "none.pt")
    before = {name: value.clone() for name, value in sparse.state_dict().items()}
    start_segmentation(sparse, "none")
    assert all(torch.equal(value, before[name]) for name, value in sparse.state_dict().items())
    torch.save(dense.state_dict(), tmp_path / "whole.pt")
    torch.nn.init.zeros_(dense.classifier.weight)
    start_segmentation(dense, tmp_path / "whole.pt")
    assert dense.classifier.weight.any(), "a network of this bundle brings its decision, too"
