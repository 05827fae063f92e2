"""What every run does first: check the command line, keep the log calm, record what is about to run."""

from __future__ import annotations

import difflib
import inspect
import json
import logging
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any

from monai.bundle import ConfigParser

from .distributed import hush, is_main, world_size

RUNNER_ARGUMENTS = (  # of ``python -m monai.bundle run``, not of a config
    *("run_id", "init_id", "final_id", "meta_file", "config_file", "logging_file", "tracking", "args_file"),
    *("workflow_type", "workflow", "properties_path"),
)
PATIENCE = 5  # seconds until a process that is not the first tells its error
TRACKING = ("experiment_name", "run_name", "tracking_uri", "save_execute_config")  # MONAI's settings of MLflow
STEPS = ("imports", "initialize", "run", "training", "evaluating", "inference", "finalize")
PACKAGES = (
    "av",
    "monai",
    "torch",
    "numpy",
    "pytorch-ignite",
    "nibabel",
    "pydicom",
    "highdicom",
    "itk",
    "scikit-image",
    "scikit-learn",
    "scipy",
    "vtk",
)


def start(output_dir: str | Path, seed: int | None = None) -> None:
    """First line of every config's ``initialize``.

    Of several processes the first one alone records and logs.

    Args:
        output_dir: receives ``run.json`` (command, versions, seed, commit) and ``config.json`` (as it was run), for
            training and evaluating ``run_training.json`` and so on.
        seed: recorded; the config sets it.

    Raises:
        ValueError: for a mistyped override on the command line, or several processes of a config for one.
        PermissionError: when ``output_dir`` cannot be written.
    """
    sys.excepthook = report_error
    # What MONAI and ignite call of deprecated names is nothing that a user can act on.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(monai|torch|ignite)\b")
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # the tables that it makes
    parser = running_parser()
    if parser is not None:
        check_overrides(sys.argv[1:], parser.get())
        check_processes(parser.get())
    writable(output_dir)
    if is_main():
        record(Path(output_dir), run_id(sys.argv[1:]), seed, parser.get() if parser is not None else {})
    else:
        hush()


def report_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print a user's mistake as its message alone, anything else as Python does.

    A mistake is a ValueError or OSError raised by this project's own code, also where MONAI wrapped it.
    """
    if not is_main():
        time.sleep(PATIENCE)  # torchrun ends this process meanwhile if the first one fails too: all make most mistakes
    cause = origin(error)
    if ours(cause):
        print(f"\nERROR  {cause}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def origin(error: BaseException) -> BaseException:
    """What this project's own code raised, below what others wrapped around it; else the innermost error."""
    while error.__cause__ is not None and not ours(error):
        error = error.__cause__
    return error


def ours(error: BaseException) -> bool:
    """Whether this project's own code raised a user's mistake."""
    frames = traceback.extract_tb(error.__traceback__)
    own = Path(__file__).resolve().parent
    return (
        isinstance(error, (ValueError, OSError)) and bool(frames) and own in Path(frames[-1].filename).resolve().parents
    )


def running_parser() -> ConfigParser | None:
    """The parser of the config that is running now, overrides included: MONAI hands it to no one, the stack has it."""
    for frame in inspect.stack(0):
        candidate = frame.frame.f_locals.get("self")
        if isinstance(candidate, ConfigParser):
            return candidate
    return None


def check_overrides(arguments: list[str], config: Mapping[str, Any]) -> None:
    """Refuse overrides that MONAI would take without a word and without effect.

    Args:
        arguments: of the command line, ``--id value`` or ``--id=value``.
        config: as it is about to run, overrides included.

    Raises:
        ValueError: for a setting that no config file has, or a value of another type than the file's.
    """
    given = [argument.split("=")[0][2:] for argument in arguments if argument.startswith("--")]
    files = _argument(arguments, "config_file")
    if files is None:
        return
    known = ConfigParser.load_config_files(_as_list(files))
    allowed = (*RUNNER_ARGUMENTS, *(TRACKING if _argument(arguments, "tracking") else ()))
    for name in given:
        top = name.replace("#", "::").split("::")[0]
        if name in allowed:
            continue
        if top not in known:
            settings = [key for key, value in known.items() if not isinstance(value, dict) and key not in STEPS]
            close = difflib.get_close_matches(top, known, n=1)
            hint = f"Did you mean --{close[0]}? " if close else ""
            raise ValueError(f"No setting is called {top!r}. {hint}Settings: {', '.join(settings)}.")
        expected = _expected(known[top], config.get(top))
        if name == top and expected:
            raise ValueError(f"--{top} is {expected}, got {config.get(top)!r}.")


def check_processes(config: Mapping[str, Any]) -> None:
    """Refuse several processes that know nothing of one another.

    Args:
        config: as it is about to run.

    Raises:
        ValueError: where torchrun has started several, and the config does not join them.
    """
    if world_size() > 1 and "distributed.join" not in str(config.get("initialize")):
        raise ValueError(
            f"This config is for one process, got {world_size()}, which would write the same files. Add "
            "multi_gpu_train.yaml, or multi_gpu_evaluate.yaml, to --config_file; or run without torchrun."
        )


def _expected(default: Any, value: Any) -> str:
    """What a value should have been, or nothing where it has the type of the config file's."""
    if isinstance(value, str) and value.startswith(("$", "@", "%")):
        return ""
    if isinstance(default, bool):
        return "" if isinstance(value, bool) else "True or False, in this spelling"
    if isinstance(default, (int, float)):
        fits = isinstance(value, (int, float)) and not isinstance(value, bool)
        return "" if fits else f"a number such as {default}"
    if isinstance(default, list):
        return "" if isinstance(value, (list, tuple)) else f'a list such as "{default}"'
    return ""


def _argument(arguments: list[str], name: str) -> str | None:
    for position, argument in enumerate(arguments):
        if argument == f"--{name}" and position + 1 < len(arguments):
            return arguments[position + 1]
        if argument.startswith(f"--{name}="):
            return argument.split("=", 1)[1]
    return None


def run_id(arguments: list[str]) -> str:
    """What MONAI's ``run`` was told to run: ``run training --config_file ...``."""
    positional = arguments[1:2] if arguments[:1] == ["run"] else []
    return (
        positional[0] if positional and not positional[0].startswith("-") else _argument(arguments, "run_id") or "run"
    )


def _as_list(files: str) -> list[str]:
    """MONAI takes one file or a list written as Python does."""
    return [file.strip().strip("'\"") for file in files.strip("[]").split(",")]


def writable(folder: str | Path) -> Path:
    """Make a folder, and prove that it can be written before hours of work end in it.

    Raises:
        PermissionError: when it cannot.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise PermissionError(f"{folder} must be a folder that can be written: {error}. Give another one.") from error
    return folder


def record(output_dir: Path, name: str, seed: int | None, config: Mapping[str, Any]) -> None:
    """Write ``run.json`` and ``config.json``, or ``run_<name>.json`` and so on: what it takes to run the same again."""
    suffix = "" if name == "run" else f"_{name}"
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    facts = {
        "command": shlex.join([*launcher(), "-m", "monai.bundle", *sys.argv[1:]]),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "seed": seed,
        "commit": git_commit(),
        "python": platform.python_version(),
        "processor": platform.processor() or platform.machine(),
        "versions": versions,
    }
    (output_dir / f"run{suffix}.json").write_text(json.dumps(facts, indent=2) + "\n")
    (output_dir / f"config{suffix}.json").write_text(json.dumps(config, indent=2, default=str) + "\n")


def launcher() -> list[str]:
    """What started this process: ``python``, or torchrun with its numbers of machines and processes."""
    if world_size() == 1:
        return ["python"]
    machines, processes = (os.environ.get(name, "1") for name in ("GROUP_WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    return ["torchrun", f"--nnodes={machines}", f"--nproc_per_node={processes}"]


def git_commit() -> str | None:
    """The commit of this code, with ``-dirty`` where files differ from it; None outside a git checkout."""
    command = [
        "git",
        "-C",
        os.path.dirname(os.path.abspath(__file__)),
        "describe",
        "--always",
        "--dirty",
        "--abbrev=40",
    ]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() or None
    except (OSError, subprocess.CalledProcessError):
        return None
