"""Two processes, over gloo on the CPU, train and evaluate every bundle as one does; what they write comes once."""

from __future__ import annotations

import csv
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT
from ignite.engine import Engine, Events
from monai.bundle import ConfigWorkflow
from torch import distributed, multiprocessing, nn

from common.handlers.checkpoint import Checkpoint
from common.handlers.epoch_seed import EpochSeed
from common.inferers import MixedPrecisionInferer
from common.networks.unet import classic_unet
from common.networks.weak_gan import LesionSeparator
from common.phantoms.ct.layouts import write_mosmed, write_radiopaedia
from common.phantoms.ct.medseg_layouts import write_medseg_pictures
from common.phantoms.ultrasound.layouts import write_pocus, write_semantic_lung
from common.run.distributed import ShareSampler, gathered, parallel
from common.run.start import check_processes
from common.self_learning.freezing import freeze_first
from common.transfer import read_state_dict
from common.weak_gan.losses import SeparationLoss
from common.weak_gan.trainer import SeparationTrainer

PATHS = f"{ROOT}{os.pathsep}{ROOT / 'tests'}"  # of common and conftest, for processes of their own
LIMIT = 240  # seconds until two processes are taken to wait for each other
SMALL: dict[str, Any] = {"size": [32, 32], "filters": 4, "batch_size": 3}
# Data, settings, overlays of train.yaml that the one for several processes follows
BUNDLES: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "ct_drsegunet": (
        "pictures",
        {"size": [32, 32], "patch_size": [32, 32], "batch_size": 3, "mirror": False},
        ["tuned"],
    ),
    "ct_transfer_unet": (
        "radiopaedia",
        {**SMALL, "source": "radiopaedia", "training_slices": 8, "validation_slices": 3, "epochs": 4, "patience": 1},
        [],
    ),
    "ct_weak_gan": ("radiopaedia", {**SMALL, "source": "radiopaedia", "shares": [3, 1, 1]}, []),
    "mosmed_encoders": (
        "mosmed",
        {"size": [64, 64], "batch_size": 2, "encoder": "mobilenetv2", "encoder_weights": "none", "shares": [1, 1, 3]},
        [],
    ),
    "us_dense_seg": ("labels", {**SMALL, "filters": 2, "augmentation": "random", "epochs": 2}, []),
    "us_reverse_transfer": ("diagnoses", {**SMALL, "filters": 2, "pretraining": "none"}, ["tuned"]),
}


# Below: what runs in processes of its own


def one_run(
    step: str, bundle: str, overlays: list[str], processes: int, number: int, **settings: Any
) -> dict[str, Any]:
    """What MONAI's command does, in this process; what is left of it, bit by bit."""
    if processes > 1:
        # A rendezvous is for one run; torchrun's own has ended with the first.
        os.environ |= {"MASTER_PORT": os.environ["PORTS"].split()[number], "TORCHELASTIC_USE_AGENT_STORE": "False"}
        overlays = [*overlays, "multi_gpu_train" if step == "training" else "multi_gpu_evaluate"]
    files = [f"bundles/{bundle}/configs/{name}.yaml" for name in ("train", *overlays)]
    workflow = ConfigWorkflow(config_file=files, run_id=step, workflow_type="train", **settings)
    workflow.initialize()
    workflow.run()
    parts = {name: workflow.parser.get_parsed_content(name) for name in ("model", "optimizer", "validate::evaluator")}
    workflow.finalize()
    state = parts["validate::evaluator"].state
    return {
        "weights": parts["model"].state_dict(),
        "optimizer": parts["optimizer"].state_dict(),
        "decided": [state.best_metric_epoch, state.best_metric, state.epoch],
        "samples": len(parts["validate::evaluator"].data_loader.sampler),
    }


def every_bundle(data: Path, processes: int) -> None:
    """Train each bundle, with two processes alone, and evaluate what these have left."""
    word = {1: "one", 2: "two"}[processes]
    left: dict[str, Any] = {}

    def run(step: str, bundle: str, overlays: list[str], name: str, **settings: Any) -> None:
        settings["dataset_dir"] = str(data / BUNDLES[bundle][0])
        left[name] = one_run(step, bundle, overlays, processes, len(left), **settings)

    for bundle, (_, settings, overlays) in BUNDLES.items():
        shared = {"epochs": 1, **settings, "ckpt_dir": str(data / bundle)}
        if processes == 2:
            run("training", bundle, overlays, f"{bundle} trained", output_dir=str(data / bundle / "training"), **shared)
        scoring = {**shared, "batch_size": 1, "output_dir": str(data / bundle / word)}
        run("evaluating", bundle, [*overlays, "evaluate"], f"{bundle} scored", **scoring)
    if processes == 2:
        bundle, (_, settings, _) = "us_dense_seg", BUNDLES["us_dense_seg"]
        for epochs in (1, 2):
            cut = {**settings, "epochs": epochs, "resume": epochs > 1, "ckpt_dir": str(data / "cut")}
            run("training", bundle, [], f"cut after epoch {epochs}", output_dir=str(data / "cut"), **cut)
        bundle, (_, settings, _) = "ct_transfer_unet", BUNDLES["ct_transfer_unet"]
        source = {"pretrained": str(data / bundle / "model.pt"), "target": "radiopaedia", "epochs": 1}
        again = {**settings, **source, "ckpt_dir": str(data / "retrained"), "output_dir": str(data / "retrained")}
        run("training", bundle, ["retrain"], "retrained", **again)
    torch.save(left, data / f"{word}_{os.environ.get('RANK', 0)}.pt")


def parts(number: int, folder: str) -> None:
    """Parts of what runs above, in one of two processes."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=number, world_size=2)
    own = slice(2 * number, 2 * number + 2)
    found: dict[str, Any] = {"gathered": gathered(["a", "b", "c"][number:])}

    network = unet()
    trained = parallel(network)
    MixedPrecisionInferer()(images()[own], trained).square().mean().backward()
    found["gradient"] = {name: parameter.grad for name, parameter in network.named_parameters()}

    torch.manual_seed(number)  # weights differ until they are shared
    layers = [nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 3)]
    network = nn.Sequential(*layers)
    freeze_first(network, 2)  # with the batch norm between
    parallel(network)(images()[own])
    found["network"] = network.state_dict()

    torch.manual_seed(number)
    separator = LesionSeparator(filters=2)
    loader = torch.utils.data.DataLoader([0])  # type: ignore[arg-type]
    optimizer = torch.optim.SGD(separator.parameters())
    trainer = SeparationTrainer("cpu", 1, loader, separator, optimizer, SeparationLoss())
    trainer.fire_event(Events.STARTED)
    found["separator"] = separator.state_dict()

    mine = Path(folder) / str(number)
    mine.mkdir()
    if number == 0:
        (mine / "last.pt").touch()
    try:
        Checkpoint(mine, network, torch.optim.SGD(network.parameters()), Engine(lambda *_: None), resume=True).start(
            Engine(lambda *_: None)
        )
    except ValueError as error:
        found["error"] = str(error)

    engine: Any = Engine(lambda *_: None)
    engine.state.epoch, engine.data_loader = 3, torch.utils.data.DataLoader([0])  # type: ignore[arg-type]
    EpochSeed(0)(engine)
    found["random"] = torch.rand(4)
    torch.save(found, Path(folder) / f"{number}.pt")
    distributed.destroy_process_group()


def unet() -> nn.Module:
    torch.manual_seed(0)
    return classic_unet(1, 2, filters=2)


def images() -> torch.Tensor:
    return torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(0))


# Below: the tests


def torchrun(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Two processes, as a user starts them."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", *map(str, words)]
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": PATHS, **environment}
    process = subprocess.Popen(
        command, cwd=ROOT, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        out, errors = process.communicate(timeout=LIMIT)
    finally:
        process.terminate()  # where it still runs, so that it ends its processes; the next line waits for that
        process.wait()
    return subprocess.CompletedProcess(command, process.returncode, out, errors)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def same(one: Any, other: Any) -> bool:
    """Bit by bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other or (one != one and other != other)  # not a number, both


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny phantoms for all bundles; none divides by two everywhere."""
    root = tmp_path_factory.mktemp("several")
    write_medseg_pictures(root / "pictures", slices=11, size=(64, 64))
    write_radiopaedia(root / "radiopaedia", patients=5, size=(64, 64), slices=7)
    write_mosmed(root / "mosmed", patients=6, size=(64, 64), slices=7)
    write_semantic_lung(root / "labels", patients=4, images=13, size=(64, 64))
    write_pocus(root / "diagnoses", patients=9, clips=1, seconds=1.0, rate=3.0, size=(64, 64))
    return root


@pytest.fixture(scope="module")
def runs(data: Path) -> list[dict[str, Any]]:
    """What both processes hold after each run, and what one holds after evaluating the same weights."""
    sockets = [socket.create_server(("localhost", 0)) for _ in range(20)]
    ports = " ".join(str(each.getsockname()[1]) for each in sockets)
    for each in sockets:
        each.close()
    done = torchrun(__file__, data, 2, PORTS=ports)
    assert done.returncode == 0, done.stderr[-4000:]
    (data / "two.txt").write_text(done.stdout + done.stderr)
    alone = [sys.executable, __file__, str(data), "1"]
    done = subprocess.run(alone, cwd=ROOT, env={**os.environ, "PYTHONPATH": PATHS}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return [torch.load(data / f"{name}.pt", weights_only=False) for name in ("two_0", "two_1", "one_0")]


@pytest.mark.slow
def test_both_processes_end_with_the_same_weights_and_decisions(runs: list[dict[str, Any]]) -> None:
    first, second, _ = runs
    assert len(first) == 2 * len(BUNDLES) + 3 and first.keys() == second.keys()
    for name in first:
        for what in ("weights", "optimizer", "decided"):
            assert same(first[name][what], second[name][what]), f"{name}: {what}"


@pytest.mark.slow
@pytest.mark.parametrize("bundle", BUNDLES)
def test_two_processes_score_as_one_does(bundle: str, runs: list[dict[str, Any]], data: Path) -> None:
    samples = [run[f"{bundle} scored"]["samples"] for run in runs]
    assert samples[0] + samples[1] == samples[2]
    one, two = ({path.name: path for path in (data / bundle / word).iterdir()} for word in ("one", "two"))
    assert one.keys() == two.keys() and "scores.csv" in one
    for name in one:
        if name.endswith(".npz"):
            arrays = [np.load(folder[name]) for folder in (one, two)]
            assert all(np.array_equal(arrays[0][key], arrays[1][key]) for key in arrays[0]), name
        elif name == "report.html":  # its foot names the folder
            above = [folder[name].read_text().partition("<footer>")[0] for folder in (one, two)]
            assert above[0] == above[1] and "Evaluation" in above[0], name
        elif not name.endswith(".json"):
            assert one[name].read_bytes() == two[name].read_bytes(), name


@pytest.mark.slow
def test_what_is_shared_unevenly_is_among_what_was_scored(runs: list[dict[str, Any]]) -> None:
    uneven = [bundle for bundle in BUNDLES if runs[2][f"{bundle} scored"]["samples"] % 2]
    assert {"ct_drsegunet", "mosmed_encoders"} <= set(uneven), uneven


@pytest.mark.slow
@pytest.mark.parametrize("bundle", BUNDLES)
def test_training_leaves_each_file_once_with_the_bare_networks_weights(
    bundle: str, runs: list[dict[str, Any]], data: Path
) -> None:
    left = [path.name for path in chain((data / bundle).iterdir(), (data / bundle / "training").iterdir())]
    assert {"last.pt", "model.pt", "metrics.csv", "curves.png"} <= set(left)
    assert sum(name.startswith("events") for name in left) == 2, "one of training, one of validation"
    assert not any(name.startswith(".part") for name in left)
    assert not any(name.startswith("module.") for name in read_state_dict(data / bundle / "last.pt"))


@pytest.mark.slow
def test_validation_while_training_gives_the_scores_of_one_process(runs: list[dict[str, Any]], data: Path) -> None:
    best = max(float(row["val_foreground_iou"]) for row in rows(data / "us_dense_seg" / "training" / "metrics.csv"))
    scored = {row["class"]: row for row in rows(data / "us_dense_seg" / "one" / "scores.csv")}
    assert best == float(scored["mean without background"]["iou_dense"])


@pytest.mark.slow
def test_a_run_of_two_that_was_cut_off_ends_as_one_that_was_not(runs: list[dict[str, Any]]) -> None:
    for process in runs[:2]:
        for what in ("weights", "optimizer", "decided"):
            assert same(process["cut after epoch 2"][what], process["us_dense_seg trained"][what]), what


@pytest.mark.slow
def test_tables_are_printed_once(runs: list[dict[str, Any]], data: Path) -> None:
    said = re.findall(rf"(?:Tables|Table|Written): {data}\S*", (data / "two.txt").read_text())
    assert len(said) == len(set(said)) > len(BUNDLES)


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes has found."""
    folder = tmp_path_factory.mktemp("parts")
    spawned = multiprocessing.spawn(parts, (str(folder),), nprocs=2, join=False)
    limit = time.monotonic() + LIMIT
    try:
        while not spawned.join(timeout=1):
            assert time.monotonic() < limit, "the processes wait for each other"
    finally:
        for process in spawned.processes:
            process.kill()
    return [torch.load(folder / f"{number}.pt", weights_only=True) for number in range(2)]


@pytest.mark.slow
def test_the_gradient_is_that_of_one_process_with_both_batches(processes: list[dict[str, Any]]) -> None:
    network = unet()
    network(images()).square().mean().backward()
    for found in processes:
        for name, parameter in network.named_parameters():
            torch.testing.assert_close(found["gradient"][name], parameter.grad, rtol=1e-4, atol=1e-7)


@pytest.mark.slow
def test_statistics_of_batch_norm_are_averaged_and_frozen_ones_kept(processes: list[dict[str, Any]]) -> None:
    one, other = (found["network"] for found in processes)
    assert same(one, other)
    assert torch.equal(one["1.running_mean"], torch.zeros(2)), "frozen"
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 3))
    network[1].eval()
    means = network(images()).mean((0, 2, 3))  # of as many slices in both, so the mean of both means
    torch.testing.assert_close(one["3.running_mean"], 0.1 * means)  # the momentum


@pytest.mark.slow
def test_the_weak_gan_starts_from_the_weights_of_the_first_process(processes: list[dict[str, Any]]) -> None:
    torch.manual_seed(0)
    expected = LesionSeparator(filters=2).state_dict()
    assert all(same(dict(found["separator"]), dict(expected)) for found in processes)


@pytest.mark.slow
def test_uneven_rows_are_gathered_in_the_order_of_the_processes(processes: list[dict[str, Any]]) -> None:
    assert [found["gathered"] for found in processes] == [["a", "b", "c", "b", "c"]] * 2


@pytest.mark.slow
def test_random_numbers_differ_between_processes_and_the_first_draws_those_of_one_alone(
    processes: list[dict[str, Any]],
) -> None:
    engine: Any = Engine(lambda *_: None)
    engine.state.epoch, engine.data_loader = 3, torch.utils.data.DataLoader([0])  # type: ignore[arg-type]
    EpochSeed(0)(engine)
    first, second = (found["random"] for found in processes)
    assert torch.equal(first, torch.rand(4)) and not torch.equal(first, second)


@pytest.mark.slow
def test_a_checkpoint_that_only_one_process_sees_is_refused(processes: list[dict[str, Any]]) -> None:
    for found in processes:
        assert "must see" in found["error"] and "only 1 of 2 do" in found["error"]


@pytest.mark.parametrize(("items", "count"), [(7, 2), (8, 3), (3, 3)])
def test_shares_follow_one_another_without_gap_or_repetition(
    items: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(count))
    found: list[int] = []
    for number in range(count):
        monkeypatch.setenv("RANK", str(number))
        sampler = ShareSampler(range(items))
        assert len(list(sampler)) == len(sampler) > 0
        found += sampler
    assert found == list(range(items))


def test_fewer_items_than_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ValueError, match="got 2 for 3 processes"):
        ShareSampler(range(2))


def test_several_processes_of_a_config_for_one_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"initialize": [{"_target_": "common.run.start.start_run"}]}
    check_processes(config)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match=r"for one process, got 2.*Add multi_gpu_train or multi_gpu_evaluate to"):
        check_processes(config)
    check_processes({"initialize": [*config["initialize"], {"_target_": "common.run.distributed.join"}]})


def train(runner: Callable[..., Any], processes: int, data: Path, folder: Path, epochs: int) -> str:
    """By the commands of the docs; what was printed."""
    files = [f"bundles/us_dense_seg/configs/{name}.yaml" for name in ("train", "multi_gpu_train")[:processes]]
    words: list[object] = ["training", "--config_file", str(files), "--dataset_dir", data / "labels"]
    words += ["--size", "[32,48]", "--filters", 2, "--augmentation", "random", "--plateau_patience", 0]
    words += ["--learning_rate", 0.1, "--epochs", epochs, "--resume", epochs > 2, "--batch_size", 4 // processes]
    words += ["--ckpt_dir", folder / "models", "--output_dir", folder / "eval"]
    done = torchrun("-m", "monai.bundle", "run", *words) if processes > 1 else runner(*words)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Reading:" not in done.stderr, "bars are for terminals"
    return done.stdout


@pytest.mark.slow
def test_two_processes_go_on_from_one_and_one_from_two(runner: Callable[..., Any], data: Path, tmp_path: Path) -> None:
    for epochs, processes in ((2, 2), (3, 1), (5, 2)):
        printed = train(runner, processes, data, tmp_path, epochs)
        assert epochs == 2 or f"Resume: after epoch {epochs - processes} of {epochs}." in printed
        assert printed.count(f"Epoch {epochs}:") == 1
        shutil.copy(tmp_path / "models" / "last.pt", tmp_path / f"{epochs}.pt")
    table = rows(tmp_path / "eval" / "metrics.csv")
    assert [row["epoch"] for row in table] == ["1", "2", "3", "4", "5"]
    scores = [float(row["val_foreground_iou"]) for row in table]
    for epochs in (2, 3, 5):
        state = torch.load(tmp_path / f"{epochs}.pt", weights_only=True)
        assert state["epoch"] == state["scheduler"]["last_epoch"] == epochs
        assert round(state["best_metric"], 4) == max(scores[:epochs])
        assert state["best_metric_epoch"] == 1 + scores.index(max(scores[:epochs]))
    rate, best = 0.1, -1.0
    for row in table:
        assert float(row["learning_rate"]) == pytest.approx(rate)
        score = np.nanmean([float(value or "nan") for name, value in row.items() if name.startswith("iou_")])
        rate, best = (rate, score) if score > best else (rate / 2, best)  # halved whenever mean IoU has not risen


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--network", "$'drsegunet' if os.environ['RANK'] == '0' else 'vnet'"], "Unknown network 'vnet'"),
        (["--dataset_dir", "/nowhere"], "No such folder: /nowhere"),
    ],
    ids=["of one process", "of both"],
)
def test_a_mistake_ends_all_processes_and_is_told_once(
    words: list[str], message: str, data: Path, tmp_path: Path
) -> None:
    files = str([f"bundles/ct_drsegunet/configs/{name}.yaml" for name in ("train", "multi_gpu_train")])
    places = ["--dataset_dir", data / "pictures", "--ckpt_dir", tmp_path / "models", "--output_dir", tmp_path]
    done = torchrun(
        "-m", "monai.bundle", "run", "training", "--config_file", files, *places, "--size", "[32,32]", *words
    )
    assert done.returncode == 1
    assert done.stderr.count(f"ERROR  {message}") == 1


if __name__ == "__main__":
    every_bundle(Path(sys.argv[1]), int(sys.argv[2]))
