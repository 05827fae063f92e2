"""A user's mistake is printed as one message, any other error as Python does; and the exit codes of all commands."""

from __future__ import annotations

import errno
import sys
import time
import traceback
from pathlib import Path
from types import TracebackType

from .distributed import is_main

PATIENCE = 5  # seconds until a process other than the first prints its error
MISTAKE = 1  # exit code: the call is wrong, or the program failed
STOPPED = 130  # exit code of a command that Ctrl-C has ended, as shells have it
# Files of MONAI in which a component is built and a reference is followed
MONAI_BUILDS, MONAI_REFERS = ("utils", "module.py"), ("bundle", "reference_resolver.py")
_continue = [""]  # what to do after Ctrl-C


class Refused(ValueError):
    """A case is not segmented for what it shows: it is no chest, say, or not like the training data."""


class CasesFailed(ValueError):
    """Some cases failed; all others are done."""

    exit_code = 2


class NothingToDo(FileNotFoundError):
    """The input holds nothing that the command works on."""

    exit_code = 3


def after_stop(advice: str) -> None:
    """State what Ctrl-C will print: how to continue."""
    _continue[0] = advice


def report_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print a user's mistake as one message, and any other error as Python does; Python's ``sys.excepthook``.

    A mistake is a ValueError or OSError raised by this project's own code, even if MONAI wrapped it; or what MONAI
    cannot build from a config.

    Raises:
        SystemExit: with an exit code other than 1, see docs/troubleshooting.md.
    """
    if not is_main():
        time.sleep(PATIENCE)  # all processes make most mistakes: torchrun ends this one when the first one has failed
    cause = origin(error)
    if isinstance(cause, KeyboardInterrupt):
        if is_main():
            print(f"\nStopped. {_continue[0]}".rstrip(), file=sys.stderr)
        raise SystemExit(STOPPED)
    mistake = cause if ours(cause) else full_disk(error) or mistake_in_config(error)
    if not mistake:
        sys.__excepthook__(kind, error, trace)
        return
    print(f"\nERROR  {mistake}", file=sys.stderr)
    code = getattr(cause, "exit_code", MISTAKE)
    if code != MISTAKE:
        raise SystemExit(code)


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


def mistake_in_config(error: BaseException) -> str:
    """Say what MONAI could not build from a config, or nothing if the error is another one.

    Told are a component that does not exist, one that does not take its arguments, a reference to nothing, a
    transform of data that are not there, and slices that are too small for the network.
    """
    frames = traceback.extract_tb(error.__traceback__)
    place = Path(frames[-1].filename).parts[-2:] if frames else ()
    if isinstance(error, ModuleNotFoundError) and place == MONAI_BUILDS:
        return f"The config names a component that does not exist: {str(error).split(': ')[-1]} Correct its _target_."
    if isinstance(error, ValueError) and place == MONAI_REFERS:
        return f"The config refers to a setting that it does not have: {str(error).split('`')[1]}. Correct the name."
    if isinstance(error, KeyError) and " of transform " in str(error):
        return f"The config gives a transform a key that the data do not have: {error.args[0]}. Correct its keys."
    if isinstance(error, TypeError) and place == MONAI_BUILDS:  # the call itself, not something inside the component
        return f"The arguments of a component in the config are wrong: {error}. Correct them."
    if isinstance(error, ValueError) and "more than 1 value per channel" in str(error):
        return (
            "A single slice of this size is one pixel in the deepest layer, too little for batch normalisation. Give a "
            "larger --size or --batch_size."
        )
    return mistake_in_config(error.__cause__) if error.__cause__ is not None else ""


def full_disk(error: BaseException | None) -> str:
    """Say that a disk is full, or nothing if the error is another one."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"{error.filename or 'An output'}: no space is left on the disk. Free some. {_continue[0]}".rstrip()
        error = error.__cause__ or error.__context__
    return ""
