"""Run a step of a bundle's configs from Python."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from typing import Any

from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser, ConfigWorkflow

from .monai_command import arguments_given


def run_step(step: str, files: Sequence[str], overrides: Mapping[str, Any]) -> None:
    """Run a step as ``python -m monai.bundle run <step> --config_file ...`` does, and record that command.

    Args:
        step: such as ``training``.
        files: paths of the configs.
        overrides: options by name; those that no config has are left out.
    """
    known = {str(name).split("::")[0] for name in ConfigParser.load_config_files(list(files))}
    overrides = {name: value for name, value in overrides.items() if name.split("::")[0] in known}
    arguments = ["run", step, "--config_file", files[0] if len(files) == 1 else str(list(files))]
    for name, value in overrides.items():
        arguments += [f"--{name}", _argument(value)]
    with arguments_given(arguments):
        workflow = ConfigWorkflow(config_file=list(files), run_id=step, **overrides)
        workflow.initialize()
        workflow.run()
        workflow.finalize()
    del workflow
    gc.collect()  # engines and handlers reference each other; the next step may need the memory


def _argument(value: Any) -> str:
    """Return a value as it is written on the command line."""
    if value is None:
        return "$None"  # MONAI's command line ignores None itself
    return value if isinstance(value, str) and DefaultParseValue(value) == value else repr(value)
