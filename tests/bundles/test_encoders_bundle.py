"""Four encoders on MosMedData: train, evaluate and infer; what the network sees; severity; mistakes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from csv_rows import rows
from monai.bundle import ConfigParser, ConfigWorkflow
from PIL import Image

from common.networks.encoders import ENCODERS
from common.phantoms.ct.layouts import write_mosmed

CONFIGS = "bundles/mosmed_encoders/configs"
TRAIN, EVALUATE, MEASURE, INFER = (f"{CONFIGS}/{name}.yaml" for name in ("train", "evaluate", "measure", "inference"))


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four synthetic studies, three of them with masks."""
    return write_mosmed(tmp_path_factory.mktemp("mosmed") / "data", patients=4, size=(64, 64), slices=8)


def run(step: str, files: list[str], **settings: Any) -> None:
    """What MONAI's command does, in this process."""
    workflow = ConfigWorkflow(config_file=files, run_id=step, **{"amp": False, **settings})
    workflow.initialize()
    workflow.run()


@pytest.mark.parametrize("encoder", ENCODERS)
def test_each_encoder_trains_evaluates_and_infers_at_an_odd_size(encoder: str, studies: Path, tmp_path: Path) -> None:
    shared = {"size": [61, 59], "output_dir": str(tmp_path)}
    training = {
        **shared,
        "encoder": encoder,
        "decoder": "equal" if encoder == "resnet34" else "own",
        "normalise": "imagenet" if encoder == "mobilenetv2" else "window",
        "encoder_weights": "none",
        "epochs": 1,
        "ckpt_dir": str(tmp_path),
        "dataset_dir": str(studies),
    }
    run("training", [TRAIN], **training)
    assert len(rows(tmp_path / "metrics.csv")) == 1
    run("evaluating", [TRAIN, EVALUATE], **training)
    scores = {row["row"]: row for row in rows(tmp_path / "scores.csv")}
    assert scores["volumes"]["count"] == "1"
    assert (
        int(scores["slices"]["count"]) + int(scores["slices"]["absent"]) == 8 == int(scores["pooled pixels"]["count"])
    )
    (volume,) = rows(tmp_path / "scores_per_volume.csv")
    assert float(scores["volumes"]["mean"]) == float(scores["volumes"]["maximum"]) == float(volume["dice"])
    for name, count in (("chosen_slices", 7), ("second_study", 7), ("ten_slices", 8)):  # a study has eight slices
        assert np.load(tmp_path / f"{name}.npz")["predictions"].shape == (count, 61, 59)
    record = json.loads((tmp_path / "model.json").read_text())["settings"]
    assert record.items() >= {name: training[name] for name in ("encoder", "decoder", "normalise")}.items()
    settings = {**shared, "weights": str(tmp_path / "model.pt"), "dataset_dir": str(studies / "studies")}
    run("run", [INFER], **settings)
    scans = sorted((studies / "studies").rglob("*.nii.gz"))
    for scan in scans:
        case = scan.relative_to(studies / "studies").as_posix().removesuffix(".nii.gz")
        mask, image = nibabel.load(tmp_path / f"{case}_mask.nii.gz"), nibabel.load(scan)
        assert mask.shape == image.shape and np.allclose(mask.affine, image.affine)
        assert set(np.unique(mask.dataobj)) <= {0, 1, 3}
    counts = rows(tmp_path / "severity.csv")
    assert sum(int(row[f"CT-{level}"]) for row in counts for level in range(5)) == len(scans)
    page = (tmp_path / "report.html").read_text()
    assert "severity.png" in page and page.count('<th scope="row">') == len(scans)


def test_costs_are_measured_by_one_command(tmp_path: Path) -> None:
    settings = {"encoder": "mobilenetv2", "size": [64, 64], "batch_size": 2, "output_dir": str(tmp_path)}
    run("measuring", [TRAIN, MEASURE], ckpt_dir=str(tmp_path), **settings)
    (row,) = rows(tmp_path / "costs.csv")
    assert float(row["parameters_million"]) == pytest.approx(8.414, abs=1e-3)
    assert float(row["gflop"]) == pytest.approx(
        22.99 / 64, rel=0.01
    )  # a slice has 64 times fewer pixels than 512 x 512
    assert float(row["training_memory_gib"]) > float(row["memory_gib"])


def preprocessed(config: str, key: str, item: dict[str, Any], size: list[int]) -> np.ndarray:
    parser = ConfigParser()
    parser.read_config(config)
    parser["size"] = size
    parser.parse()
    return parser.get_parsed_content(key)(item)["image"].as_tensor().numpy()


def test_the_network_sees_thousands_of_hu(tmp_path: Path) -> None:
    hu = np.full((8, 8, 2), -3000, np.int16)
    hu[0, :4, 0] = [-1000, -500, 250, 3000]
    for name, values in (("image", hu), ("label", np.zeros_like(hu))):
        nibabel.save(nibabel.Nifti1Image(values, np.diag([-1, -1, 8, 1])), tmp_path / f"{name}.nii.gz")
    item = {name: tmp_path / f"{name}.nii.gz" for name in ("image", "label")} | {"intensity": "HU"}
    image = preprocessed(TRAIN, "train::preprocessing", item, [8, 8])  # (1, X, Y, Z), LPS as the file
    np.testing.assert_allclose(image[0, 0, :5, 0], [-1, -0.5, 0.25, 1, -1])


def test_grey_levels_of_images_are_read_as_the_declared_lung_window(tmp_path: Path) -> None:
    levels = np.zeros((128, 128), np.uint8)
    levels[24:104, 16:112], levels[32:96, 24:60], levels[32:96, 68:104] = 255, 20, 20  # a body with two lungs
    levels[60, 40] = 102
    Image.fromarray(levels).save(tmp_path / "slice.png")
    item = {"image": tmp_path / "slice.png", "intensity": "8bit", "picture_axes": "PL"}
    image = preprocessed(INFER, "preprocessing", item, [128, 128])[0, :, :, 0].T
    expected = np.clip(-1350 + levels.astype(float) * 1500 / 255, -1000, 1000) / 1000  # level 102 is -750 HU
    np.testing.assert_allclose(image, expected, atol=1e-5)


def test_the_loss_is_one_dice_of_the_batch() -> None:
    parser = ConfigParser()
    parser.read_config(TRAIN)
    loss = parser.get_parsed_content("loss")
    logits = torch.full((2, 1, 2, 2), -30.0)  # probability 0
    logits[0, 0, 0] = 0.0  # 0.5 in two pixels, one of them infected
    truth = torch.zeros(2, 1, 2, 2)
    truth[0, 0, 0, 0] = 1
    # 1 - 2 * 0.5 / (1 + 1); the slice without infection and prediction changes nothing
    assert float(loss(logits, truth)) == pytest.approx(0.5, abs=1e-4)
    logits[1, 0, 1, 1] = 30.0  # a false alarm there does: 1 - 1 / (2 + 1)
    assert float(loss(logits, truth)) == pytest.approx(2 / 3, abs=1e-4)


def test_without_network_the_command_names_both_remedies(
    runner: Callable[..., subprocess.CompletedProcess[str]],
    studies: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # answers nothing, so that the test asks no network
    folders = ["--dataset_dir", studies, "--output_dir", tmp_path / "out", "--ckpt_dir", tmp_path]
    done = runner("training", "--config_file", TRAIN, "--encoder", "vgg19", *folders)
    assert done.returncode == 1
    message = done.stderr.split("ERROR")[-1]
    assert "vgg19-dcbb9e9d.pth cannot be downloaded" in message and "Traceback" not in done.stderr
    assert "--encoder_weights /path/vgg19-dcbb9e9d.pth" in message and "--encoder_weights none" in message


def test_weights_of_another_encoder_are_refused_and_the_option_is_named(studies: Path, tmp_path: Path) -> None:
    from common.networks.encoder_unet import EncoderUNet

    torch.save(EncoderUNet("mobilenetv2").state_dict(), tmp_path / "model.pt")
    with pytest.raises(Exception) as error:
        run("run", [INFER], encoder="resnet34", weights=str(tmp_path / "model.pt"), output_dir=str(tmp_path / "out"))
    message = str(error.value.__cause__ or error.value)
    assert "every weight must fit EncoderUNet" in message and "such as --filters, --encoder" in message
