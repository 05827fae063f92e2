"""``make gpu`` measures small on the CPU what it would measure on a GPU, within its time limits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT
from torch import nn

from benchmarks import gpu
from benchmarks.gpu_bench import ON_CPU, Bench, gflop_of
from benchmarks.gpu_training import Training

HEAVY = ["itk", "vtk", "vtkmodules", "av", "highdicom", "gdcm", "torchvision", "mlflow", "jsonschema"]
BLOCKED = f"""
import importlib.abc, runpy, sys

class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Block())
for script in sys.argv[1:]:
    sys.argv = [script]
    runpy.run_path(script, run_name="__main__")
"""


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    """What both measuring scripts report where the heavy packages cannot be imported."""
    scripts = ["benchmarks/gpu_training.py", "benchmarks/gpu_inference.py"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "TQDM_DISABLE": "1"}
    command = [sys.executable, "-c", BLOCKED, *scripts]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line.removeprefix(gpu.MARK)) for line in done.stdout.splitlines() if line.startswith(gpu.MARK)]


def named(rows: list[dict[str, Any]], what: str) -> dict[str, Any]:
    """The one row whose name begins so."""
    (row,) = [row for row in rows if row.get("what", "").startswith(what)]
    return row


def test_without_a_gpu_the_report_says_so(rows: list[dict[str, Any]]) -> None:
    reported = [row["facts"] for row in rows if "facts" in row]
    assert [values["GPU"] for values in reported] == [
        "none. A small trial on the CPU (64 x 64, 6 slices) says nothing about a GPU"
    ] * 2
    assert torch.__version__ in reported[0]["versions"]


def test_training_and_inference_need_no_heavy_package(rows: list[dict[str, Any]]) -> None:
    assert {row["what"].partition(",")[0] for row in rows if "what" in row} == {
        "bare loop",
        "train.yaml",
        "inference.yaml",
    }


def test_training_is_measured_in_each_precision_beside_the_bare_loop(rows: list[dict[str, Any]]) -> None:
    half = Bench(torch.device("cpu"), ON_CPU).precision
    names = [row["what"] for row in rows if "yaml" in row.get("what", "") or "bare" in row.get("what", "")]
    assert names[:7] == [
        "bare loop, float32",
        f"bare loop, {half.split(',')[0]}",
        f"bare loop, {half}",
        "train.yaml, float32, channels-last",
        f"train.yaml, {half}",
        f"train.yaml, {half}, not deterministic",
        f"train.yaml, {half}, with its data loader",
    ]
    bare, ours = named(rows, "bare loop, float32"), named(rows, "train.yaml, float32")
    assert ours["images_per_second"] == pytest.approx(2 / ours["seconds"])
    assert ours["of_bare"] == pytest.approx(bare["seconds"] / ours["seconds"])
    peak = next(row["peak"] for row in rows if "peak" in row)  # TFLOP/s
    assert bare["of_peak"] == pytest.approx(bare["images_per_second"] * 213.77 / 64 / 1e3 / peak, rel=0.01)


def test_inference_is_measured_file_to_file_and_by_step(rows: list[dict[str, Any]]) -> None:
    whole = named(rows, "inference.yaml, file to file")
    assert whole["images_per_second"] == pytest.approx(6 / whole["seconds"])
    plain = next(row for row in rows if row.get("what", "").endswith("file to file"))
    assert whole["of_bare"] == pytest.approx(plain["seconds"] / whole["seconds"])
    steps = [row for row in rows if row.get("what", "").startswith("inference.yaml, ") and row is not whole]
    assert [row["what"].removeprefix("inference.yaml, ") for row in steps] == [
        "its network",
        "reading and preparing",
        "copies and decisions",
        "mask, overlay and report",
        "config, weights and table",
    ]
    assert all(row["seconds"] > 0 for row in steps)
    assert sum(row["seconds"] for row in steps) == pytest.approx(whole["seconds"])


def test_operations_of_a_3x3_convolution_are_those_worked_by_hand() -> None:
    network = nn.Conv2d(1, 4, 3, padding=1)
    forward = 2 * 9 * 4 * 32 * 32 / 1e9
    assert gflop_of(network, 32, training=False) == pytest.approx(forward)
    assert gflop_of(network, 32, training=True) == pytest.approx(2 * forward)  # the weights' gradient costs as much
    assert next(network.parameters()).device.type == "cpu"


def test_where_memory_does_not_suffice_the_row_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    def too_large() -> list[float]:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    steps = object.__new__(Training)
    steps.bench, steps.batch, steps.compiled = Bench(torch.device("cpu"), ON_CPU), 32, True
    assert steps.row("bare loop, float32", too_large) is None
    line = capsys.readouterr().out.splitlines()[-1]
    assert json.loads(line.removeprefix(gpu.MARK)) == {
        "what": "bare loop, float32, compiled: out of memory",
        "batch": 32,
    }


def test_a_stage_is_stopped_at_its_limit_with_its_children_and_its_rows_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = (
        "import subprocess, sys, time\n"
        'print(\'row {"what": "first", "seconds": 2.0}\', flush=True)\n'
        "subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    )
    monkeypatch.setattr(gpu, "command_of", lambda stage: [sys.executable, "-c", script])
    results, began = gpu.Results(), time.monotonic()
    gpu.run_stage("training", os.environ, 2.0, results)
    assert time.monotonic() - began < 20  # a child that lived on would hold the output open for a minute
    assert results.failed
    assert results.notes == ["training: stopped at its limit of 2 s; what it had not finished is missing"]
    assert results.rows == [{"stage": "training", "what": "first", "seconds": 2.0}]


def test_a_stage_that_fails_is_named_with_its_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "command_of", lambda stage: [sys.executable, "-c", "raise ValueError('no such layer')"])
    results = gpu.Results()
    gpu.run_stage("inference", os.environ, 60, results)
    (note,) = results.notes
    assert note.startswith("inference: failed after ") and note.endswith("exit code 1: ValueError: no such layer")


def test_a_stage_without_time_is_left_out_and_named(tmp_path: Path) -> None:
    output = tmp_path / "new" / "gpu.md"
    assert gpu.main(["--only", "inference", "--minutes", "0.2", "--output", str(output)]) == 2
    assert output.read_text().endswith("- inference: left out for lack of time, 12 s of 0.2 minutes were left\n")


def test_stages_together_take_less_than_eight_minutes() -> None:
    assert sum(gpu.LIMITS.values()) < 60 * gpu.MINUTES < 480


def test_the_table_has_device_outcomes_and_one_row_for_each_measurement() -> None:
    results = gpu.Results({"GPU": "Card, 80 GiB", "date": "2021-03-01"}, notes=["tests marked gpu: 4 passed"])
    results.take("training", {"peak": 812.4})
    results.take("compiled", {"peak": 790.1})
    row = {"what": "train.yaml", "batch": 8, "seconds": 0.0321, "images_per_second": 249.2}
    results.take("training", {**row, "of_bare": 0.958, "of_peak": 0.0656, "memory": 7.5})
    results.take("inference", {"what": "reading", "seconds": 2.5})
    assert gpu.markdown(results).splitlines() == [
        "- GPU: Card, 80 GiB",
        "- date: 2021-03-01",
        "- bf16 peak (large matrix product, measured in each stage): 790 to 812 TFLOP/s",
        "- tests marked gpu: 4 passed",
        "",
        "| Stage     | What       | Batch |    Time | Images/s | Of bare loop | Of bf16 peak | Memory, GiB |",
        "| --------- | ---------- | ----- | ------- | -------- | ------------ | ------------ | ----------- |",
        "| training  | train.yaml |     8 | 32.1 ms |    249.2 |         0.96 |         6.6% |        7.50 |",
        "| inference | reading    |     - |  2.50 s |        - |            - |            - |           - |",
    ]


@pytest.mark.parametrize(
    "lines, outcome",
    [
        (["....", "4 passed, 39 deselected in 63.10s (0:01:03)"], "4 passed, 39 deselected in 63.10s (0:01:03)"),
        (["=== 1 failed, 3 passed in 9.1s ===", ""], "1 failed, 3 passed in 9.1s"),
        (["/usr/bin/python: No module named pytest"], "none ran: /usr/bin/python: No module named pytest"),
        ([], "none ran: no output"),
    ],
)
def test_the_outcome_of_the_tests_is_pytests_last_line(lines: list[str], outcome: str) -> None:
    assert gpu.tests_outcome(lines) == outcome


def test_only_files_with_gpu_tests_are_collected() -> None:
    files = gpu.gpu_tests()
    mark = "@pytest.mark." + "gpu"  # in two pieces, or this file would be one of them
    assert len(files) >= 3 and all(mark in (ROOT / file).read_text() for file in files)
    assert not any("monailabel" in file for file in files)


def test_wheels_are_installed_without_an_index(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "carried-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("carried.py", "answer = 42\n")
        wheel.writestr("carried-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: carried\nVersion: 1.0\n")
        wheel.writestr("carried-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("carried-1.0.dist-info/RECORD", "")
    assert gpu.install(tmp_path, tmp_path / "site") == "installed 1 wheels, 0.0 MiB"
    assert (tmp_path / "site" / "carried.py").read_text() == "answer = 42\n"
    (tmp_path / "broken-1.0-py3-none-any.whl").write_text("not a zip file")
    with pytest.raises(SystemExit, match=r"could not be installed\. pip says:\n.*broken"):
        gpu.install(tmp_path, tmp_path / "site")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match=r"empty must be a folder of wheels, but holds none\. docs/gpu\.md"):
        gpu.install(tmp_path / "empty", tmp_path / "site")
