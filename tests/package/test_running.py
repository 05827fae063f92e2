"""Packaged bundles train, evaluate and infer without this repository."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import monai.bundle
import pytest
import torch
from monai.bundle import ConfigWorkflow
from small_packages import TINY, VERSION, Packages, alone, files_of, forget_scripts, scans

from common.package.verify import verify

pytest_plugins = ["package_fixtures"]
pytestmark = [
    pytest.mark.slow,  # the packages are built for more than ten seconds
    pytest.mark.filterwarnings("ignore:parsing config_file"),
    pytest.mark.filterwarnings("ignore:No hash value provided"),
]

ORIGIN = "These weights: Trained"

# Steps by MONAI's command line in one process; between bundles MONAI Label forgets the modules of the one before.
STEPS = """
import importlib.util, json, os, runpy, sys
for folder, words in json.loads(sys.argv[1]):
    os.chdir(folder)
    for name in [name for name in sys.modules if name.startswith("scripts")]:
        del sys.modules[name]
    sys.argv = ["monai.bundle", "run", *words]
    runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
    modules = [module for name, module in sys.modules.items() if name.startswith("scripts")]
    print("\\nscripts of", *{module.__file__.partition("/scripts/")[0] for module in modules})
assert importlib.util.find_spec("common") is None and "common" not in sys.modules
"""


def run_steps(steps: Sequence[tuple[Path, list[str]]]) -> list[str]:
    """Run steps, each in its folder, in a process that knows nothing of this repository.

    Returns:
        output and log of each step; the last line is the folder that its scripts came from.
    """
    command = [sys.executable, "-u", "-c", STEPS, json.dumps([(str(folder), words) for folder, words in steps])]
    done = subprocess.run(
        command, cwd=steps[0][0], env=alone(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-6000:]
    logs = re.findall(r"(.*?\nscripts of .*?)\n", done.stdout, re.DOTALL)
    assert len(logs) == len(steps)
    return logs


def test_scripts_of_two_bundles_do_not_mix_in_one_process(packages: Packages, tmp_path: Path) -> None:
    """Copies that differ in code of the same name, loaded one after the other as MONAI Label does it."""
    for number in (1, 2, 1):
        root = tmp_path / str(number) / "us_dense_seg"
        if not root.exists():
            packages.unzip("us_dense_seg", root.parent)
            with (root / "scripts" / "networks" / "unet.py").open("a") as file:
                file.write(f"\nUNet.copy = {number}\n")
        before = list(sys.path)
        try:
            settings = {"bundle_root": str(root), "output_dir": str(tmp_path / "out"), "dataset_dir": "none"}
            workflow = ConfigWorkflow(
                config_file=str(root / "configs" / "inference.json"), workflow_type="infer", **settings
            )
            workflow.initialize()
            assert workflow.network_def.copy == number
        finally:
            sys.path[:] = before
            forget_scripts()


@pytest.fixture(scope="module")
def site(packages: Packages) -> Iterator[str]:
    """Address of a server on this machine that publishes the packages."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(packages.dist))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_downloaded_package_is_verified_and_trains_evaluates_and_infers_in_its_folder(
    packages: Packages, site: str, data: Path, tmp_path: Path
) -> None:
    """The commands of its page, unchanged."""
    name, images = "us_dense_seg", data / "labels" / "images"
    monai.bundle.download(name=name, url=f"{site}/{name}_{VERSION}.zip", bundle_dir=str(tmp_path))
    root, info = tmp_path / name, packages.dist / "model_info.json"
    for path in (tmp_path / f"{name}.zip", root):  # MONAI's name for the file that it has downloaded
        files = len(files_of(packages.zip(name))) - 1
        assert verify(path, info) == f"{path}: {files} files, the same as in {info} for {name}_{VERSION}."

    page = (root / "docs" / "README.md").read_text()
    commands = re.findall(r"^python -m monai\.bundle run (.*)", page.replace("$C/", "configs/"), re.MULTILINE)
    for given, here in (("/data/scans", images), ("/data/semantic_lung", data / "labels")):
        commands = [command.replace(given, str(here)) for command in commands]
    inference, training, evaluating = (shlex.split(commands[number]) for number in (0, 2, 3))
    assert (training[0], evaluating[0]) == ("training", "evaluating")
    (log,) = run_steps([(root, inference)])
    assert ORIGIN in log, "weights trained on phantoms are named as such"
    assert verify(root, info).endswith(f"for {name}_{VERSION}."), "inference changes nothing of the package"
    assert len(list((root / "out").glob("*_mask.png"))) == len(list(images.iterdir()))

    log = run_steps([(root, [*training, "--epochs", "1"]), (root, evaluating), (root, inference)])[-1]
    assert ORIGIN not in log, "the package's description does not apply to weights that were trained here"
    assert (root / "eval" / "scores.csv").is_file()
    with pytest.raises(ValueError, match=r"us_dense_seg: models/model\.(json|pt) was changed: its sha256 must be"):
        verify(root, info)


def test_a_package_trains_evaluates_and_infers_beside_its_folder_and_elsewhere(
    packages: Packages, data: Path, tmp_path: Path
) -> None:
    steps, places = [], (tmp_path / "beside", tmp_path / "elsewhere")
    own, images = tmp_path / "own.pt", str(data / "labels" / "images")
    trained = torch.load(packages.models / "us_dense_seg" / "model.pt")
    torch.save({name: value + 0.01 for name, value in trained.items()}, own)
    roots = [packages.unzip("us_dense_seg", places[0]), packages.unzip("us_dense_seg", tmp_path / "bundles")]
    places[1].mkdir()
    for root, folder in zip(roots, places, strict=True):
        where = os.path.relpath(root, folder)
        files = {step: f"{where}/configs/{step}.json" for step in ("train", "evaluate", "inference")}
        both = str([files["train"], files["evaluate"]])
        words = ["--bundle_root", where, "--dataset_dir", str(data / "labels")]
        infer = ["--bundle_root", where, "--dataset_dir", images, "--output_dir", "out", "--weights", str(own)]
        steps += [
            (folder, ["training", "--config_file", files["train"], *words, "--epochs", "1"]),
            (folder, ["evaluating", "--config_file", both, *words]),
            (folder, ["--config_file", files["inference"], *infer]),
        ]
    logs = run_steps(steps)
    assert ORIGIN not in "".join(logs), "it does not apply to weights that were trained here, nor to one's own"
    for root, folder in zip(roots, places, strict=True):
        written = {path.name for path in folder.iterdir()} - {"us_dense_seg"}
        assert written == {"out"}, "all other files are written to the bundle's folder"
        assert (root / "eval" / "scores.csv").is_file() and list((folder / "out").glob("*_mask.png"))


def test_every_package_infers_from_elsewhere_with_its_own_scripts(
    packages: Packages, data: Path, tmp_path: Path
) -> None:
    """All in one process, in which the modules of the bundle before are forgotten."""
    steps = []
    for name in TINY:
        config = str(packages.unpacked / name / "configs" / "inference.json")
        words = ["--bundle_root", str(packages.unpacked / name), "--dataset_dir", str(scans(name, data))]
        steps.append((tmp_path, ["inference", "--config_file", config, *words, "--output_dir", str(tmp_path / name)]))
    logs = run_steps(steps)
    for name, log in zip(TINY, logs, strict=True):
        assert log.endswith(f"scripts of {packages.unpacked / name}") and log.count(ORIGIN) == 1
        masks = "*_mask.png" if name.startswith("us_") else "*_mask.nii.gz"
        assert list((tmp_path / name).rglob(masks)), name
        verify(packages.unpacked / name, packages.dist / "model_info.json")


def test_self_learning_runs_from_the_package(packages: Packages, data: Path, tmp_path: Path) -> None:
    root = packages.unpacked / "ct_drsegunet"
    words = ["--bundle_root", str(root), "--dataset_dir", str(data / "mosmed" / "studies"), "--size", "[32,32]"]
    words += ["--ckpt_dir", "models", "--output_dir", "out", "--batch_size", "2"]
    words += ["--levels", "[{'learning_rate': 1e-3, 'epochs': 1, 'frozen': 0}]"]
    run_steps([(tmp_path, ["self_learning", "--config_file", str(root / "configs" / "selflearn.json"), *words])])
    assert (tmp_path / "models" / "model.pt").is_file()
    assert (tmp_path / "out" / "level_1" / "run_training.json").is_file()
