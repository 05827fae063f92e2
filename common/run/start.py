"""The start of every run: check the command line, quiet the log, record what is run."""

from __future__ import annotations

import logging
import sys
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..settings import is_expression
from .distributed import is_main, silence, world_size
from .errors import after_stop, report_error
from .monai_command import given_arguments, running_parser
from .overrides import check_overrides, config_files, option_value, run_id
from .record import record
from .recorded import apply_record


def start_run(output_dir: str | Path, seed: int | None = None) -> None:
    """Start a run; the first line of every config's ``initialize``.

    The settings that the record of the weights holds are set in the config, before its components are built.

    Of several processes, only the first one records and logs.

    Args:
        output_dir: receives ``run.json`` (command, versions, seed, commit) and ``config.json`` (the config as run);
            training and evaluating write ``run_training.json`` etc.
        seed: recorded; the config sets it.

    Raises:
        ValueError: for a mistake on the command line or in an overlay (``common.run.overrides``), a bundle that is not
            found, an option that contradicts the record of the weights, or several processes with a config for one.
        PermissionError: when ``output_dir`` is not writable.
    """
    sys.excepthook = report_error
    # Deprecated calls inside MONAI and ignite: a user cannot act on them
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(monai|torch|ignite)\b")
    # ignite's line on Ctrl-C, which has no text
    logging.getLogger("ignite.engine.engine").addFilter(lambda line: not line.getMessage().endswith("exception: "))
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # it logs each table that it creates
    parser = running_parser()
    if parser is not None:
        after_stop(advice(parser.get()))
        check_overrides(given_arguments(), parser.get())
        check_place(parser.get(), option_value(given_arguments(), "config_file"))
        check_processes(parser.get())
        if apply_record(parser):  # the folder may depend on a setting that the record has
            output_dir = parser.get_parsed_content("output_dir")
            seed = parser.get_parsed_content("seed") if seed is not None else None
    writable(output_dir)
    if is_main():
        record(Path(output_dir), run_id(given_arguments()), seed, parser.get() if parser is not None else {})
    else:
        silence()


def advice(config: Mapping[str, Any]) -> str:
    """What to do after Ctrl-C, by what a config has."""
    if "resume" in config:
        return "The same command with --resume True continues after the last complete epoch."
    if "again" in config:
        return "The same command continues with the cases that are left."
    return ""


def check_place(config: Mapping[str, Any], files: str | None) -> None:
    """Refuse a relative ``bundle_root`` that is not found from the current folder, where outputs would land as well.

    Args:
        config: the config as run.
        files: config files as given, for the message.

    Raises:
        ValueError: if there is no such folder.
    """
    root = config.get("bundle_root")
    if isinstance(root, str) and not is_expression(root) and not Path(root).is_dir():
        found = Path(config_files(files or "")[0]).resolve().parents[1]
        raise ValueError(
            f"bundle_root is {root}, which is no folder seen from {Path.cwd()}. Add --bundle_root {found}, or run from "
            "the folder that holds bundles/."
        )


def check_processes(config: Mapping[str, Any]) -> None:
    """Refuse several processes that are not joined.

    Args:
        config: the config as run.

    Raises:
        ValueError: when torchrun started several processes and the config does not join them.
    """
    if world_size() > 1 and "distributed.join" not in str(config.get("initialize")):
        raise ValueError(
            f"This config is for one process, got {world_size()} that would write the same files. Add "
            "multi_gpu_train or multi_gpu_evaluate to --config_file, or run without torchrun."
        )


def writable(folder: str | Path) -> Path:
    """Make a folder and check that it is writable, before hours of work are lost.

    Raises:
        PermissionError: when it is not writable.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise PermissionError(f"{folder} must be a writable folder: {error}. Choose another folder.") from error
    return folder
