"""What libraries warn of while they read a file: kept as notes, each once, instead of printed."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

LIBRARIES = ("pydicom", "highdicom", "nibabel", "nibabel.global", "PIL", "py.warnings")


class Notes(logging.Handler):
    """Collects messages, each once: pydicom logs a warning and raises it as one of Python, too."""

    def __init__(self, level: int = logging.WARNING) -> None:
        super().__init__(level)
        self.notes: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        text = " ".join(record.getMessage().split())
        if text not in self.notes:
            self.notes.append(text)


def keep_notes() -> Notes:
    """Collect the warnings of libraries from now on, for a process that only reads."""
    handler = Notes()
    for name in LIBRARIES:
        log = logging.getLogger(name)
        log.handlers, log.propagate = [handler], False
    warnings.simplefilter("always")
    warnings.formatwarning = _message
    logging.captureWarnings(True)
    return handler


@contextmanager
def collected() -> Iterator[list[str]]:
    """Collect the warnings of libraries meanwhile.

    Example:
        >>> with collected() as notes:
        ...     header = pydicom.dcmread("slice.dcm")
        >>> notes
    """
    logs = [logging.getLogger(name) for name in LIBRARIES]
    before = [(log.handlers, log.propagate) for log in logs]
    shown = warnings.showwarning
    handler = Notes()

    def keep(message: Any, *_: Any, **__: Any) -> None:
        handler.handle(logging.LogRecord("py.warnings", logging.WARNING, "", 0, str(message), None, None))

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = keep
        for log in logs:
            log.handlers, log.propagate = [handler], False
        try:
            yield handler.notes
        finally:
            warnings.showwarning = shown
            for log, (handlers, propagate) in zip(logs, before, strict=True):
                log.handlers, log.propagate = handlers, propagate


def _message(message: Any, *_: Any, **__: Any) -> str:
    """A warning without the place in the source of the library."""
    return str(message)
