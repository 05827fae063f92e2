"""Archives on Ray: workers that are killed, and a bundle from end to end."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import archive_workers
import nibabel
import numpy as np
import pytest
from archive_workers import FakeWorker, calls, write_studies
from conftest import ROOT
from monai.bundle import ConfigParser
from PIL import Image
from small_packages import TINY, random_network, record_of

from common.archive.command import main, run_archive
from common.archive.pool import Needs, cluster, fitted
from common.phantoms.ct.folder import phantom_dir
from common.run.errors import CasesFailed
from common.run.model_record import save_weights
from common.run.steps import run_step

BUNDLE = "ct_drsegunet"
CONFIG = ROOT / "bundles" / BUNDLE / "configs"
SMALL = ["--bundle", str(CONFIG.parent), "--cpus", "1", "--memory", "0.5", "--workers", "1"]


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """Ray on this computer, for all tests of this file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")  # by default, workers stand back behind all other processes
        with cluster() as ray:
            ray.cloudpickle.register_pickle_by_value(archive_workers)
            yield ray


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network of random weights, with its record."""
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    trained = {**ConfigParser.load_config_file(CONFIG / "train.yaml"), **TINY[BUNDLE], "dataset_dir": "phantom"}
    save_weights(random_network(trained).state_dict(), path, record_of(BUNDLE, trained))
    return path


def words(source: Path, output: Path, weights: Path) -> list[str]:
    return [str(source), "--output_dir", str(output), "--weights", str(weights), *SMALL]


def rows(output: Path) -> dict[str, dict[str, str]]:
    with (output / "studies.csv").open() as file:
        return {row["study"]: row for row in csv.DictReader(file)}


def test_a_study_that_ends_its_worker_twice_is_set_aside_and_no_other_is_lost(
    ray: Any, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_studies(tmp_path / "ct", a="fine", b="kills", c="kills-once", d="empty", e="fine")
    with pytest.raises(CasesFailed, match=r"1 of 5 studies failed twice and are set aside") as error:
        run_archive(words(source, tmp_path / "out", weights), make=FakeWorker)
    assert error.value.exit_code == 2
    found = rows(tmp_path / "out")
    assert {name[-1]: row["status"] for name, row in found.items()} == {
        **dict.fromkeys("ace", "done"),
        **{"b": "set aside", "d": "empty"},
    }
    assert found["ct/b"]["reason"] == "its worker ended: it ran out of memory, crashed or was killed."
    assert found["ct/c"]["share_of_lung"] == "0.5" and Counter(calls(source)) == Counter("abbccde")
    lines = [json.loads(line) for line in (tmp_path / "out" / "studies.jsonl").read_text().splitlines()]
    assert [(line["study"], line["attempts"]) for line in lines] == list(zip(found, [0, 2, 1, 0, 0], strict=True))
    assert main(["status", str(tmp_path / "out"), "--failed"]) == 0
    assert "ct/b    set aside          2   its worker ended" in capsys.readouterr().out
    (source / "b").write_text("fine")
    assert run_archive([*words(source, tmp_path / "out", weights), "--retry"], make=FakeWorker) == 0
    assert Counter(calls(source)) == Counter("abbbccde"), "only what was set aside is tried again"


def test_a_bundle_gives_the_results_of_its_inference(ray: Any, weights: Path, tmp_path: Path) -> None:
    phantom = next((phantom_dir(patients=1, size=(64, 64), slices=6, seed=7) / "rp_im").iterdir())
    source = tmp_path / "ct"
    (source / "study").mkdir(parents=True)
    (source / "study" / "scan.nii.gz").write_bytes(phantom.read_bytes())
    (source / "damaged.nii.gz").write_bytes(b"no scan")
    (source / "nothing").mkdir()
    options = [*words(source, tmp_path / "out", weights), "--outputs", "[nifti]", "--isolated", "False"]
    for _ in range(2):  # the second time, all are done
        with pytest.raises(CasesFailed, match="1 of 3 studies"):
            run_archive(options)
    found = rows(tmp_path / "out")
    assert {name: row["status"] for name, row in found.items()} == {
        **{"ct/damaged.nii.gz": "set aside", "ct/nothing": "empty", "ct/study": "done"}
    }
    assert "damaged, or not what its suffix says" in found["ct/damaged.nii.gz"]["reason"]
    settings = {"dataset_dir": str(source / "study"), "output_dir": str(tmp_path / "plain"), "weights": str(weights)}
    settings |= {"bundle_root": str(CONFIG.parent), "isolated": False, "outputs": ["nifti"]}
    run_step("run", [str(CONFIG / "inference.yaml")], settings)
    masks = [tmp_path / folder / "scan_mask.nii.gz" for folder in ("plain", "out/studies/ct/study")]
    np.testing.assert_array_equal(*(np.asarray(nibabel.load(mask).dataobj) for mask in masks))
    with (tmp_path / "plain" / "lesions.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert {name: found["ct/study"][name] for name in row if name != "case"} == {
        name: value for name, value in row.items() if name != "case"
    }
    records = [json.loads((mask.parent / "lesions.json").read_text())["cases"][0] for mask in masks]
    assert records[0]["settings"] == records[1]["settings"] and records[0]["weights"] == records[1]["weights"]
    with Image.open(tmp_path / "out" / "archive.png") as picture:
        assert picture.width == 1200
    with pytest.raises(ValueError, match=r"holds an archive with other settings: outputs was \['nifti'\], now not set"):
        run_archive(words(source, tmp_path / "out", weights))


def test_weights_that_do_not_fit_are_one_message(ray: Any, weights: Path, tmp_path: Path) -> None:
    source = write_studies(tmp_path / "ct", a="fine")
    with pytest.raises(ValueError, match=r"--size \[96, 96\]: .*trained with size \[64, 64\]"):
        run_archive([*words(source, tmp_path / "out", weights), "--size", "[96,96]"])


def test_workers_fit_into_the_computers(ray: Any) -> None:
    cpus = int(ray.cluster_resources()["CPU"])
    assert fitted(ray, Needs(cpus=1, memory=0)) == (Needs(1, 0.0, 0), cpus)
    assert fitted(ray, Needs(cpus=1000, memory=0)) == (Needs(cpus, 0.0, 0), 1), "a worker gets what there is"
    with pytest.raises(ValueError, match=r"needs 1 processors, 0\.5 GPUs and 0 GiB of memory, and no computer has"):
        fitted(ray, Needs(cpus=1, gpus=0.5, memory=0))
    with pytest.raises(ValueError, match=rf"There is room for {cpus} workers, got --workers {cpus + 1}"):
        fitted(ray, Needs(cpus=1, memory=0), cpus + 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--bundle", "ct_drsegunt"], r"There is no bundle 'ct_drsegunt'\. Bundles: ct_drsegunet, "),
        (["--bundle", BUNDLE, "--list", "x"], "Give the folders of the studies, or --list"),
        (["--bundle", BUNDLE, "--wieghts", "x"], r"no setting 'wieghts'\. Did you mean --weights"),
        (["--bundle", BUNDLE, "--dataset_dir", "x"], r"--dataset_dir is set for each study by this command"),
        (["--bundle", BUNDLE, "--gpus", "1.5"], "a whole number, or a part of one GPU"),
        (["--bundle", BUNDLE, "--amp"], "--amp has no value"),
    ],
)
def test_mistakes_are_told_before_anything_starts(options: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        main([str(tmp_path), "--output_dir", str(tmp_path / "out"), *options])
    assert not (tmp_path / "out").exists()
