"""Exit codes and messages that all commands share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from common.reproduce.command import main as reproduce
from common.run.command import Parser
from common.run.errors import CasesFailed, NothingToDo, report_error

ROOT = Path(__file__).resolve().parents[2]
TRAIN = "bundles/ct_drsegunet/configs/train.yaml"
COMMANDS = (
    "archive",
    "calibrate",
    "check",
    "compare",
    "lungs",
    "phantoms",
    "package",
    "dicomweb",
    "pacs",
    "presence",
    "reproduce",
    "view",
    "datasets.ct.cut",
    "shortcuts",
    "trust",
    "self_learning.pseudo_labels",
)


def raised(error: BaseException) -> BaseException:
    """The error with a traceback in this project's code."""
    frame = {"error": error}
    exec(compile("def fail():\n    raise error\n", str(ROOT / "common" / "files.py"), "exec"), frame)
    try:
        frame["fail"]()  # type: ignore[operator]
    except BaseException as caught:
        return caught
    raise AssertionError


@pytest.mark.parametrize(
    ("error", "code"), [(CasesFailed("2 of 3 failed"), 2), (NothingToDo("No scan"), 3), (KeyboardInterrupt(), 130)]
)
def test_exit_codes_tell_what_ended_a_command(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    error = raised(error)
    with pytest.raises(SystemExit) as end:
        report_error(type(error), error, error.__traceback__)
    assert end.value.code == code
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_mistake_has_pythons_own_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    error = raised(ValueError("--epochs must be a number"))
    report_error(type(error), error, error.__traceback__)
    assert capsys.readouterr().err == "\nERROR  --epochs must be a number\n"


def test_the_parser_names_the_nearest_option() -> None:
    parser = Parser(prog="python -m common.view")
    parser.add_argument("--image")
    parser.add_argument("--seed", type=int, required=True)
    assert parser.parse_args(["--seed", "3"]).seed == 3
    with pytest.raises(ValueError, match=r"^There is no option '--imgae'. Did you mean --image\? Options: --help"):
        parser.parse_args(["--seed", "3", "--imgae=a.nii"])
    with pytest.raises(ValueError, match=r"^Argument --seed: invalid int value: 'x'."):
        parser.parse_args(["--seed", "x"])
    with pytest.raises(ValueError, match=r"^The following arguments are required: --seed"):
        parser.parse_args([])
    with pytest.raises(ValueError, match=r"^There is one value too many: a b"):
        parser.parse_args(["--seed", "3", "a", "b"])
    with pytest.raises(ValueError, match=r"There is no option '--see'. Did you mean --seed"):
        parser.parse_args(["--seed", "3", "--see", "3"])


def test_every_command_shares_the_parser() -> None:
    found = {
        path.relative_to(ROOT / "common").with_suffix("").as_posix().replace("/__main__", "").replace("/", ".")
        for path in (ROOT / "common").rglob("*.py")
        if "run_command(main" in path.read_text() and path.name != "command.py"
    }
    assert found == set(COMMANDS)
    assert not [path for path in (ROOT / "common").rglob("*.py") if "= argparse.ArgumentParser(" in path.read_text()]


def test_a_mistake_of_a_command_is_one_line_with_code_1() -> None:
    words = ["common.view", "mask.nii.gz", "--imgae", "scan.nii.gz"]
    done = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("\nERROR  There is no option '--imgae'. Did you mean --image?")
    assert len(done.stderr.strip().splitlines()) == 1


def test_tables_of_experiments_that_nobody_has_run_are_nothing_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reproduce(["ct_drsegunet", "--tables_only", "--output_dir", str(tmp_path)]) == 3
    assert "No experiment is done" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (["training", "--config_file", TRAIN, "--epochs", "5000"], "with --resume True continues after the last"),
        pytest.param(
            ["--config_file", TRAIN.replace("train", "inference")],
            "The same command continues with the cases",
            marks=pytest.mark.slow,
        ),
    ],
    ids=["training", "inference"],
)
@pytest.mark.usefixtures("small_phantoms")
def test_ctrl_c_ends_in_one_line_that_tells_how_to_continue(words: list[str], advice: str, tmp_path: Path) -> None:
    places = ["--output_dir", tmp_path / "out", "--size", "[32,32]"]
    places += (
        ["--ckpt_dir", tmp_path / "models"]
        if words[0] == "training"
        else ["--weights", "$[print('waiting', flush=True), __import__('time').sleep(60)]"]
    )
    command = [sys.executable, "-m", "monai.bundle", "run", *words, *map(str, places)]
    log = tmp_path / "log.txt"
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file, start_new_session=True)
    while not ((tmp_path / "models" / "last.pt").exists() or "waiting" in log.read_text()) and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes of the command
    assert process.wait(60) == 130, log.read_text()[-2000:]
    text = log.read_text()
    assert text.strip().splitlines()[-1].startswith("Stopped. The same command") and advice in text
    assert "Traceback" not in text and "\r" not in text and "it/s" not in text
