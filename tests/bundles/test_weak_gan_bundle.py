"""Training by image-level labels, evaluation on pixels, inference, by the configs, for every method."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from conftest import ROOT
from csv_rows import rows
from labelled_slices import picture, write_table
from monai.bundle import ConfigWorkflow
from sklearn.metrics import average_precision_score

from common.phantoms.ct.layouts import write_coronacases, write_radiopaedia
from common.reproduce.plan import read_plan
from common.run.errors import origin
from common.run.model_record import read_record, save_weights
from common.weak_gan.cam import CamInferer

CONFIGS = "bundles/ct_weak_gan/configs"
TRAIN, EVALUATE, INFER = (f"{CONFIGS}/{name}.yaml" for name in ("train", "evaluate", "inference"))


@pytest.fixture(scope="module")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_radiopaedia(tmp_path_factory.mktemp("weak") / "data", patients=4, size=(64, 64), slices=8)


def run(step: str, files: list[str], **settings: Any) -> ConfigWorkflow:
    """What MONAI's command does, in this process."""
    workflow = ConfigWorkflow(config_file=files, run_id=step, **settings)
    workflow.initialize()
    workflow.run()
    return workflow


@pytest.fixture(scope="module")
def classifier(patients: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What biomarker localisation and Grad-CAM need; its maps are positive, which one epoch does not ensure."""
    weights = trained(patients, tmp_path_factory.mktemp("classifier"), method="cam") / "model.pt"
    state = torch.load(weights, weights_only=True)
    state["fc.weight"][1].abs_()
    save_weights(state, weights, read_record(weights))
    return weights


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


@pytest.mark.parametrize("method", ["cam", "gradcam", "lung", "brightness"])
def test_methods_that_need_no_separator_give_heat_in_the_lung_alone(
    method: str, patients: Path, classifier: Path, tmp_path: Path
) -> None:
    data = {"dataset_dir": str(patients), "source": "radiopaedia", "method": method, "weights": str(classifier)}
    done = run("evaluating", [TRAIN, EVALUATE], **data, ckpt_dir=str(tmp_path), output_dir=str(tmp_path))
    images, lungs, truths = (
        torch.stack([item[key] for item in done.parser.get_parsed_content("validate::dataset").planes])
        for key in ("image", "lung", "truth")
    )
    assert images.shape[-2:] == (32, 32), "the size of the weights, whatever the method"
    if method in ("cam", "gradcam"):
        heats = CamInferer(method)(images, done.parser.get_parsed_content("model"))
        assert heats[lungs == 0].any(), "the maps themselves do not end at the lung"
    else:
        heats = lungs.float() if method == "lung" else images.clamp(0, 1)
    row = {row["row"]: row for row in rows(tmp_path / "scores.csv")}["pooled pixels of slices with lesions"]
    ill = truths.flatten(1).any(1)
    expected = average_precision_score(truths[ill].flatten(), (heats * (lungs > 0))[ill].flatten())
    assert float(row["pr_area"]) == pytest.approx(expected, abs=0.01) and int(row["slices"]) == int(ill.sum())
    if method == "lung":
        assert expected == pytest.approx(float(truths[ill].sum() / lungs[ill].sum()), abs=1e-6)
    if method in ("cam", "gradcam"):
        settings = {"method": method, "weights": str(classifier), "output_dir": str(tmp_path)}
        run("run", [INFER], **settings, dataset_dir=str(patients / "rp_im" / "1.nii.gz"))
        heat, mask = (np.asarray(nibabel.load(tmp_path / f"1_{name}.nii.gz").dataobj) for name in ("heat", "mask"))
        assert heat.max() > 0.1 and not heat[mask == 0].any() and not (tmp_path / "1_normal.nii.gz").exists()


def test_another_source_is_tested_in_all_its_slices_its_volumes_of_grey_levels_too(
    classifier: Path, patients: Path, tmp_path: Path
) -> None:
    root = write_coronacases(tmp_path / "data", patients=2, size=(64, 64), slices=6, seed=3)
    images = root / "COVID-19-CT-Seg_20cases"
    scan = nibabel.load(images / "coronacases_001.nii.gz")
    grey = np.rint((np.clip(np.asarray(scan.dataobj), -1250, 250) + 1250) / 1500 * 255).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(grey, scan.affine), images / "radiopaedia_1.nii.gz")
    for name in ("Infection_Mask", "Lung_Mask"):
        shutil.copy(root / name / "coronacases_001.nii.gz", root / name / "radiopaedia_1.nii.gz")
    words = {"dataset_dir": str(patients), "source": "radiopaedia", "weights": str(classifier), "method": "brightness"}
    other = {"target": "coronacases", "target_dir": str(root)}
    done = run("evaluating", [TRAIN, EVALUATE], **words, **other, ckpt_dir=str(tmp_path), output_dir=str(tmp_path))
    planes: dict[str, list[Any]] = {}
    for item in done.parser.get_parsed_content("validate::dataset").planes:
        planes.setdefault(item["case"], []).append(item)
    assert set(planes) == {"coronacases_001", "coronacases_002", "radiopaedia_1"}
    assert rows(tmp_path / "scores.csv")[0]["slices"] == str(sum(map(len, planes.values())))
    for given, shown in zip(planes["coronacases_001"], planes["radiopaedia_1"], strict=True):
        # A grey level is 5.9 HU, and 500 HU are 1
        torch.testing.assert_close(given["image"], shown["image"], rtol=0, atol=0.5 * 5.9 / 500 + 1e-3)
    with pytest.raises(Exception) as error:
        run(
            "training",
            [TRAIN],
            dataset_dir=str(root),
            source="medseg",
            ckpt_dir=str(tmp_path),
            output_dir=str(tmp_path),
        )
    assert "Unknown source 'medseg'" in str(origin(error.value)), "for testing only"


def test_without_ground_truth_a_training_that_is_to_be_scored_does_not_start(tmp_path: Path) -> None:
    lines = [f"{number}.png,{number % 2},p{number}" for number in range(12)]
    for number in range(12):
        picture(tmp_path / f"{number}.png", number)
    settings: dict[str, Any] = {"source": "table", "dataset_dir": str(write_table(tmp_path, lines)), "filters": 2}
    places = {"ckpt_dir": str(tmp_path / "models"), "output_dir": str(tmp_path / "out")}
    with pytest.raises(Exception) as error:
        run("training", [TRAIN], **settings, **places, scored=True)
    assert re.search(r"none of the 2 test slices has one\. CC-CCII .* --target_dir", str(origin(error.value)))
    assert not list((tmp_path / "models").glob("*.pt"))
    plan = read_plan("ct_weak_gan", ROOT / "bundles")
    trained = [variant for variant in plan.variants if "training" in plan.files(variant)]
    assert len(trained) == 7 and all(plan.variants[variant]["scored"] for variant in trained)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"method": "biomarker"}, "biomarker needs a trained classifier, got none. Train one with --method cam"),
        ({"method": "cam", "without": "critic"}, "--without critic is an ablation of --method separation"),
        ({"method": "cyclegan"}, "Unknown method 'cyclegan'. Choose one of separation, vagan"),
        ({"method": "lung"}, "--method lung has no network to train. Evaluate it"),
        ({"normalise": "mean"}, "Unknown normalise 'mean'. Choose 'window' or 'training'"),
        ({"heat": "square"}, "Unknown heat 'square'. Choose one of positive, affine"),
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
