"""Options on the command line: which exist, and whether their values fit."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from monai.bundle import ConfigParser

RUNNER_ARGUMENTS = (  # of ``python -m monai.bundle run``, not of a config
    *("run_id", "init_id", "final_id", "meta_file", "config_file", "logging_file", "tracking", "args_file"),
    *("workflow_type", "workflow", "properties_path"),
)
TRACKING = ("experiment_name", "run_name", "tracking_uri", "save_execute_config")  # MONAI's settings of MLflow
STEPS = ("imports", "initialize", "run", "training", "evaluating", "inference", "finalize")


def check_overrides(arguments: list[str], config: Mapping[str, Any]) -> None:
    """Refuse overrides that MONAI would take without a word and without effect.

    Args:
        arguments: of the command line, ``--id value`` or ``--id=value``.
        config: as it is about to run, overrides included.

    Raises:
        ValueError: for a setting that no config file has, or a value of another type than the file's.
    """
    given = [argument.split("=")[0][2:] for argument in arguments if argument.startswith("--")]
    files = option_value(arguments, "config_file")
    if files is None:
        return
    known = ConfigParser.load_config_files(_as_list(files))
    allowed = (*RUNNER_ARGUMENTS, *(TRACKING if option_value(arguments, "tracking") else ()))
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


def option_value(arguments: list[str], name: str) -> str | None:
    """The value of ``--name`` on the command line; None where it is not given."""
    for position, argument in enumerate(arguments):
        if argument == f"--{name}" and position + 1 < len(arguments):
            return arguments[position + 1]
        if argument.startswith(f"--{name}="):
            return argument.split("=", 1)[1]
    return None


def run_id(arguments: list[str]) -> str:
    """What MONAI's ``run`` was told to run: ``run training --config_file ...``."""
    positional = arguments[1:2] if arguments[:1] == ["run"] else []
    if positional and not positional[0].startswith("-"):
        return positional[0]
    return option_value(arguments, "run_id") or "run"


def _as_list(files: str) -> list[str]:
    """MONAI takes one file or a list written as Python does."""
    return [file.strip().strip("'\"") for file in files.strip("[]").split(",")]
