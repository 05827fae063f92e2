"""What every run does first: check the command line, keep the log calm, record what is about to run."""

from __future__ import annotations

import logging
import sys
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .distributed import is_main, silence, world_size
from .errors import report_error
from .monai_command import given_arguments, running_parser
from .overrides import check_overrides, run_id
from .record import record


def start_run(output_dir: str | Path, seed: int | None = None) -> None:
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
        check_overrides(given_arguments(), parser.get())
        check_processes(parser.get())
    writable(output_dir)
    if is_main():
        record(Path(output_dir), run_id(given_arguments()), seed, parser.get() if parser is not None else {})
    else:
        silence()


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
