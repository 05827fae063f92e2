"""Packaged bundles run without this repository, are the same bytes whenever they are made, and tell of changes."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import monai.bundle
import numpy as np
import onnxruntime
import pytest
import torch
from conftest import ROOT
from monai.bundle import ConfigParser, ConfigWorkflow
from small_packages import TINY, alone, build, commit_copy, git, write_models

from common.package import build as building
from common.package.archive import SUMS, WEIGHTS, size_without_weights, write_zip
from common.package.build import package
from common.package.verify import verify
from common.package.weights import make_network
from common.phantoms.ct.layouts import write_mosmed, write_radiopaedia
from common.phantoms.ultrasound.layouts import write_pocus, write_semantic_lung

pytestmark = [
    pytest.mark.slow,  # what all share is built for more than ten seconds
    pytest.mark.filterwarnings("ignore:parsing config_file"),
    pytest.mark.filterwarnings("ignore:No hash value provided"),
]
VERSION = "v0.1.0"
TOLD = "These weights: Trained"
MACHINE = re.compile(rb"(?<![\w.:/-])/(?:home|root|Users|tmp|usr|opt|mnt|var)/[\w.]+/")
# Steps by MONAI's command line in one process; between bundles MONAI Label forgets the modules of the one before.
STEPS = """
import importlib.util, json, runpy, sys
for words in json.loads(sys.argv[1]):
    for name in [name for name in sys.modules if name.startswith("scripts")]:
        del sys.modules[name]
    sys.argv = ["monai.bundle", "run", *words]
    runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
    modules = [module for name, module in sys.modules.items() if name.startswith("scripts")]
    print("scripts of", *{module.__file__.partition("/scripts/")[0] for module in modules})
assert importlib.util.find_spec("common") is None and "common" not in sys.modules
"""


class Packages:
    """Folders of the fixture.

    Args:
        root: temporary folder.
    """

    def __init__(self, root: Path) -> None:
        self.models, self.checkout, self.other = root / "models", root / "checkout", root / "a" / "deeper" / "place"
        self.dist, self.again, self.unpacked = root / "dist", root / "again", root / "unpacked"

    def zip(self, bundle: str) -> Path:
        return self.dist / f"{bundle}_{VERSION}.zip"

    def unzip(self, bundle: str, folder: Path) -> Path:
        with zipfile.ZipFile(self.zip(bundle)) as archive:
            archive.extractall(folder)
        return folder / bundle


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """All packages, built twice at the same time: by two processes with different hash seeds, in different folders."""
    made = Packages(tmp_path_factory.mktemp("packages"))
    write_models(made.models)
    commit_copy(made.checkout)
    git(made.checkout.parent, "clone", "--quiet", str(made.checkout), str(made.other))
    second = threading.Thread(target=build, args=(made.other, made.models, made.again, "1"))
    second.start()
    build(made.checkout, made.models, made.dist, "0")
    second.join()
    for bundle in TINY:
        made.unzip(bundle, made.unpacked)
    return made


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small phantoms, laid out as files of patients."""
    root = tmp_path_factory.mktemp("data")
    write_radiopaedia(root / "radiopaedia", patients=5, size=(64, 64), slices=6)
    write_mosmed(root / "mosmed", patients=4, size=(64, 64), slices=6)
    write_semantic_lung(root / "labels", patients=4, images=2, size=(64, 64))
    write_pocus(root / "pocus", patients=9, clips=1, seconds=1.0, rate=4.0, size=(64, 64))
    return root


def training_data(bundle: str, data: Path) -> dict[str, str]:
    """Settings that let a bundle train on the small phantoms."""
    if bundle.startswith("us_"):
        return {"dataset_dir": str(data / ("labels" if bundle == "us_dense_seg" else "pocus"))}
    if bundle == "mosmed_encoders":
        return {"dataset_dir": str(data / "mosmed"), "weights": "none"}
    source = {} if bundle == "ct_drsegunet" else {"source": "radiopaedia"}
    return {"dataset_dir": str(data / "radiopaedia"), **source}


def scans(bundle: str, data: Path) -> Path:
    return data / "labels" / "images" if bundle.startswith("us_") else data / "radiopaedia" / "rp_im"


@pytest.fixture
def bundle(request: pytest.FixtureRequest, packages: Packages, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An unpacked bundle whose scripts Python finds, as in its folder; forgotten afterwards."""
    root = packages.unpacked / request.param
    monkeypatch.syspath_prepend(root)
    yield root
    forget_scripts()


def forget_scripts() -> None:
    for name in [name for name in sys.modules if name.startswith("scripts")]:
        del sys.modules[name]


each = pytest.mark.parametrize("bundle", list(TINY), indirect=True)


def files_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {entry.filename.partition("/")[2]: archive.read(entry) for entry in archive.infolist()}


def run(command: list[str], folder: Path) -> str:
    """Output and log of a command that must succeed, in an environment that knows nothing of this repository."""
    done = subprocess.run(command, cwd=folder, env=alone(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


def run_steps(steps: list[list[str]], folder: Path) -> str:
    return run([sys.executable, "-c", STEPS, json.dumps(steps)], folder)


def test_the_same_commit_and_weights_give_the_same_bytes_in_any_process_and_folder(packages: Packages) -> None:
    names = sorted(path.name for path in packages.dist.iterdir())
    assert names == sorted([*(f"{bundle}_{VERSION}.zip" for bundle in TINY), "model_info.json"])
    assert [name for name in names if (packages.dist / name).read_bytes() != (packages.again / name).read_bytes()] == []


@pytest.mark.parametrize("name", TINY)
def test_a_package_tells_no_machine_and_needs_nothing_of_this_repository(packages: Packages, name: str) -> None:
    files = files_of(packages.zip(name))
    own = [str(place).encode() for place in (ROOT, Path.home(), packages.checkout.parent, sys.prefix)]
    for weights in [file for file in files if file.endswith(WEIGHTS)]:
        with zipfile.ZipFile(io.BytesIO(files.pop(weights))) as archive:  # as torch writes them
            files |= {f"{weights}/{entry}": archive.read(entry) for entry in archive.namelist()}
    for file, content in files.items():
        assert not any(place in content for place in own) and not MACHINE.search(content), file
    configs = {file: content.decode() for file, content in files.items() if re.match(r"configs/.*\.json", file)}
    assert {f"configs/{step}.json" for step in ("train", "evaluate", "inference", "metadata")} <= configs.keys()
    del configs["configs/metadata.json"]  # tells the command of the training, which was the repository's
    assert [file for file, text in configs.items() if re.search(r"\bcommon\.|\.yaml|bundles/", text)] == []
    targets = set(re.findall(r'"scripts\.([\w.]+)"', "".join(configs.values())))
    assert len(targets) > 10
    for target in targets:
        module = f"scripts/{target.rpartition('.')[0].replace('.', '/')}"
        found = files.get(f"{module}.py") or files[f"{module}/__init__.py"]
        assert re.search(rf"\b{target.rpartition('.')[2]}\b", found.decode()), target


@pytest.mark.parametrize("name", TINY)
def test_metadata_name_every_package_that_scripts_import(packages: Packages, name: str) -> None:
    files = files_of(packages.zip(name))
    imported = set()
    for file, content in files.items():
        for node in ast.parse(content).body if file.endswith(".py") else []:
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(str(node.module).partition(".")[0])
    called = {"skimage": "scikit-image", "PIL": "pillow", "ignite": "pytorch-ignite", "sklearn": "scikit-learn"}
    needed = {called.get(module, module) for module in imported - sys.stdlib_module_names}
    named = json.loads(files["configs/metadata.json"])["required_packages_version"]
    assert needed - {"monai", "torch", "numpy"} <= named.keys()


@pytest.mark.parametrize("name", TINY)
def test_what_is_not_weights_takes_less_than_200_kb(packages: Packages, name: str) -> None:
    with zipfile.ZipFile(packages.zip(name)) as archive:
        models = [entry for entry in archive.infolist() if entry.filename.startswith(f"{name}/models/")]
    weights = sum(entry.compress_size for entry in models)
    assert packages.zip(name).stat().st_size - weights == size_without_weights(packages.zip(name)) < 200_000


def test_the_page_says_what_the_weights_are_and_its_commands_are_of_the_folder(packages: Packages) -> None:
    page = (packages.unpacked / "us_dense_seg" / "docs" / "README.md").read_text()
    metadata = json.loads((packages.unpacked / "us_dense_seg" / "configs" / "metadata.json").read_text())
    weights = metadata["weights"]
    assert page.startswith("---\nlicense: apache-2.0\nlibrary_name: monai\ntags:\n- monai\n")
    assert "on synthetic patients (phantoms), not from scans of people: for trying out" in weights["origin"]
    assert f"> **Weights:** {weights['origin']}\n" in page and "`size` [48, 64], `filters` 4" in page
    assert weights["settings"] == {"size": [48, 64], "filters": 4}
    head = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=packages.checkout, text=True)
    assert weights["commit"] == head.strip()
    assert weights["sha256"] == hashlib.sha256((packages.models / "us_dense_seg" / "model.pt").read_bytes()).hexdigest()
    assert weights["command"].endswith("--filters 4 --ckpt_dir us_dense_seg"), "a folder's name is all that is left"
    assert "](../" not in page and ".yaml" not in page and "bundles/" not in page and "make venv" not in page


@each
def test_monai_verifies_metadata_network_and_properties(
    bundle: Path, real_data: Callable[[str], Path], data: Path, tmp_path: Path
) -> None:
    configs = bundle / "configs"
    files = {"config_file": str(configs / "inference.json"), "meta_file": str(configs / "metadata.json")}
    monai.bundle.verify_net_in_out("network_def", device="cpu", **files)
    places = {"bundle_root": str(bundle), "output_dir": str(tmp_path)}
    training = {**training_data(bundle.name, data), "ckpt_dir": str(tmp_path)}
    inference = {"dataset_dir": str(scans(bundle.name, data))}
    for config, kind, words in (("train", "train", training), ("inference", "infer", inference)):
        file = str(configs / f"{config}.json")
        workflow = monai.bundle.create_workflow(config_file=file, workflow_type=kind, **places, **words)
        assert isinstance(workflow, ConfigWorkflow) and workflow.check_properties() == []
    schema = real_data("meta_schema_20240725.json")
    monai.bundle.verify_metadata(meta_file=files["meta_file"], filepath=shutil.copy(schema, tmp_path / "schema.json"))


@each
def test_networks_load_in_python_and_export_to_torchscript_and_onnx(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every export gives what the network gives, TorchScript at another size than its own too."""
    monkeypatch.chdir(bundle)  # as in the commands of docs/packages.md
    metadata = json.loads(Path("configs/metadata.json").read_text())
    image, pred = (metadata["network_data_format"][key] for key in ("inputs", "outputs"))
    shape = (1, image["image"]["num_channels"], *image["image"]["spatial_shape"])
    network = monai.bundle.load(bundle.name, bundle_dir="..", workflow_type="inference", device="cpu").eval()
    assert type(network).__module__.startswith("scripts.")
    weights = torch.load("models/model.pt", weights_only=True)
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())

    files: dict[str, Any] = {"config_file": "configs/inference.json", "ckpt_file": "models/model.pt"}
    script, onnx = str(tmp_path / "exported.ts"), str(tmp_path / "model.onnx")
    monai.bundle.ckpt_export("network_def", filepath=script, meta_file="configs/metadata.json", **files)
    monai.bundle.onnx_export("network_def", filepath=onnx, meta_file="configs/metadata.json", **files)
    packaged, told, _ = monai.bundle.load(bundle.name, bundle_dir="..", load_ts_module=True, device="cpu")
    assert told["weights"] == metadata["weights"], "model.ts holds the metadata"
    exported = torch.jit.load(script)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for size in (shape[2:], (96, 128)):
            x = torch.rand(2 if size == (96, 128) else 1, shape[1], *size, generator=generator)
            wanted = network(x)
            assert wanted.shape[1] == pred["pred"]["num_channels"]
            close = {"rtol": 1e-3, "atol": 1e-3 * float(wanted.std())}
            for found in (packaged(x), exported(x)):
                torch.testing.assert_close(found, wanted, **close)
            if size == shape[2:]:
                session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
                (given,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
                np.testing.assert_allclose(given, wanted.numpy(), **close)


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
    """The commands of its page, as they stand there."""
    name = "us_dense_seg"
    words = ["--name", name, "--url", f"{site}/{name}_{VERSION}.zip", "--bundle_dir", "."]
    run([sys.executable, "-m", "monai.bundle", "download", *words], tmp_path)
    root, info = tmp_path / name, packages.dist / "model_info.json"
    for path in (tmp_path / f"{name}.zip", root):  # so MONAI calls what it has downloaded
        files = len(files_of(packages.zip(name))) - 1
        assert verify(path, info) == f"{path}: {files} files as {info} has them of {name}_{VERSION}."

    page = (root / "docs" / "README.md").read_text()
    commands = re.findall(r"^python -m monai\.bundle run .*", page.replace("$C/", "configs/"), re.MULTILINE)
    inference, training, evaluating = commands[0], *commands[2:4]
    assert [command.split()[4] for command in (training, evaluating)] == ["training", "evaluating"]
    runs = {}
    for step, command in enumerate((inference, training, evaluating, inference)):
        small = {
            "/data/scans": data / "labels" / "images",
            "/data/semantic_lung": data / "labels",
            " out": f" out{step}",
        }
        for given, here in small.items():
            command = command.replace(given, str(here))
        command = command.replace("python", sys.executable, 1) + (" --epochs 1" if step == 1 else "")
        runs[step] = run(["bash", "-c", command], root)
        if step == 0:  # inference changes nothing of the package
            assert verify(root, info).endswith(f"has them of {name}_{VERSION}.")
    assert len(list((root / "out0").glob("*_mask.png"))) == len(list((data / "labels" / "images").iterdir()))
    assert TOLD in runs[0], "weights of phantoms are said so"
    assert TOLD not in runs[3], "what was trained here is not what the package tells of"
    assert (root / "eval" / "scores.csv").is_file()
    with pytest.raises(ValueError, match=r"us_dense_seg: models/model\.pt was changed: its sha256 must be"):
        verify(root, info)


@pytest.mark.parametrize("place", ["beside", "elsewhere"])
def test_a_package_trains_evaluates_and_infers_beside_its_folder_and_elsewhere(
    packages: Packages, data: Path, tmp_path: Path, place: str
) -> None:
    root, folder = packages.unzip("us_dense_seg", tmp_path / "bundles"), tmp_path / "bundles"
    if place == "elsewhere":
        folder = tmp_path / "home"
        folder.mkdir()
    where = os.path.relpath(root, folder)
    own = tmp_path / "own.pt"
    torch.save({name: value + 0.01 for name, value in torch.load(root / "models" / "model.pt").items()}, own)
    files = {step: f"{where}/configs/{step}.json" for step in ("train", "evaluate", "inference")}
    both, pictures = str([files["train"], files["evaluate"]]), str(data / "labels" / "images")
    words = ["--bundle_root", where, "--dataset_dir", str(data / "labels")]
    infer = ["--config_file", files["inference"], "--bundle_root", where, "--dataset_dir", pictures, "--output_dir"]
    log = run_steps(
        [
            ["training", "--config_file", files["train"], *words, "--epochs", "1"],
            ["evaluating", "--config_file", both, *words],
            [*infer, "out", "--weights", str(own)],
        ],
        folder,
    )
    assert TOLD not in log, "neither the weights that were trained here nor one's own are those of the package"
    assert {path.name for path in folder.iterdir()} - {"us_dense_seg"} == {"out"}, (
        "all else stays in the bundle's folder"
    )
    assert (root / "eval" / "scores.csv").is_file() and len(list((folder / "out").glob("*_mask.png"))) > 0


def test_every_package_infers_from_elsewhere_with_its_own_scripts(
    packages: Packages, data: Path, tmp_path: Path
) -> None:
    """All in one process, in which the modules of the bundle before are forgotten."""
    steps = []
    for name in TINY:
        config = str(packages.unpacked / name / "configs" / "inference.json")
        words = ["--bundle_root", str(packages.unpacked / name), "--dataset_dir", str(scans(name, data))]
        steps.append(["inference", "--config_file", config, *words, "--output_dir", str(tmp_path / name)])
    log = run_steps(steps, tmp_path)
    assert re.findall(r"^scripts of (.*)", log, re.MULTILINE) == [str(packages.unpacked / name) for name in TINY]
    assert log.count(TOLD) == len(TINY)
    for name in TINY:
        masks = "*_mask.png" if name.startswith("us_") else "*_mask.nii.gz"
        assert list((tmp_path / name).rglob(masks)), name
        verify(packages.unpacked / name, packages.dist / "model_info.json")


def test_self_learning_runs_from_the_package(packages: Packages, data: Path, tmp_path: Path) -> None:
    root = packages.unpacked / "ct_drsegunet"
    words = ["--bundle_root", str(root), "--dataset_dir", str(data / "mosmed" / "studies"), "--size", "[32,32]"]
    words += ["--ckpt_dir", "models", "--output_dir", "out", "--batch_size", "2"]
    words += ["--levels", "[{'learning_rate': 1e-3, 'epochs': 1, 'frozen': 0}]"]
    run_steps([["self_learning", "--config_file", str(root / "configs" / "selflearn.json"), *words]], tmp_path)
    assert (tmp_path / "models" / "model.pt").is_file()
    assert (tmp_path / "out" / "level_1" / "run_training.json").is_file()


def refused(
    models: Path, message: str, bundle: str = "us_dense_seg", error: type[Exception] = ValueError, **words: Any
) -> None:
    """Packaging fails and leaves nothing."""
    words = {"allow_dirty": True, **words}
    with pytest.raises(error, match=message):
        package(bundle, models / "dist", models, **words)
    assert not list((models / "dist").glob("*"))


def test_a_package_needs_a_known_bundle_weights_and_the_record_of_their_training(
    packages: Packages, tmp_path: Path
) -> None:
    refused(
        tmp_path, r"No bundle 'us_dense'\. There are ct_drsegunet, .*; all takes each", "us_dense", FileNotFoundError
    )
    refused(tmp_path, r"us_dense_seg: no weights at .*model\.pt\. Train it \(python -m", error=FileNotFoundError)
    (tmp_path / "us_dense_seg").mkdir()
    for name, missing in (("model.pt", "run_training.json"), ("run_training.json", "config_training.json")):
        shutil.copy(packages.models / "us_dense_seg" / name, tmp_path / "us_dense_seg")
        refused(tmp_path, f"with the record of their training, but .* has no {missing} for .*", error=FileNotFoundError)


def test_a_package_needs_weights_that_fit_their_record(packages: Packages, tmp_path: Path) -> None:
    models = Path(shutil.copytree(packages.models / "us_dense_seg", tmp_path / "us_dense_seg"))
    shutil.copy(packages.models / "us_reverse_transfer" / "model.pt", models)
    refused(
        tmp_path, r"every weight must fit UNet; 0 of 46 do.*Its record says: size \[48, 64\], filters 4\. Package the"
    )


def test_a_package_needs_a_network_that_gives_what_metadata_say(packages: Packages, tmp_path: Path) -> None:
    models = Path(shutil.copytree(packages.models / "ct_weak_gan", tmp_path / "ct_weak_gan"))
    trained = json.loads((models / "config_training.json").read_text()) | {"method": "cam"}
    (models / "config_training.json").write_text(json.dumps(trained))
    torch.save(weights_of("ct_weak_gan", trained), models / "model.pt")
    message = r"metadata\.json says, \(2, 64, 64\) of normal version, lesion; got \(2,\) with .*method cam"
    refused(tmp_path, message, "ct_weak_gan")


def test_other_classes_stand_in_the_metadata_of_the_package(packages: Packages, tmp_path: Path) -> None:
    models = Path(shutil.copytree(packages.models / "us_dense_seg", tmp_path / "us_dense_seg"))
    trained = json.loads((models / "config_training.json").read_text()) | {"labels": "sparse"}
    (models / "config_training.json").write_text(json.dumps(trained))
    torch.save(weights_of("us_dense_seg", trained), models / "model.pt")
    files = files_of(package("us_dense_seg", tmp_path / "dist", tmp_path, allow_dirty=True))
    metadata, inference, train = (
        json.loads(files[f"configs/{name}.json"]) for name in ("metadata", "inference", "train")
    )
    pred = metadata["network_data_format"]["outputs"]["pred"]
    assert pred["channel_def"] == {"0": "A-line", "1": "B-line", "2": "pleural line", "3": "background"}
    assert pred["num_channels"] == 4 and inference["labels"] == train["labels"] == "sparse"


def weights_of(bundle: str, trained: dict[str, Any]) -> dict[str, torch.Tensor]:
    config = ConfigParser.load_config_file(ROOT / "bundles" / bundle / "configs" / "inference.yaml")
    return make_network({key: trained.get(key, value) for key, value in config.items()}).state_dict()


def test_data_of_people_are_named_or_the_package_is_refused(packages: Packages, tmp_path: Path) -> None:
    models = Path(shutil.copytree(packages.models / "us_dense_seg", tmp_path / "us_dense_seg"))
    trained = json.loads((models / "config_training.json").read_text()) | {"dataset_dir": "/data/clinic"}
    (models / "config_training.json").write_text(json.dumps(trained))
    refused(tmp_path, "Weights go out with the name of their data, and a folder's name is none. Give --data, such as")
    files = files_of(package("us_dense_seg", tmp_path / "dist", tmp_path, data="Clinic, 9 patients", allow_dirty=True))
    origin = json.loads(files["configs/metadata.json"])["weights"]["origin"]
    assert re.fullmatch(r"Trained \d{4}-\d\d-\d\d on Clinic, 9 patients\.", origin)
    told = json.loads(files["configs/inference.json"])["initialize"][-1]
    assert told["origin"] == origin and told["warn"] is False, "no warning where no phantoms were"
    assert not [name for name, content in files.items() if b"/data/clinic" in content]


def test_a_package_needs_committed_files_and_a_version_in_the_changelog(
    packages: Packages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = tmp_path / "checkout"
    git(tmp_path, "clone", "--quiet", str(packages.checkout), str(checkout))
    monkeypatch.setattr(building, "ROOT", checkout)
    Path(shutil.copytree(packages.models / "us_dense_seg", tmp_path / "us_dense_seg"))
    (checkout / "README.md").write_text("Not packaged, so it may differ.\n")
    package("us_dense_seg", tmp_path / "fine", tmp_path)
    added, config = (
        checkout / "common" / "added.py",
        checkout / "bundles" / "us_dense_seg" / "configs" / "metadata.json",
    )
    added.touch()
    refused(tmp_path, r"made of committed files, but common/added\.py differ\. Commit them, or add", allow_dirty=False)
    added.unlink()
    config.write_text(config.read_text().replace('"version": "0.1.0"', '"version": "0.2.0"'))
    refused(
        tmp_path, r"us_dense_seg: version 0\.2\.0 of metadata\.json must be in its changelog, which has 0\.1\.0\. Say"
    )
    shutil.rmtree(checkout / ".git")
    config.write_text(config.read_text().replace('"version": "0.2.0"', '"version": "0.1.0"'))
    refused(
        tmp_path, "names its commit, but this is no git checkout. Clone it, or add --allow_dirty", allow_dirty=False
    )


def changed_weight(files: dict[str, bytes]) -> dict[str, bytes]:
    weights = bytearray(files["models/model.pt"])
    weights[len(weights) // 2] ^= 1
    return {**files, "models/model.pt": bytes(weights)}


def rewritten(path: Path, files: dict[str, bytes], more: Sequence[tuple[zipfile.ZipInfo, bytes]] = ()) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"us_dense_seg/{name}", content)
        for entry, content in more:
            archive.writestr(entry, content)


@pytest.fixture
def downloaded(packages: Packages, tmp_path: Path) -> Path:
    return Path(shutil.copy(packages.zip("us_dense_seg"), tmp_path))


def test_a_changed_missing_or_added_file_is_named(downloaded: Path) -> None:
    files = files_of(downloaded)
    missing = {name: content for name, content in files.items() if name != "scripts/run.py"}
    for tampered, message in (
        (changed_weight(files), r"models/model\.pt was changed: its sha256 must be \w{64}, got \w{64}\. Download it"),
        (missing, r"scripts/run\.py is missing\. Download it again"),
        (
            {**files, "scripts/more.py": b""},
            r"scripts/more\.py is not of the package\. Download it again, and run nothing",
        ),
        ({name: files[name] for name in missing if name != SUMS}, f"a package holds {SUMS}, this one does not"),
        ({**files, SUMS: b"\xff"}, "a line is a sha256, two blanks and a file, got"),
    ):
        rewritten(downloaded, tampered)
        with pytest.raises(ValueError, match=message):
            verify(downloaded)


def test_whoever_writes_the_list_of_hashes_anew_is_found_by_the_publishers(
    packages: Packages, downloaded: Path
) -> None:
    info = packages.dist / "model_info.json"
    files = changed_weight({name: content for name, content in files_of(downloaded).items() if name != SUMS})
    write_zip(downloaded, "us_dense_seg", files)
    assert f"as in its own {SUMS}. Whether that list is the publisher's, only" in verify(downloaded)
    with pytest.raises(ValueError, match=r"models/model\.pt was changed"):
        verify(downloaded, info)
    shutil.copy(info, downloaded.parent)
    with pytest.raises(ValueError, match=r"models/model\.pt was changed"):
        verify(downloaded)
    rewritten(downloaded, files_of(packages.zip("us_dense_seg")))
    with pytest.raises(ValueError, match=r"v0\.1\.0\.zip: sha256 must be \w{64}, as .*model_info\.json says"):
        verify(downloaded)
    others = json.loads(info.read_text())
    del others[downloaded.stem]
    (downloaded.parent / info.name).write_text(json.dumps(others))
    with pytest.raises(
        ValueError, match=r"configs/metadata\.json is that of no package in .*, which has ct_drsegunet_v0"
    ):
        verify(downloaded)
    with pytest.raises(FileNotFoundError, match=r"No model_info\.json at none\.json\. Download it from where"):
        verify(downloaded, "none.json")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("us_dense_seg/../../evil.py", r"us_dense_seg/\.\./\.\./evil\.py leaves the folder\. Do not unpack"),
        ("us_dense_seg\\..\\..\\evil.py", r"evil\.py leaves the folder"),
        ("/etc/evil", "/etc/evil is an absolute path. Do not unpack"),
        ("C:\\evil.py", r"C:\\evil\.py is an absolute path"),
        ("\\\\server\\evil.py", "is an absolute path"),
        ("other/evil.py", "all files must lie in one folder, got other, us_dense_seg"),
        (".", "all files must lie in one folder, got , us_dense_seg"),
        ("us_dense_seg/scripts/run.py", r"us_dense_seg/scripts/run\.py is there twice"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_that_would_write_elsewhere_or_twice_is_refused(downloaded: Path, name: str, message: str) -> None:
    entry = zipfile.ZipInfo("x")
    entry.filename = name
    rewritten(downloaded, files_of(downloaded), [(entry, b"evil")])
    with pytest.raises(ValueError, match=message):
        verify(downloaded)


def test_links_are_refused_in_a_zip_and_in_a_folder(packages: Packages, downloaded: Path, tmp_path: Path) -> None:
    entry = zipfile.ZipInfo("us_dense_seg/scripts/link.py")
    entry.create_system, entry.external_attr = 3, 0o120777 << 16
    rewritten(downloaded, files_of(downloaded), [(entry, b"/etc/passwd")])
    with pytest.raises(ValueError, match=r"us_dense_seg/scripts/link\.py is a symbolic link\. Do not unpack this file"):
        verify(downloaded)
    root = packages.unzip("us_dense_seg", tmp_path)
    (root / "scripts" / "link.py").symlink_to(downloaded)
    with pytest.raises(ValueError, match=r"scripts/link\.py is a symbolic link\. Unpack the package again"):
        verify(root)


def test_half_a_package_is_refused(downloaded: Path) -> None:
    content = downloaded.read_bytes()
    downloaded.write_bytes(content[: len(content) // 2])
    with pytest.raises(
        ValueError, match=r"a package must be a zip, got something else or a part of one\. Download it again"
    ):
        verify(downloaded)
    start = content.index(b"PK\x03\x04", 1)
    downloaded.write_bytes(content[: start - 40] + bytes(40) + content[start:])
    with pytest.raises(ValueError, match=r"us_dense_seg/LICENSE is damaged: .*\. Download it again"):
        verify(downloaded)


@pytest.mark.parametrize("name", ["scripts/more.py", "configs/more.json", "torch.py", "monai/__init__.py"])
def test_a_folder_with_a_file_more_that_would_run_is_refused(packages: Packages, tmp_path: Path, name: str) -> None:
    root = packages.unzip("us_dense_seg", tmp_path)
    (root / "eval").mkdir()
    (root / "eval" / "scores.csv").touch()
    assert "files as in its own" in verify(root)
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).touch()
    with pytest.raises(ValueError, match=f"{re.escape(name)} is not of the package"):
        verify(root)
