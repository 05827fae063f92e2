"""Training by image-level labels, evaluation on pixels, inference, by the configs, for every method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from csv_rows import rows
from monai.bundle import ConfigWorkflow

from common.phantoms.ct.layouts import write_radiopaedia

CONFIGS = "bundles/ct_weak_gan/configs"
TRAIN, EVALUATE, INFER = (f"{CONFIGS}/{name}.yaml" for name in ("train", "evaluate", "inference"))


@pytest.fixture(scope="module")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_radiopaedia(tmp_path_factory.mktemp("weak") / "data", patients=4, size=(64, 64), slices=8)


def run(step: str, files: list[str], **settings: Any) -> None:
    """What MONAI's command does, in this process."""
    workflow = ConfigWorkflow(config_file=files, run_id=step, **settings)
    workflow.initialize()
    workflow.run()


@pytest.fixture(scope="module")
def classifier(patients: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What biomarker localisation and Grad-CAM need."""
    return trained(patients, tmp_path_factory.mktemp("classifier"), method="cam") / "model.pt"


def trained(patients: Path, folder: Path, **words: str) -> Path:
    settings = {"size": [32, 32], "filters": 4, "source": "radiopaedia", "dataset_dir": str(patients), "epochs": 1}
    run("training", [TRAIN], **settings, **words, ckpt_dir=str(folder), output_dir=str(folder))
    return folder


@pytest.mark.parametrize(
    ("method", "without"),
    [("separation", ""), ("separation", "decoder"), ("separation", "critic"), ("vagan", ""), ("biomarker", "")],
)
def test_every_method_trains_evaluates_and_infers(
    method: str, without: str, patients: Path, classifier: Path, tmp_path: Path
) -> None:
    words = {"method": method, "without": without}
    extra = {"classifier": str(classifier)} if method == "biomarker" else {}
    trained(patients, tmp_path, **words, **extra)
    terms = set(rows(tmp_path / "metrics.csv")[0])
    assert ("critic" in terms) == (without != "critic") and "val_auc" in terms
    settings: dict[str, Any] = {"size": [32, 32], "filters": 4, **words, "output_dir": str(tmp_path)}
    run(
        "evaluating", [TRAIN, EVALUATE], source="radiopaedia", dataset_dir=str(patients), ckpt_dir=str(tmp_path),
        **settings, **extra,
    )  # fmt: skip
    assert 0 < float(rows(tmp_path / "scores.csv")[0]["pr_area"]) <= 1
    scan = patients / "rp_im" / "1.nii.gz"
    run("run", [INFER], dataset_dir=str(scan), weights=str(tmp_path / "model.pt"), **settings)
    image = nibabel.load(scan)
    for name, low, high in (("heat", 0, 1), ("normal", -2200, 2200), ("mask", 0, 3)):
        volume = nibabel.load(tmp_path / f"1_{name}.nii.gz")
        assert volume.shape == image.shape and np.allclose(volume.affine, image.affine)
        values = np.asarray(volume.dataobj)
        assert low - 1e-3 <= values.min() and values.max() <= high + 1e-3, name


@pytest.mark.parametrize("method", ["cam", "gradcam"])
def test_classifiers_give_heatmaps(method: str, patients: Path, classifier: Path, tmp_path: Path) -> None:
    settings = {"size": [32, 32], "filters": 4, "method": method, "weights": str(classifier)}
    data = {"dataset_dir": str(patients), "source": "radiopaedia", "ckpt_dir": str(tmp_path)}
    run("evaluating", [TRAIN, EVALUATE], **settings, **data, output_dir=str(tmp_path))
    assert 0 < float(rows(tmp_path / "scores.csv")[0]["pr_area"]) <= 1
    run("run", [INFER], **settings, dataset_dir=str(patients / "rp_im" / "1.nii.gz"), output_dir=str(tmp_path))
    assert (tmp_path / "1_heat.nii.gz").is_file() and not (tmp_path / "1_normal.nii.gz").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"method": "biomarker"}, "biomarker needs a trained classifier, got none. Train one with --method cam"),
        ({"method": "cam", "without": "critic"}, "--without critic is an ablation of --method separation"),
        ({"method": "cyclegan"}, "Unknown method 'cyclegan'. Choose one of separation, vagan"),
        ({"without": "lungs"}, "Unknown ablation 'lungs'. Choose one of fidelity, decoder, critic"),
    ],
)
def test_unknown_options_are_refused(words: dict[str, str], message: str, patients: Path, tmp_path: Path) -> None:
    with pytest.raises(Exception) as error:
        trained(patients, tmp_path, **words)
    cause: BaseException | None = error.value
    while cause is not None and message not in str(cause):
        cause = cause.__cause__
    assert cause is not None, f"{error.value}"


def test_a_resumed_run_ends_with_the_same_weights_bit_by_bit(patients: Path, tmp_path: Path) -> None:
    """After its first epoch; tests/test_training.py kills one in the middle."""
    settings: dict[str, Any] = {"source": "radiopaedia", "dataset_dir": str(patients), "size": [32, 32], "filters": 2}
    for name, epochs, resume in (("whole", 2, False), ("cut", 1, False), ("cut", 2, True)):
        folder = str(tmp_path / name)
        run("training", [TRAIN], **settings, epochs=epochs, resume=resume, ckpt_dir=folder, output_dir=folder)
    whole, cut = (torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("whole", "cut"))
    states = ("network", "critic", "optimizer", "critic_optimizer", "epoch")
    torch.testing.assert_close(*({name: end[name] for name in states} for end in (cut, whole)), rtol=0, atol=0)
    assert whole["epoch"] == 2 and whole["critic_optimizer"]["state"]
    tables = [[row | {"seconds": ""} for row in rows(tmp_path / name / "metrics.csv")] for name in ("whole", "cut")]
    assert tables[0] == tables[1] and len(tables[0]) == 2
