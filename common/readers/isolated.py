"""Read files in a process of their own, so that a decoder that crashes, hangs or needs too much memory loses one file.

The process starts once and serves many files. It imports neither torch nor MONAI, which keeps its start below a second.
Volumes come back in shared memory, frames of clips one by one through a pipe.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import io
import logging
import os
import pickle
import select
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

TIMEOUT = 300.0  # seconds without an answer
MEMORY = 16.0  # GiB that reading one file may need, beyond what the libraries need
LARGE = 2**20  # bytes; larger arrays go through shared memory
SHARED = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # memory as a file; else the folder for temporary files
LIBRARIES = ("pydicom", "highdicom", "nibabel", "nibabel.global", "PIL", "py.warnings")


class Isolated:
    """A process that reads files.

    Args:
        timeout: seconds after which a file that gives nothing is abandoned.
        memory: GiB that one file may need.

    Example:
        >>> reader = Isolated()
        >>> values, affine, meta = next(reader.run("common.readers.volume", "read_volume", "scan.nii.gz"))
    """

    def __init__(self, timeout: float = TIMEOUT, memory: float = MEMORY) -> None:
        self.timeout, self.memory = timeout, memory
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        atexit.register(self.close)

    def run(self, module: str, function: str, *arguments: Any, **options: Any) -> Iterator[Any]:
        """Call a function in the process, and yield what it returns, or each item of the generator that it returns.

        Raises:
            ValueError: what the function raised, or that the process was ended because it crashed, hung or needed too
                much memory; the next call starts a new one.
        """
        with self._lock:
            process = self._started()
            done = False
            try:
                self._send(process, (module, function, arguments, options))
                while True:
                    kind, content = self._receive(process, arguments)
                    if kind == "item":
                        yield content
                    elif kind == "end":
                        done = True
                        return
                    else:
                        done = True
                        raise content
            finally:
                if not done:  # the caller stopped early, or the process is lost
                    self.close()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            root = Path(__file__).resolve().parents[len(__name__.split(".")) - 1]
            code = f"import sys; sys.path.insert(0, {str(root)!r}); from {__name__} import serve; serve({self.memory})"
            environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        return self._process

    @staticmethod
    def _send(process: subprocess.Popen[bytes], content: Any) -> None:
        assert process.stdin is not None
        try:
            pickle.dump(content, process.stdin)
            process.stdin.flush()
        except (BrokenPipeError, OSError) as error:
            raise ValueError("the reading process ended. Run again.") from error

    def _receive(self, process: subprocess.Popen[bytes], arguments: tuple[Any, ...]) -> tuple[str, Any]:
        """One answer; ValueError where there is none."""
        deadline = time.monotonic() + self.timeout
        header = self._exactly(process, 8, deadline)
        body = self._exactly(process, int.from_bytes(header, "big"), deadline)
        kind, content = pickle.loads(body)
        if kind == "shared":
            name, shape, dtype, rest = content
            values = np.memmap(name, dtype, "r+", shape=shape)
            os.unlink(name)  # the memory is released with the array
            return "item", (values.view(np.ndarray), *rest)
        return kind, content

    def _exactly(self, process: subprocess.Popen[bytes], size: int, deadline: float) -> bytes:
        assert process.stdout is not None
        parts: list[bytes] = []
        while size > 0:
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                self.close()
                raise ValueError(
                    f"reading took longer than {self.timeout:.0f} s and was stopped. Check that it opens in a viewer."
                )
            part = os.read(process.stdout.fileno(), min(size, 2**20))
            if not part:
                code = process.wait()
                self.close()
                raise ValueError(
                    f"its decoder crashed (exit code {code}). Export the file again, or convert it to NIfTI or png."
                )
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        """End the process; the next call starts another."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    if pipe is not None:
                        pipe.close()


class _Notes(logging.Handler):
    """Collects what libraries log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.notes: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message once."""
        text = " ".join(record.getMessage().split())
        if text not in self.notes:
            self.notes.append(text)


def serve(memory: float) -> None:
    """Answer calls from standard input until it ends; runs in the process of :class:`Isolated`."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not mix with answers
    _limit(memory)
    notes = _Notes()
    logging.captureWarnings(True)
    for name in LIBRARIES:
        log = logging.getLogger(name)
        log.handlers, log.propagate = [notes], False
    warnings.simplefilter("always")
    while True:
        try:
            module, function, arguments, options = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        notes.notes.clear()
        try:
            result = getattr(importlib.import_module(module), function)(*arguments, **options)
            for item in result if isinstance(result, Iterator) else [result]:
                _answer(answers, item, notes.notes)
            _write(answers, ("end", None))
        except MemoryError:
            _write(
                answers, ("error", ValueError(f"reading needs more than {memory:.0f} GiB of memory. Check the file."))
            )
        except Exception as error:  # goes to the caller, as a type that it can unpickle
            kind = type(error) if isinstance(error, (FileNotFoundError, PermissionError)) else ValueError
            _write(answers, ("error", kind(str(error) or type(error).__name__)))


def _answer(answers: io.BufferedWriter, item: Any, notes: list[str]) -> None:
    if isinstance(item, tuple) and isinstance(item[0], np.ndarray) and item[0].nbytes > LARGE:
        values, *rest = item
        if rest and isinstance(rest[-1], dict) and notes:
            rest[-1] = {**rest[-1], "library_notes": list(notes)}
        with tempfile.NamedTemporaryFile(dir=SHARED, delete=False) as file:
            values.tofile(file)
        _write(answers, ("shared", (file.name, values.shape, values.dtype.str, rest)))
    else:
        _write(answers, ("item", item))


def _write(answers: io.BufferedWriter, content: Any) -> None:
    body = pickle.dumps(content, protocol=5)
    answers.write(len(body).to_bytes(8, "big") + body)
    answers.flush()


def _limit(memory: float) -> None:
    """Limit the address space of this process, where the system can."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        used = 0
        with contextlib.suppress(OSError):
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limit = used + int(memory * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
