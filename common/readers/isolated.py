"""Read files in a process of their own, so that a decoder that crashes, hangs or needs too much memory loses one file.

A process starts once and serves many files. It imports neither torch nor MONAI, which keeps its start below a second.
Volumes come back in shared memory, frames of clips one by one through a socket. Shared memory has no name, so nothing
is left behind when a process is killed.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import mmap
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .library_notes import keep_notes

try:
    import resource
except ImportError:  # Windows has none
    resource = None  # type: ignore[assignment]

TIMEOUT = 300.0  # seconds without an answer
MEMORY = 16.0  # GiB that reading one file may need at most, beyond what the libraries need
LEAST, RATIO = 4.0, 64.0  # GiB for a small file, and bytes more for each byte of it: masks are compressed strongly
LARGE = 2**16  # bytes; larger arrays go through shared memory
GRACE = 5.0  # seconds after which the process ends itself, should nobody have ended it
AHEAD = 4096  # bytes of messages that wait for the caller: a few frames of a clip, whose pixels are in shared memory
ENDED = "its decoder crashed ({why}). Export the file again, or convert it to NIfTI or png."


class Isolated:
    """Processes that read files; each is used again, and there are as many as files are read at the same time.

    Args:
        timeout: seconds after which a file that gives nothing is abandoned.
        memory: GiB that one file may need. Small files get less: ``LEAST`` GiB and ``RATIO`` times their size.

    Example:
        >>> reader = Isolated()
        >>> values, affine, meta = reader.call("common.readers.scan", "read_volume", ["scan.nii.gz"])
    """

    def __init__(self, timeout: float = TIMEOUT, memory: float = MEMORY) -> None:
        self.timeout, self.memory = timeout, memory
        self._idle: list[_Process] = []

    def __reduce__(self) -> tuple[Any, ...]:  # copies and workers start processes of their own
        return Isolated, (self.timeout, self.memory)

    def call(self, module: str, function: str, *arguments: Any, **options: Any) -> Any:
        """Call a function in a process, and return what it returns; raises as ``run`` does."""
        (result,) = self.run(module, function, *arguments, **options)
        return result

    def run(self, module: str, function: str, *arguments: Any, **options: Any) -> Iterator[Any]:
        """Call a function in a process, and yield what it returns, or each item of the generator that it returns.

        A process whose generator is not used up is ended.

        Args:
            module: imported there by this name.
            function: of that module.
            arguments: for the function. Names of files among them determine how much memory is allowed.
            options: keyword arguments for the function.

        Raises:
            ValueError: what the function raised, or that the process was ended because it crashed, hung or needed too
                much memory; the next call starts a new one.
        """
        memory = min(self.memory, LEAST + RATIO * _size(arguments) / 2**30)
        process = self._sent((module, function, arguments, options, self.timeout, memory))
        done = False
        try:
            while True:
                kind, content = process.receive(self.timeout)
                if kind == "item":
                    yield content
                    continue
                done = True
                if kind == "error":
                    raise content
                return
        finally:
            if done:
                self._idle.append(process)
            else:  # the caller stopped early, or the process is lost
                process.end()

    def _sent(self, request: Any) -> _Process:
        """A process that has received a request: an idle one if it still runs, else a new one."""
        while True:
            try:
                process, fresh = self._idle.pop(), False
            except IndexError:
                process, fresh = _Process(), True
            if process.alive:
                try:
                    process.send(request)
                    return process
                except OSError as error:
                    process.end()
                    if fresh:
                        raise ValueError("the process that reads files does not start. Run again.") from error
            else:
                process.end()
                if fresh:
                    raise ValueError("the process that reads files does not start. Run again.")

    def close(self) -> None:
        """End the processes that are idle; the next call starts another."""
        while self._idle:
            self._idle.pop().end()


class _Process:
    """A running process, and the socket to it. It ends with this object, and at exit."""

    def __init__(self) -> None:
        root = Path(__file__).resolve().parents[len(__name__.split(".")) - 1]
        self._socket, other = socket.socketpair()
        code = f"import sys; sys.path.insert(0, {str(root)!r}); from {__name__} import serve; serve({other.fileno()})"
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        with other:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[other.fileno()],
                env=environment,
            )
        self.end = weakref.finalize(self, _end, self._process, self._socket, os.getpid())

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs, and was started by this process: a fork does not own it."""
        peeked = self.end.peek()
        return peeked is not None and peeked[2][2] == os.getpid() and self._process.poll() is None

    def send(self, content: Any) -> None:
        """Send a request."""
        self._socket.settimeout(None)
        _send(self._socket, content)

    def receive(self, timeout: float) -> tuple[str, Any]:
        """One answer; ValueError where there is none."""
        try:
            kind, content = _receive(self._socket, time.monotonic() + timeout)
        except TimeoutError as error:
            raise ValueError(
                f"reading took longer than {timeout:.0f} s and was stopped. Check that it opens in a viewer."
            ) from error
        except (EOFError, OSError) as error:
            code = self._process.wait()
            if code == -signal.SIGKILL:
                raise ValueError("reading it was stopped by the system, which lacked memory. Free some.") from error
            raise ValueError(
                ENDED.format(why=signal.Signals(-code).name if code < 0 else f"exit code {code}")
            ) from error
        return kind, content


def _end(process: subprocess.Popen[bytes], connection: socket.socket, owner: int) -> None:
    connection.close()
    if os.getpid() == owner:
        process.kill()
        process.wait()


def _size(arguments: Iterable[Any]) -> int:
    """Bytes of the files that are named among arguments."""
    total = 0
    for each in arguments:
        if isinstance(each, (list, tuple)):
            total += _size(each)
        elif isinstance(each, (str, Path)):
            with contextlib.suppress(OSError, ValueError):
                total += os.stat(each).st_size
    return total


def _send(connection: socket.socket, content: Any, files: Iterable[BinaryIO] = ()) -> None:
    body = pickle.dumps(content, protocol=5)
    head = len(body).to_bytes(8, "big")
    descriptors = [file.fileno() for file in files]
    if descriptors:
        sent = socket.send_fds(connection, [head], descriptors)
        connection.sendall(head[sent:])
    else:
        connection.sendall(head)
    connection.sendall(body)


def _receive(connection: socket.socket, deadline: float = math.inf) -> Any:
    """One message, with arrays out of shared memory in their place."""
    descriptors: list[int] = []
    try:
        head = b""
        while len(head) < 8:
            _wait(connection, deadline)
            part, received, _, _ = socket.recv_fds(connection, 8 - len(head), 1)
            descriptors += received
            if not part:
                raise EOFError
            head += part
        body = bytearray(int.from_bytes(head, "big"))
        view, at = memoryview(body), 0
        while at < len(body):
            _wait(connection, deadline)
            count = connection.recv_into(view[at:])
            if not count:
                raise EOFError
            at += count
        content = pickle.loads(body)
        if descriptors:
            kind, (shape, dtype, order, rest) = content
            memory = mmap.mmap(descriptors[0], 0)
            return kind, (np.frombuffer(memory, dtype).reshape(shape, order=order), *rest)
        return content
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _wait(connection: socket.socket, deadline: float) -> None:
    """Set how long the next call may wait."""
    if deadline == math.inf:
        connection.settimeout(None)
        return
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    connection.settimeout(left)


def serve(descriptor: int) -> None:
    """Answer calls from a socket until it is closed; runs in the process of ``Isolated``."""
    connection = socket.socket(fileno=descriptor)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller decides, and closes the socket
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, AHEAD)
    notes = keep_notes()
    with contextlib.suppress(EOFError, OSError):  # the caller is gone
        while True:
            module, function, arguments, options, timeout, memory = _receive(connection)
            notes.notes.clear()
            for kind, content in _answers(module, function, arguments, options, timeout, memory):
                _answer(connection, kind, content, notes.notes)


def _answers(
    module: str, function: str, arguments: Any, options: Any, timeout: float, memory: float
) -> Iterator[tuple[str, Any]]:
    """What a function gives: items, then ``end`` or ``error``."""
    _limit(memory)
    try:
        with _alarm(timeout):
            result = getattr(importlib.import_module(module), function)(*arguments, **options)
        items = result if isinstance(result, Iterator) else iter([result])
        while True:
            with _alarm(timeout):
                try:
                    item = next(items)
                except StopIteration:
                    break
            yield "item", item
        yield "end", None
    except MemoryError:
        yield "error", ValueError(f"reading needs more than {memory:.0f} GiB of memory. Check the file.")
    except Exception as error:  # goes to the caller, as a type that it can unpickle
        kind = type(error) if type(error) in (FileNotFoundError, PermissionError) else ValueError
        yield "error", kind(str(error) or type(error).__name__)


@contextlib.contextmanager
def _alarm(timeout: float) -> Iterator[None]:
    """End this process when a step takes too long and the caller, who would have ended it, no longer runs."""
    signal.setitimer(signal.ITIMER_REAL, timeout + GRACE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _answer(connection: socket.socket, kind: str, item: Any, notes: list[str]) -> None:
    if isinstance(item, tuple) and item and isinstance(item[0], np.ndarray):
        values, *rest = item
        if rest and isinstance(rest[-1], dict) and notes:
            rest[-1] = {**rest[-1], "library_notes": list(notes)}
        if values.nbytes > LARGE:
            order = "F" if values.flags.f_contiguous else "C"  # memory order stays
            with _shared() as file:
                (values.T if order == "F" else values).tofile(file)
                file.flush()
                _send(connection, (kind, (values.shape, values.dtype.str, order, rest)), [file])
            return
        item = (values, *rest)
    _send(connection, (kind, item))


def _shared() -> BinaryIO:
    """Memory as a file without a name; a temporary file where the system has none."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("volume"), "w+b")
    return tempfile.TemporaryFile()


def _limit(memory: float) -> None:
    """Limit the address space of this process, where the system can, and write no core files."""
    if resource is None:
        return
    with contextlib.suppress(OSError, ValueError):
        used = 0
        with contextlib.suppress(OSError):
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (used + int(memory * 2**30), most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
