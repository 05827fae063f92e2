"""Run a step of a bundle's configs from Python."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from typing import Any

from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser, ConfigWorkflow

from .monai_command import give_arguments


def run_step(step: str, files: Sequence[str], overrides: Mapping[str, Any]) -> None:
    """What ``python -m monai.bundle run <step> --config_file ...`` does, which is also what the run records."""
    known = {str(name).split("::")[0] for name in ConfigParser.load_config_files(list(files))}
    overrides = {name: value for name, value in overrides.items() if name.split("::")[0] in known}
    arguments = ["run", step, "--config_file", files[0] if len(files) == 1 else str(list(files))]
    for name, value in overrides.items():
        arguments += [f"--{name}", _argument(value)]
    give_arguments(arguments)
    workflow = ConfigWorkflow(config_file=list(files), run_id=step, **overrides)
    workflow.initialize()
    workflow.run()
    workflow.finalize()
    del workflow
    gc.collect()  # engines and handlers hold each other; the next step may need the memory


def _argument(value: Any) -> str:
    """A value as the command line spells it, so that it is read as the same again."""
    if value is None:
        return "$None"  # MONAI's command line takes no notice of None itself
    return value if isinstance(value, str) and DefaultParseValue(value) == value else repr(value)
