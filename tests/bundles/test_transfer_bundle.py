"""Train on one source, test and re-train on another; lungs given or found; audit; by the commands of the docs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from csv_rows import rows
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser, ConfigWorkflow
from test_inference import tilted

from common.handlers.early_stop import EarlyStop
from common.inferers import ProbabilityInferer
from common.phantoms.ct.chest_ct import chest_ct
from common.phantoms.ct.layouts import write_coronacases, write_radiopaedia
from common.phantoms.ct.nifti_files import save_nifti
from common.phantoms.ct.scanner import SECOND

CONFIGS = "bundles/ct_transfer_unet/configs"
TRAIN, RETRAIN, EVALUATE, INFER, AUDIT = (
    f"{CONFIGS}/{name}.yaml" for name in ("train", "retrain", "evaluate", "inference", "audit")
)
Runner = Callable[..., "subprocess.CompletedProcess[str]"]


class DenseNetwork(torch.nn.Module):
    """Calls infection what lies in the lung and is denser than -560 HU, half of the paper's window."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 2, H, W), window and lung, to logits (B, 1, H, W)."""
        return 40 * (x[:, :1] - 0.5) * x[:, 1:] - 20 * (1 - x[:, 1:])


def infer(dataset_dir: Path, output_dir: Path, files: str | list[str] = INFER, **overrides: Any) -> None:
    """Run a config of inference with a network that needs no weights."""
    settings = {"dataset_dir": str(dataset_dir), "output_dir": str(output_dir), "initialize": [], "amp": False}
    workflow = ConfigWorkflow(config_file=files, workflow_type="infer", **{**settings, "size": [64, 64], **overrides})
    workflow.parser["model"] = DenseNetwork()
    workflow.parser["+initialize"] = []
    output_dir.mkdir(parents=True, exist_ok=True)
    workflow.initialize()
    workflow.run()


def save(path: Path, values: np.ndarray, affine: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, affine), path)


def box() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HU, lung and infection, (64, 64, 6): a lung in slices 1 to 4, soft tissue elsewhere, a dense box in the lung."""
    hu, lung = np.full((64, 64, 6), 40, np.int16), np.zeros((64, 64, 6), np.uint8)
    lung[10:54, 20:50, 1:5] = 1
    hu[lung > 0] = -850
    infection = np.zeros_like(lung)
    infection[14:24, 30:44, 2:4] = 1
    hu[infection > 0] = -300
    return hu, lung, infection


@pytest.mark.parametrize("place", ["folder", "pattern"])
def test_masks_hold_infection_and_the_given_lung_on_an_oblique_grid(tmp_path: Path, place: str) -> None:
    hu, lung, infection = box()
    save(tmp_path / "scans" / "a.nii.gz", hu, tilted(17))
    save(tmp_path / "lungs" / ("a.nii.gz" if place == "folder" else "a_lung_of.nii.gz"), lung, tilted(17))
    lungs = tmp_path / "lungs" if place == "folder" else f"{tmp_path}/lungs/{{case}}_lung_of.nii.gz"
    infer(tmp_path / "scans", tmp_path / "out", lung_masks=str(lungs))
    mask = nibabel.load(tmp_path / "out" / "a_mask.nii.gz")
    np.testing.assert_array_equal(mask.affine, nibabel.load(tmp_path / "scans" / "a.nii.gz").affine)
    np.testing.assert_array_equal(np.asarray(mask.dataobj), np.where(infection, 1, 3 * lung))
    (row,) = rows(tmp_path / "out" / "lesions.csv")
    voxel_ml = 0.7 * 0.8 * 5.0 / 1000
    assert row["lung_from"] == "given"
    assert float(row["infection_ml"]) == pytest.approx(infection.sum() * voxel_ml, abs=1e-3)
    assert float(row["lung_ml"]) == pytest.approx(lung.sum() * voxel_ml, abs=1e-3)


@pytest.mark.parametrize(("given", "source"), [({}, "threshold"), ({"lungs": "network"}, "lung network")])
def test_a_lung_that_is_not_given_is_found_logged_and_saved(tmp_path: Path, given: dict[str, str], source: str) -> None:
    phantom = chest_ct(0, size=(128, 128), slices=12)
    save_nifti(tmp_path / "scans" / "a.nii.gz", phantom.image, phantom.spacing, order="RAS")
    infer(tmp_path / "scans", tmp_path / "out", size=[128, 128], **given)
    (row,) = rows(tmp_path / "out" / "lesions.csv")
    assert row["lung_from"] == source
    found = np.asarray(nibabel.load(tmp_path / "out" / "a_mask.nii.gz").dataobj)[::-1, ::-1] > 0
    lung = phantom.lung > 0
    assert 2 * (found & lung).sum() / (found.sum() + lung.sum()) > 0.95


def test_bad_masks_and_scans_are_named_and_affect_no_other_case(tmp_path: Path) -> None:
    hu, lung, _ = box()
    affine = tilted(5)
    for case in ("good", "shape", "empty", "turned", "grey"):
        save(tmp_path / "scans" / f"{case}.nii.gz", hu, affine)
        save(tmp_path / "lungs" / f"{case}.nii.gz", lung, affine)
    save(tmp_path / "lungs" / "shape.nii.gz", lung[:, :, :5], affine)
    save(tmp_path / "lungs" / "empty.nii.gz", lung * 0, affine)
    save(tmp_path / "lungs" / "turned.nii.gz", lung, np.eye(4))
    save(tmp_path / "scans" / "grey.nii.gz", np.clip((hu + 1000) / 5, 0, 255).astype(np.uint8), affine)
    save(tmp_path / "scans" / "solid.nii.gz", np.full_like(hu, 40), affine)  # and no lung mask
    legs = np.full_like(hu, -1000)
    legs[10:54, 20:50] = 40
    save(tmp_path / "scans" / "legs.nii.gz", legs, affine)  # the same, in HU
    with pytest.raises(Exception) as error:
        infer(tmp_path / "scans", tmp_path / "out", lung_masks=str(tmp_path / "lungs"))
    message = str(error.value.__cause__ or error.value)
    assert "6 of 7 cases failed" in message
    for part in (
        "shape.nii.gz: the lung mask must have the image's shape (64, 64, 6), got (64, 64, 5)",
        "empty: a lung mask must be positive in the lungs",
        "turned.nii.gz: the lung mask has the axes RAS, the image LPS, and its header places it elsewhere",
        "grey: declared as HU",
        "solid: declared as HU",
        "legs: lungs are needed, got none by threshold",
    ):
        assert part in message
    assert [path.name for path in (tmp_path / "out").glob("*_mask.nii.gz")] == ["good_mask.nii.gz"]
    with pytest.raises(Exception) as error:
        infer(tmp_path / "scans", tmp_path / "out", lungs="given")
    assert "good: --lungs given needs a lung mask of every case, got none" in str(error.value.__cause__ or error.value)
    table = tmp_path / "scans" / "cases.csv"
    table.write_text("image,lung\ngood.nii.gz,../lungs/good.nii.gz\n")
    infer(table, tmp_path / "by_table", lungs="given")  # the column lung is a mask, too
    assert rows(tmp_path / "by_table" / "lesions.csv")[0]["lung_from"] == "given"
    with pytest.raises(Exception) as error:
        infer(tmp_path / "scans", tmp_path / "out", lung_masks=str(tmp_path / "nowhere"))
    assert "No lung mask for any of 7 cases" in str(error.value.__cause__ or error.value)


def test_slices_without_lung_are_not_segmented() -> None:
    seen: list[int] = []

    def network(x: torch.Tensor) -> torch.Tensor:
        seen.append(len(x))
        return x[:, :1] + 10

    volume = torch.zeros(1, 2, 8, 8, 5)
    volume[:, 1, 2, 2, [1, 3]] = 1
    result = ProbabilityInferer(slices_at_once=4, needed_channel=1)(volume, network)
    assert result.shape == (1, 1, 8, 8, 5) and seen == [2]
    assert (result.amax((0, 1, 2, 3)) > 0.9).tolist() == [False, True, False, True, False]
    assert not ProbabilityInferer(needed_channel=1)(volume * 0, lambda x: x[:, :1] - 20).round().any()


def test_the_audit_finds_planted_errors_and_nothing_in_a_clean_case(tmp_path: Path) -> None:
    hu, lung, infection = box()
    affine = np.diag([-1.0, -1.0, 5.0, 1.0])
    planted = infection.copy()
    planted[14:24, 30:44, 3] = 0  # a lesion whose annotation was forgotten in one slice
    planted[2:6, 2:8, 4] = 1  # one annotated outside the lung
    planted[30:44, 30:44, 1] = 1  # and one annotated where the lung is healthy, as the network is sure
    for case, truth in (("clean", infection), ("planted", planted)):
        for folder, array in (("scans", hu), ("lungs", lung), ("truth", truth)):
            save(tmp_path / folder / f"{case}.nii.gz", array, affine)
    places = {"lung_masks": str(tmp_path / "lungs"), "truth": str(tmp_path / "truth")}
    infer(tmp_path / "scans", tmp_path / "out", [INFER, AUDIT], **places)
    found = rows(tmp_path / "out" / "audit.csv")
    assert [(row["case"], row["kind"], row["slice"], row["area_mm2"]) for row in found] == [
        ("planted", "truth rejected", "2", "196.0"),
        ("planted", "not annotated", "4", "140.0"),
        ("planted", "truth outside lung", "5", "24.0"),
    ]
    assert [float(row["mean_hu"]) for row in found] == [-850, -300, 40]
    assert [round(float(row["probability"]), 2) for row in found] == [0, 1, 0]
    assert (tmp_path / "out" / "audit.png").stat().st_size > 1000
    assert not list((tmp_path / "out").glob("*_mask*")), "an audit leaves no masks"
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count('<th scope="row">planted</th>') == 3
    assert '<option value="truth outside lung">' in page and "Annotation audit of 2 cases" in page


@pytest.mark.slow
def test_real_scans_go_through_inference_view_and_audit(tmp_path: Path, real_data: Callable[[str], Path]) -> None:
    """A hemithorax with a tumour mask as ground truth, and a chest whose lung mask is known."""
    pytest.importorskip("itk")
    ibsi, elastix = real_data("ct_ibsi_lung") / "nifti", real_data("ct_elastix_lung")
    for folder, name, words in (
        (ibsi / "image", "phantom", {"truth": f"{ibsi}/mask/mask.nii.gz"}),
        (elastix, "3DCT_lung", {"include": "3DCT_lung", "lung_masks": f"{elastix}/{{case}}_baseline_mask.mha"}),
    ):
        infer(folder, tmp_path / name, view=True, size=[128, 128], **words)
        (row,) = rows(tmp_path / name / "lesions.csv")
        assert row["lung_from"] == ("given" if "lung_masks" in words else "threshold")
        assert 500 < float(row["lung_ml"]) < 9000
        left = {path.name.removeprefix(name) for path in (tmp_path / name).iterdir()}
        wanted = {"_mask.nii.gz", "_overlay.png", "_lung.csv", "_prediction.csv", ".vti", "_view.png"}
        assert wanted | ({"_truth.csv"} if "truth" in words else set()) <= left
        infer(folder, tmp_path / f"{name}_audit", [INFER, AUDIT], size=[128, 128], **words)
        found = rows(tmp_path / f"{name}_audit" / "audit.csv")
        assert found and {row["truth"] for row in found} == {"given" if "truth" in words else "none"}


def test_training_stops_early_and_stays_stopped_when_resumed() -> None:
    scores = [0.1, 0.5, 0.4, 0.3, 0.6, 0.5, 0.5, 0.5, 0.9]
    evaluator: Any = SimpleNamespace(state=SimpleNamespace(best_metric_epoch=-1, best_metric=-1.0))
    epochs: list[int] = []

    def train(engine: Engine, _: Any) -> None:
        epoch = engine.state.epoch
        epochs.append(epoch)
        if scores[epoch - 1] > evaluator.state.best_metric:
            evaluator.state.best_metric, evaluator.state.best_metric_epoch = scores[epoch - 1], epoch

    for _ in range(2):  # the second run starts where the first ended, as a resumed one does
        trainer = Engine(train)
        trainer.add_event_handler(Events.STARTED, lambda engine: setattr(engine.state, "epoch", len(epochs)))
        EarlyStop(evaluator, patience=3).attach(trainer)
        trainer.run([0], max_epochs=9)
        assert epochs == [1, 2, 3, 4, 5, 6, 7, 8], "epoch 5 was best"


@pytest.mark.parametrize(
    ("settings", "allowed"),
    [
        ({}, False),
        ({"source": "radiopaedia", "dataset_dir": "/data"}, False),
        ({"source": "radiopaedia", "dataset_dir": "/data", "target": "coronacases"}, True),
        ({"dataset_dir": "/data", "target_dir": "/others"}, True),
        ({"datalist": "a.csv", "target_datalist": "b.csv"}, True),
    ],
)
def test_all_slices_are_tested_of_another_source_only(settings: dict[str, str], allowed: bool) -> None:
    parser = ConfigParser()
    parser.read_config([TRAIN, EVALUATE])
    parser.update(settings)
    assert parser.get_parsed_content("cases::all_may_be_test") is allowed
    assert ConfigParser.load_config_file(TRAIN)["cases"].get("all_may_be_test", False) is False, "never in a training"


@pytest.mark.slow
def test_train_test_and_retrain_by_the_commands_of_the_docs(runner: Runner, tmp_path: Path) -> None:
    data = write_radiopaedia(tmp_path / "first", patients=10, size=(64, 64), slices=16)
    write_coronacases(tmp_path / "second", patients=6, size=(64, 64), slices=16, scanner=SECOND, seed=1)
    (tmp_path / "second").rename(data / "second")
    for folder in (data / "second").iterdir():  # one folder may hold several sources
        folder.rename(data / folder.name)
    words = ["--dataset_dir", data, "--source", "radiopaedia", "--size", "[64,64]", "--filters", 8]
    words += ["--batch_size", 8, "--learning_rate", 3e-3, "--validation_slices", 16, "--objective", "dice_bce"]
    first = ["--ckpt_dir", tmp_path / "m", "--output_dir", tmp_path / "e"]
    trained = runner("training", "--config_file", TRAIN, *words, *first, "--epochs", 24)
    assert trained.returncode == 0, trained.stderr[-2000:]
    assert len(rows(tmp_path / "m" / "patients.csv")) == 8
    files = f"['{TRAIN}','{EVALUATE}']"
    tested = runner("evaluating", "--config_file", files, *words, *first)
    assert tested.returncode == 0, tested.stderr[-2000:]
    assert "mean over slices with infection" in tested.stdout and "have seen" not in tested.stdout
    scores = {row["row"]: row for row in rows(tmp_path / "e" / "scores.csv")}
    assert float(scores["pooled pixels"]["f1"]) > 0.5
    assert (tmp_path / "e" / "evaluation.png").exists()

    target = ["--target", "coronacases", "--output_dir", tmp_path / "t", "--ckpt_dir", tmp_path / "m"]
    transferred = runner("evaluating", "--config_file", files, *words, *target, "--split", "all")
    assert transferred.returncode == 0, transferred.stderr[-2000:]
    assert int(rows(tmp_path / "t" / "scores.csv")[0]["slices"]) > 80, "every slice with lung"

    again = ["--target", "coronacases", "--ckpt_dir", tmp_path / "rm", "--output_dir", tmp_path / "re"]
    again += ["--pretrained", tmp_path / "m" / "model.pt"]
    retrained = runner(
        "training", "--config_file", f"['{TRAIN}','{RETRAIN}']", *words, *again, "--training_slices", 20, "--epochs", 2
    )
    assert retrained.returncode == 0, retrained.stderr[-2000:]
    assert "Training: 20 slices" in retrained.stdout and "model.pt, all 46 tensors" in retrained.stdout
    assert {row["source"] for row in rows(tmp_path / "rm" / "patients.csv")} == {"radiopaedia", "coronacases"}
    scored = runner("evaluating", "--config_file", f"['{TRAIN}','{RETRAIN}','{EVALUATE}']", *words, *again)
    assert scored.returncode == 0, scored.stderr[-2000:]

    same = runner(
        "training", "--config_file", f"['{TRAIN}','{RETRAIN}']", *words, *again, "--target", "radiopaedia",
        "--epochs", 1, "--ckpt_dir", tmp_path / "sm",
    )  # fmt: skip
    assert "The weights have seen 8 patients of the target" in same.stdout and "radiopaedia/" in same.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--source", "coronacases"], "The source coronacases is read from a folder"),
        (["--source", "brixia"], "Unknown source 'brixia'. Choose one of radiopaedia, coronacases, mosmed, phantom"),
        (["--dataset_dir", "/"], "The source phantom needs no folder, got /"),
        (["--split", "all"], "--split all takes every slice with lung as test, so it is for evaluating a target"),
    ],
)
def test_mistaken_sources_end_in_one_line(runner: Runner, words: list[str], message: str, tmp_path: Path) -> None:
    folders = ["--ckpt_dir", tmp_path / "m", "--output_dir", tmp_path / "e"]
    result = runner("training", "--config_file", TRAIN, *words, *folders)
    assert result.returncode == 1
    assert f"ERROR  {message}" in result.stderr and "Traceback" not in result.stderr
