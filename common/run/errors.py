"""A user's mistake is printed as one message, anything else as Python does."""

from __future__ import annotations

import sys
import time
import traceback
from pathlib import Path
from types import TracebackType

from .distributed import is_main

PATIENCE = 5  # seconds until a process that is not the first tells its error


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
    own = Path(__file__).resolve().parents[1]
    return (
        isinstance(error, (ValueError, OSError)) and bool(frames) and own in Path(frames[-1].filename).resolve().parents
    )
