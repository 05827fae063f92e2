"""MONAI Label serves the packaged bundles: labels, masks, training and uncertainty, several bundles in one server."""

from __future__ import annotations

import csv
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import requests
import torch
from PIL import Image
from server import Server, python, unzip

CT = ("ct_drsegunet", "ct_transfer_unet", "ct_weak_gan", "mosmed_encoders")
DIAGNOSIS = "us_reverse_transfer_classification"
UNSURE = 77  # what the other version of the code writes where no class is probable
Serve = Callable[..., Server]


@pytest.fixture(scope="module")
def server(everything: Path, serve: Serve) -> Server:
    models = everything / "apps" / "monaibundle" / "model"
    code = models / "other_version" / "scripts" / "inferers.py"
    text = code.read_text()
    assert text.count("probability <= self.threshold, 0)") == 1
    code.write_text(text.replace("probability <= self.threshold, 0)", f"probability <= self.threshold, {UNSURE})"))
    for name in ("ct_drsegunet", "other_version"):  # float32: inference from the command line folds batch norms
        change(models / name / "configs" / "inference.json", amp=False, threshold=0.9)
    return serve(everything, scored=["ct_drsegunet"])


def change(config: Path, **settings: Any) -> None:
    config.write_text(json.dumps({**json.loads(config.read_text()), **settings}))


def models_of(folder: Path) -> Path:
    return folder / "apps" / "monaibundle" / "model"


def values(file: Path) -> np.ndarray:
    return np.asarray(nibabel.load(file).dataobj)


def own_inference(bundle: Path, data: Path, output: Path) -> None:
    """What ``python -m monai.bundle run`` makes of the same package, in the same environment."""
    settings = ["--bundle_root", ".", "--dataset_dir", data, "--output_dir", output]
    python("-m", "monai.bundle", "run", "--config_file", "configs/inference.json", *settings, cwd=bundle)


def test_every_bundle_is_served_with_the_labels_of_its_metadata(server: Server, everything: Path) -> None:
    models = server.ask("GET", "info/").json()["models"]
    assert set(models) == {path.name for path in models_of(everything).iterdir()} and len(models) == 8
    for name, model in models.items():
        metadata = json.loads((models_of(everything) / name / "configs" / "metadata.json").read_text())
        channels = metadata["network_data_format"]["outputs"]["pred"]["channel_def"]
        assert model["version"] == metadata["version"]
        assert model["labels"] == {label.lower(): int(k) for k, label in channels.items() if label != "background"}


@pytest.mark.parametrize("name", ["ct_drsegunet", "ct_transfer_unet", "mosmed_encoders", "us_dense_seg"])
def test_3d_slicer_gives_each_value_of_a_mask_its_name(server: Server, everything: Path, name: str) -> None:
    labels = server.ask("GET", "info/").json()["models"][name]["labels"]
    metadata = json.loads((models_of(everything) / name / "configs" / "metadata.json").read_text())
    saved = {entry["name"].lower(): entry["value"] for entry in metadata["labels"]}
    # Its extension numbers the labels from 1, in the order of their channels
    numbered = {label: number for number, label in enumerate(sorted(labels, key=labels.__getitem__), start=1)}
    assert numbered == {label: saved[label] for label in labels}


@pytest.mark.parametrize("name", CT)
def test_a_mask_lies_on_its_oblique_scan_and_is_that_of_the_command_line(
    server: Server, everything: Path, packages: Path, tmp_path: Path, name: str
) -> None:
    scan = nibabel.load(packages / "ct.nii.gz")
    assert np.abs(scan.affine[:3, :3]).min() > 0, "the scan is oblique"
    mask = nibabel.load(server.mask(name, packages / "ct.nii.gz", tmp_path / "served.nii.gz"))
    assert mask.shape == scan.shape and mask.get_data_dtype() == np.uint8
    np.testing.assert_allclose(mask.affine, scan.affine, atol=1e-5)
    own_inference(models_of(everything) / name, packages / "ct.nii.gz", tmp_path)
    expected = values(tmp_path / "ct_mask.nii.gz")
    labels = server.ask("GET", "info/").json()["models"][name]["labels"]
    if "lung" not in labels:
        expected[expected == 3] = 0  # a lung by threshold is shown by the command line alone
    assert len(np.unique(expected)) > 1
    np.testing.assert_array_equal(values(tmp_path / "served.nii.gz"), expected)


def test_an_ultrasound_mask_lies_on_its_image_and_is_that_of_the_command_line(
    server: Server, everything: Path, packages: Path, tmp_path: Path
) -> None:
    for name in ("once.png", "again.png"):  # between two requests the bundle's modules are dropped
        served = np.asarray(Image.open(server.mask("us_dense_seg", packages / "us.png", tmp_path / name)))
    assert served.shape == np.asarray(Image.open(packages / "us.png")).shape
    own_inference(models_of(everything) / "us_dense_seg", packages / "us.png", tmp_path)
    expected = np.asarray(Image.open(tmp_path / "us_mask.png"))
    assert len(np.unique(expected)) > 1
    np.testing.assert_array_equal(served, expected)


def test_a_diagnosis_is_that_of_the_command_line(
    server: Server, everything: Path, packages: Path, tmp_path: Path
) -> None:
    picture = {"file": ("us.png", (packages / "us.png").read_bytes())}
    answer = server.ask("POST", f"infer/{DIAGNOSIS}?output=json", files=picture).json()
    own_inference(models_of(everything) / DIAGNOSIS, packages / "us.png", tmp_path)
    with (tmp_path / "cases.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    expected = {name: float(row[f"probability_{name}"]) for name in ("normal", "pneumonia", "COVID-19")}
    served = {each["label"]: each["score"] for each in answer["prediction"]}
    assert served == pytest.approx({name.lower(): value for name, value in expected.items()}, abs=2e-3)


def test_bundles_with_other_versions_of_the_same_code_do_not_disturb_each_other(
    server: Server, packages: Path, tmp_path: Path
) -> None:
    ours, theirs, again = (
        values(server.mask(name, packages / "ct.nii.gz", tmp_path / f"{index}.nii.gz"))
        for index, name in enumerate(["ct_drsegunet", "other_version", "ct_drsegunet"])
    )
    unsure = theirs == UNSURE
    assert unsure.any() and not (ours == UNSURE).any()
    np.testing.assert_array_equal(ours, np.where(unsure, 0, theirs))
    np.testing.assert_array_equal(again, ours)


def test_uncertainty_is_scored_and_the_most_uncertain_scan_comes_next(server: Server) -> None:
    server.ask("POST", "scoring/ct_drsegunet", json={"max_workers": 1})
    server.done("scoring")
    scores = {name: entropy_of(server, name) for name in ("clean", "noisy")}
    assert all(0 < score < 4 / np.e for score in scores.values()), "each of four probabilities p gives p ln(1/p)"
    assert server.ask("POST", "activelearning/epistemic").json()["id"] == max(scores, key=scores.__getitem__)


def entropy_of(server: Server, image: str) -> float:
    """The server reads the scores again after a request that says the file has changed."""
    for _ in range(50):
        info = server.ask("GET", f"datastore/image/info?image={image}").json()
        if "epistemic_entropy" in info:
            return float(info["epistemic_entropy"])
        time.sleep(0.2)
    raise AssertionError(f"{image} has no score: {info}")


def test_a_round_of_training_with_a_submitted_label_changes_the_masks(
    server: Server, everything: Path, packages: Path, tmp_path: Path
) -> None:
    bundle = models_of(everything) / "trained"
    change(bundle / "configs" / "train.json", learning_rate=1e-2)
    before = values(server.mask("trained", packages / "ct.nii.gz", tmp_path / "before.nii.gz"))
    label = {"label": ("clean.nii.gz", (packages / "ct_label.nii.gz").read_bytes())}
    server.ask("PUT", "datastore/label?image=clean", files=label)
    server.ask("POST", "train/trained", json={"max_epochs": 1})
    server.done("train")
    with (bundle / "eval" / "metrics.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["dice_lung"], "the truth has a lung"
    after = values(server.mask("trained", packages / "ct.nii.gz", tmp_path / "after.nii.gz"))
    assert (after != before).any()


@pytest.fixture(scope="module")
def ultrasound(app: Callable[[str], Path], packages: Path, serve: Serve) -> Server:
    """A server of its own, for its studies are pictures, with a learning rate of 0."""
    folder = app("ultrasound")
    bundle = unzip(packages / "us_dense_seg_v0.1.0.zip", models_of(folder))
    change(bundle / "configs" / "train.json", learning_rate=0.0)
    shutil.copy(packages / "us.png", folder / "studies")
    return serve(folder)


def test_ultrasound_trains_on_label_images_and_starts_from_the_bundles_weights(
    ultrasound: Server, packages: Path
) -> None:
    models = models_of(ultrasound.folder) / "us_dense_seg" / "models"
    before = torch.load(models / "model.pt")
    label = {"label": ("us.png", (packages / "us_label.png").read_bytes())}
    ultrasound.ask("PUT", "datastore/label?image=us", files=label)
    ultrasound.ask("POST", "train/us_dense_seg", json={"max_epochs": 1})
    ultrasound.done("train")
    assert (models / "last.pt").is_file(), "it was trained"
    after = torch.load(models / "model.pt")
    assert after.keys() == before.keys() and all(torch.equal(after[key], before[key]) for key in before)


def test_a_stopped_server_leaves_no_process(ultrasound: Server) -> None:
    assert ultrasound.ask("GET", "info/").ok
    ultrasound.stop()
    with pytest.raises(requests.ConnectionError, match="refused"):
        ultrasound.ask("GET", "info/")
    with pytest.raises(ProcessLookupError, match="No such process"):
        os.killpg(ultrasound.process.pid, 0)


def test_dicom_under_pydicom_2_is_refused_with_the_remedy(everything: Path, tmp_path: Path) -> None:
    from pydicom.data import get_testdata_file

    shutil.copy(get_testdata_file("CT_small.dcm"), tmp_path)
    with pytest.raises(RuntimeError, match="needs pydicom 3 or later, got 2"):
        own_inference(models_of(everything) / "ct_transfer_unet", tmp_path, tmp_path / "out")
