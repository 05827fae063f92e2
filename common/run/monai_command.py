"""The two things that MONAI's command line keeps to itself, isolated here.

``python -m monai.bundle run`` parses a config and hands the parser to none of the config's own components, so it is
found on the stack; and what was run is known from ``sys.argv`` alone, so a step that is run from Python sets it.
MONAI 1.6 offers no other way: ``ConfigWorkflow`` keeps its parser private to the object that the command line makes.
"""

from __future__ import annotations

import inspect
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from monai.bundle import ConfigParser
from monai.bundle import __file__ as monai_bundle


def running_parser() -> ConfigParser | None:
    """The parser of the config that is running now, overrides included; None outside a run."""
    for frame in inspect.stack(0):
        candidate = frame.frame.f_locals.get("self")
        if isinstance(candidate, ConfigParser):
            return candidate
    return None


def given_arguments() -> list[str]:
    """What was given to ``python -m monai.bundle``: ``run``, and all that follows."""
    return sys.argv[1:]


@contextmanager
def arguments_given(arguments: Sequence[str]) -> Iterator[None]:
    """Let a step that is run from Python look meanwhile as if the command line had started it, and print that line."""
    before = sys.argv
    sys.argv = [str(Path(monai_bundle).with_name("__main__.py")), *arguments]
    print(f"\n$ python -m monai.bundle {shlex.join(arguments)}", flush=True)
    try:
        yield
    finally:
        sys.argv = before
