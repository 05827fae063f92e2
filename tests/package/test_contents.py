"""A package is complete, small, and names no machine; its networks load and export."""

from __future__ import annotations

import ast
import hashlib
import importlib
import io
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import monai.bundle
import numpy as np
import onnxruntime
import pytest
import torch
from conftest import ROOT
from monai.bundle import ConfigWorkflow
from small_packages import TINY, Packages, files_of, scans, training_data

from common import load
from common.package.archive import WEIGHTS, size_without_weights

pytest_plugins = ["package_fixtures"]
pytestmark = [
    pytest.mark.slow,  # the packages are built for more than ten seconds
    pytest.mark.filterwarnings("ignore:parsing config_file"),
    pytest.mark.filterwarnings("ignore:No hash value provided"),
]

MACHINE = re.compile(rb"(?<![\w.:/-])/(?:home|root|Users|tmp|usr|opt|mnt|var)/[\w.]+/")

each = pytest.mark.parametrize("bundle", list(TINY), indirect=True)


@pytest.mark.parametrize("name", TINY)
def test_a_package_names_no_machine_and_needs_nothing_of_this_repository(packages: Packages, name: str) -> None:
    files = files_of(packages.zip(name))
    own = [str(place).encode() for place in (ROOT, Path.home(), packages.checkout.parent, sys.prefix)]
    for weights in [file for file in files if file.endswith(WEIGHTS)]:
        with zipfile.ZipFile(io.BytesIO(files.pop(weights))) as archive:  # as torch writes them
            files |= {f"{weights}/{entry}": archive.read(entry) for entry in archive.namelist()}
    for file, content in files.items():
        assert not any(place in content for place in own) and not MACHINE.search(content), file
    configs = {file: content.decode() for file, content in files.items() if re.match(r"configs/.*\.json", file)}
    assert {f"configs/{step}.json" for step in ("train", "evaluate", "inference", "metadata")} <= configs.keys()
    del configs["configs/metadata.json"]  # holds the command of the training, which ran in the repository
    assert [file for file, text in configs.items() if re.search(r"\bcommon\.|\.yaml|bundles/", text)] == []
    targets = set(re.findall(r'"scripts\.([\w.]+)"', "".join(configs.values())))
    assert len(targets) > 10
    for target in targets:
        module = f"scripts/{target.rpartition('.')[0].replace('.', '/')}"
        found = files.get(f"{module}.py") or files[f"{module}/__init__.py"]
        assert re.search(rf"\b{target.rpartition('.')[2]}\b", found.decode()), target


@pytest.mark.parametrize("name", TINY)
def test_ct_packages_hold_no_ultrasound_code_and_ultrasound_packages_no_ct_code(packages: Packages, name: str) -> None:
    scripts = [file for file in files_of(packages.zip(name)) if file.startswith("scripts/")]
    other = r"/ct\b|lung_mask|severity" if name.startswith("us_") else "ultrasound|frame"
    assert len(scripts) > 10
    assert [file for file in scripts if re.search(other, file)] == []


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
def test_a_package_without_its_weights_is_smaller_than_400_kb(packages: Packages, name: str) -> None:
    with zipfile.ZipFile(packages.zip(name)) as archive:
        models = [entry for entry in archive.infolist() if entry.filename.endswith((".pt", ".ts"))]
    weights = sum(entry.compress_size for entry in models)
    lungs = [entry.file_size for entry in models if entry.filename.endswith("scripts/lung_network/lungs.pt")]
    assert all(size < 1.4e6 for size in lungs) and len(lungs) == int(name.startswith(("ct_", "mosmed")))
    assert packages.zip(name).stat().st_size - weights == size_without_weights(packages.zip(name)) < 400_000


def test_the_page_describes_the_weights_and_its_commands_run_in_the_folder(packages: Packages) -> None:
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


def test_a_package_holds_the_record_of_its_weights_without_names_of_patients(packages: Packages) -> None:
    for name, settings in TINY.items():
        files = files_of(packages.zip(name))
        record = json.loads(files["models/model.json"])
        assert record["sha256"] == hashlib.sha256(files["models/model.pt"]).hexdigest()
        assert record["settings"]["size"] == settings["size"] and record["data"]["training"]
        assert not [path for path, content in files.items() if b"Jane" in content]


@each
def test_monai_verifies_metadata_network_and_properties(bundle: Path, data: Path, tmp_path: Path) -> None:
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
    schema = ROOT / "tests" / "data" / "meta_schema_20240725.json"
    monai.bundle.verify_metadata(meta_file=files["meta_file"], filepath=shutil.copy(schema, tmp_path / "schema.json"))


@each
def test_a_notebook_loads_a_package_through_its_scripts(bundle: Path, data: Path) -> None:
    path = sorted(path for path in scans(bundle.name, data).rglob("*.*"))[0]
    found = importlib.import_module("scripts").load(bundle)(path)
    expected = load(ROOT / "bundles" / bundle.name, bundle / "models" / "model.pt")(path)
    assert set(np.unique(found.mask)) <= {0, *found.classes.values()} and len(np.unique(found.mask)) > 1
    np.testing.assert_array_equal(found.mask, expected.mask)
    assert found.volumes == expected.volumes


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
    packaged, packaged_metadata, _ = monai.bundle.load(bundle.name, bundle_dir="..", load_ts_module=True, device="cpu")
    assert packaged_metadata["weights"] == metadata["weights"], "model.ts holds the metadata"
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
