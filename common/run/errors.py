"""A user's mistake is printed as one message, any other error as Python does."""

from __future__ import annotations

import sys
import time
import traceback
from pathlib import Path
from types import TracebackType

from .distributed import is_main

PATIENCE = 5  # seconds until a process other than the first prints its error


def report_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print a user's mistake as one message, and any other error as Python does.

    A mistake is a ValueError or OSError raised by this project's own code, even if MONAI wrapped it.
    """
    if not is_main():
        time.sleep(PATIENCE)  # all processes make most mistakes: torchrun ends this one when the first one has failed
    cause = origin(error)
    if ours(cause):
        print(f"\nERROR  {cause}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def origin(error: BaseException) -> BaseException:
    """Return the error that this project's own code raised, unwrapped; if there is none, the innermost error."""
    while error.__cause__ is not None and not ours(error):
        error = error.__cause__
    return error


def ours(error: BaseException) -> bool:
    """Whether an error is a user's mistake, raised by this project's own code."""
    frames = traceback.extract_tb(error.__traceback__)
    own = Path(__file__).resolve().parents[1]
    return (
        isinstance(error, (ValueError, OSError)) and bool(frames) and own in Path(frames[-1].filename).resolve().parents
    )
