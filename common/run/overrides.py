"""Options on the command line: which exist, and whether their values fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai.bundle import ConfigParser

from ..settings import check_options

RUNNER_ARGUMENTS = (  # of ``python -m monai.bundle run``, not of a config
    *("run_id", "init_id", "final_id", "meta_file", "config_file", "logging_file", "tracking", "args_file"),
    *("workflow_type", "workflow", "properties_path"),
)
TRACKING = ("experiment_name", "run_name", "tracking_uri", "save_execute_config")  # MONAI's settings of MLflow
STEPS = ("imports", "initialize", "run", "training", "evaluating", "inference", "finalize")


def check_overrides(arguments: list[str], config: Mapping[str, Any]) -> None:
    """Refuse overrides that MONAI would accept silently and without effect.

    Args:
        arguments: of the command line, ``--id value`` or ``--id=value``.
        config: as it is about to run, overrides included.

    Raises:
        ValueError: for a setting that no config file has, or a value of another type than the file's.
    """
    files = option_value(arguments, "config_file")
    if files is None:
        return
    given = [argument.split("=")[0][2:] for argument in arguments if argument.startswith("--")]
    allowed = (*RUNNER_ARGUMENTS, *(TRACKING if option_value(arguments, "tracking") else ()))
    check_settings({name: config.get(name) for name in given if name not in allowed}, _as_list(files))


def check_settings(settings: Mapping[str, Any], files: Sequence[str], where: str = "") -> None:
    """Refuse settings that config files do not have, and values of another type than the files'.

    Args:
        settings: overrides by id.
        files: config files, merged as MONAI merges them.
        where: place of the mistake for the message; empty for the command line.

    Raises:
        ValueError: for an unknown setting, or a value of another type.
    """
    known = ConfigParser.load_config_files(list(files))
    plain = [key for key, value in known.items() if not isinstance(value, dict) and key not in STEPS]
    check_options(settings, known, plain, where)


def option_value(arguments: list[str], name: str) -> str | None:
    """Value of ``--name`` on the command line; None if it is not given."""
    for position, argument in enumerate(arguments):
        if argument == f"--{name}" and position + 1 < len(arguments):
            return arguments[position + 1]
        if argument.startswith(f"--{name}="):
            return argument.split("=", 1)[1]
    return None


def run_id(arguments: list[str]) -> str:
    """The step that a command runs, such as ``training`` in ``run training --config_file ...``."""
    positional = arguments[1:2] if arguments[:1] == ["run"] else []
    if positional and not positional[0].startswith("-"):
        return positional[0]
    return option_value(arguments, "run_id") or "run"


def _as_list(files: str) -> list[str]:
    """MONAI takes one file or a list written as Python does."""
    return [file.strip().strip("'\"") for file in files.strip("[]").split(",")]
