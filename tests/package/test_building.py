"""A package is built from committed files and weights with their record, as the same bytes each time."""

from __future__ import annotations

import io
import itertools
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT
from monai.bundle import ConfigParser
from small_packages import TINY, VERSION, Packages, build, files_of, git

from common.package import build as building
from common.package.build import package
from common.package.weights import make_network
from common.run.model_record import save_weights

pytest_plugins = ["package_fixtures"]
pytestmark = [
    pytest.mark.slow,  # the packages are built for more than ten seconds
    pytest.mark.filterwarnings("ignore:parsing config_file"),
    pytest.mark.filterwarnings("ignore:No hash value provided"),
]


def test_the_same_commit_and_weights_give_the_same_bytes_in_any_process_and_folder(
    packages: Packages, tmp_path: Path
) -> None:
    other, again = tmp_path / "a" / "deeper" / "place", tmp_path / "again"
    git(tmp_path, "clone", "--quiet", str(packages.checkout), str(other))
    build(other, packages.models, again, hash_seed="1")  # the packages of all tests were built with the seed 0
    names = sorted(path.name for path in packages.dist.iterdir())
    assert names == sorted([*(f"{bundle}_{VERSION}.zip" for bundle in TINY), "model_info.json"])
    assert [name for name in names if (packages.dist / name).read_bytes() != (again / name).read_bytes()] == []


def refused(
    models: Path, message: str, bundle: str = "us_dense_seg", error: type[Exception] = ValueError, **words: Any
) -> None:
    """Packaging fails and writes nothing."""
    words = {"allow_dirty": True, **words}
    with pytest.raises(error, match=message):
        package(bundle, models / "dist", models, **words)
    assert not list((models / "dist").glob("*"))


def test_a_package_needs_a_known_bundle_weights_and_the_record_of_their_training(
    packages: Packages, tmp_path: Path
) -> None:
    refused(
        tmp_path,
        r"No bundle 'us_dense'\. There are ct_drsegunet, .*, or all of them: all",
        "us_dense",
        FileNotFoundError,
    )
    refused(
        tmp_path,
        r"us_dense_seg: no weights at .*model\.pt\. Train the bundle first \(python -m",
        error=FileNotFoundError,
    )
    (tmp_path / "us_dense_seg").mkdir()
    names = ["model.pt", "model.json", "run_training.json", "config_training.json"]
    for name, missing in itertools.pairwise(names):
        shutil.copy(packages.models / "us_dense_seg" / name, tmp_path / "us_dense_seg")
        refused(tmp_path, f"are packaged with the.* record.*, but .* has no {missing}", error=FileNotFoundError)


def test_the_weights_that_come_with_a_bundle_are_packaged_with_their_card(tmp_path: Path) -> None:
    card = json.loads((ROOT / "bundles" / "ct_drsegunet" / "models" / "model.json").read_text())["card"]
    files = files_of(package("ct_drsegunet", tmp_path, allow_dirty=True))
    metadata = json.loads(files["configs/metadata.json"])
    assert card["data"] in metadata["weights"]["origin"] and metadata["weights"]["licence"] == card["licence"]
    image = metadata["network_data_format"]["inputs"]["image"]
    assert image["spatial_shape"] == [352, 352] and len(metadata["eval_metrics"]) == 3
    page = files["docs/README.md"].decode()
    assert page.startswith("---\nlicense: other\n") and card["licence"] in page
    network = torch.jit.load(io.BytesIO(files["models/model.ts"]))
    assert network(torch.zeros(1, 1, 352, 352)).shape == (1, 3, 352, 352)


def test_a_package_needs_weights_that_fit_their_record(packages: Packages, tmp_path: Path) -> None:
    models = Path(shutil.copytree(packages.models / "us_dense_seg", tmp_path / "us_dense_seg"))
    settings = json.loads((models / "model.json").read_text())["settings"]
    other = torch.load(packages.models / "us_reverse_transfer" / "model.pt", weights_only=True)
    save_weights(other, models / "model.pt", {"settings": settings})
    refused(
        tmp_path, r"every weight must fit UNet; 0 of 46 do.*Its record says: size \[48, 64\], filters 4\. Package the"
    )


def test_a_package_needs_a_network_whose_output_is_that_of_its_metadata(packages: Packages, tmp_path: Path) -> None:
    models = Path(shutil.copytree(packages.models / "ct_weak_gan", tmp_path / "ct_weak_gan"))
    settings = json.loads((models / "model.json").read_text())["settings"] | {"method": "cam"}
    save_weights(weights_of("ct_weak_gan", settings), models / "model.pt", {"settings": settings})
    message = r"as in metadata\.json, \(2, 64, 64\) of normal version, lesion; got \(2,\) with .*method cam"
    refused(tmp_path, message, "ct_weak_gan")


def test_metadata_of_a_package_name_the_classes_of_its_weights(packages: Packages, tmp_path: Path) -> None:
    models = Path(shutil.copytree(packages.models / "us_dense_seg", tmp_path / "us_dense_seg"))
    settings = json.loads((models / "model.json").read_text())["settings"] | {"labels": "sparse"}
    save_weights(weights_of("us_dense_seg", settings), models / "model.pt", {"settings": settings})
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


def test_the_data_of_people_must_be_named(packages: Packages, tmp_path: Path) -> None:
    models = Path(shutil.copytree(packages.models / "us_dense_seg", tmp_path / "us_dense_seg"))
    trained = json.loads((models / "config_training.json").read_text()) | {"dataset_dir": "/data/clinic"}
    (models / "config_training.json").write_text(json.dumps(trained))
    refused(
        tmp_path, "packaged with the name of their data, and the name of a folder is not enough. Give --data, such as"
    )
    files = files_of(package("us_dense_seg", tmp_path / "dist", tmp_path, data="Clinic, 9 patients", allow_dirty=True))
    origin = json.loads(files["configs/metadata.json"])["weights"]["origin"]
    assert re.fullmatch(r"Trained \d{4}-\d\d-\d\d on Clinic, 9 patients\.", origin)
    step = json.loads(files["configs/inference.json"])["initialize"][-1]
    assert step["origin"] == origin and step["warn"] is False, "no warning where no phantoms were"
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
    refused(
        tmp_path, r"must hold committed files, but common/added\.py differ\. Commit them, or add", allow_dirty=False
    )
    added.unlink()
    config.write_text(config.read_text().replace('"version": "0.1.0"', '"version": "0.2.0"'))
    refused(
        tmp_path,
        r"us_dense_seg: version 0\.2\.0 of metadata\.json must be in its changelog, which has 0\.1\.0\. Describe",
    )
    shutil.rmtree(checkout / ".git")
    config.write_text(config.read_text().replace('"version": "0.2.0"', '"version": "0.1.0"'))
    refused(
        tmp_path,
        "records its commit, but this is not a git checkout. Clone the repository, or add --allow_dirty",
        allow_dirty=False,
    )
