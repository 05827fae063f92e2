"""The record of a run, to repeat it: ``run.json`` and ``config.json``."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..files import complete_file
from .distributed import world_size
from .monai_command import given_arguments

PACKAGES = (
    "av",
    "monai",
    "torch",
    "numpy",
    "pytorch-ignite",
    "nibabel",
    "pydicom",
    "highdicom",
    "itk-io",
    "scikit-image",
    "scikit-learn",
    "scipy",
    "vtk",
)


def record(output_dir: Path, name: str, seed: int | None, config: Mapping[str, Any]) -> None:
    """Write ``run.json`` and ``config.json``, or ``run_<name>.json`` and ``config_<name>.json``."""
    suffix = "" if name == "run" else f"_{name}"
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    facts = {
        "command": shlex.join([*launcher(), "-m", "monai.bundle", *given_arguments()]),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "seed": seed,
        "commit": git_commit(),
        "python": platform.python_version(),
        "processor": platform.processor() or platform.machine(),
        "versions": versions,
    }
    for stem, content in (("run", facts), ("config", config)):
        with complete_file(output_dir / f"{stem}{suffix}.json") as part:
            part.write_text(json.dumps(content, indent=2, default=str) + "\n")


def launcher() -> list[str]:
    """Return the command that started this process: ``python``, or torchrun with its machines and processes."""
    if world_size() == 1:
        return ["python"]
    machines, processes = (os.environ.get(name, "1") for name in ("GROUP_WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    return ["torchrun", f"--nnodes={machines}", f"--nproc_per_node={processes}"]


def git_commit() -> str | None:
    """Return the commit of this code, with ``-dirty`` if files differ from it; None where it is unknown.

    Outside a git checkout it is what the file ``COMMIT`` beside ``common`` says, which the container's image has.
    """
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
        written = Path(__file__).resolve().parents[2] / "COMMIT"
        return (written.read_text(encoding="utf-8").strip() or None) if written.is_file() else None


def add_to_record(output_dir: str | Path, facts: Mapping[str, Any]) -> None:
    """Add facts to ``run.json``, which is made if it does not exist."""
    path = Path(output_dir) / "run.json"
    content = json.loads(path.read_bytes().decode("utf-8", "surrogateescape")) if path.is_file() else {}
    text = json.dumps({**content, **facts}, indent=2, ensure_ascii=False) + "\n"
    with complete_file(path) as part:
        part.write_bytes(text.encode("utf-8", "surrogateescape"))  # file names need not be UTF-8
