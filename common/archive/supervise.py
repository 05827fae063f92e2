"""The process that waits for the run over an archive, and starts it again when Ray has ended it."""

from __future__ import annotations

import logging
import multiprocessing
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..run.errors import after_stop, report_error
from .driver import Stopped
from .journal import Journal
from .pool import RayLost
from .sources import JOURNAL

AGAIN = "The same command continues with the studies that are left."
RESTARTS = 3  # in a row without a study done, after Ray itself was killed
LOST = 64  # exit code between two processes of this command: Ray was killed


def supervised(run: Callable[..., int], arguments: Sequence[str], output_dir: str) -> int:
    """Run an archive in a process of its own, which is started again when Ray ends it.

    Ray ends the process that uses it when Ray's own processes are lost.

    Args:
        run: runs an archive; takes the arguments, the folder of Ray, and ``is_orphan``.
        arguments: of the command line.
        output_dir: of the archive.

    Returns:
        Exit code.
    """
    context = multiprocessing.get_context("spawn")
    done, without = -1, 0
    ended: list[int] = []

    def end(number: int, frame: Any) -> None:
        ended.append(number)
        process.terminate()

    while True:
        folder = _session_folder()
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_child, args=(run, list(arguments), folder, sender))
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            process.start()
            sender.close()
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to both
            signal.signal(signal.SIGTERM, end)
            try:
                code = receiver.recv()
            except EOFError:
                code = LOST
            process.join()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            shutil.rmtree(folder, ignore_errors=True)
        if code != LOST:
            return int(code)
        if ended:
            print(f"\nERROR  Stopped by SIGTERM. {AGAIN}", file=sys.stderr)
            return Stopped.exit_code
        now = _done(Path(output_dir))
        without = without + 1 if now == done else 1
        done = now
        if without > RESTARTS:
            print(f"\nERROR  Ray was lost {without} times in a row. {AGAIN}", file=sys.stderr)
            return Stopped.exit_code
        print("Ray was lost; it is started again.", file=sys.stderr, flush=True)


def _session_folder() -> str:
    """A new folder for Ray's logs and sockets; their paths may have 107 bytes, and Ray adds about 70."""
    place = tempfile.gettempdir()
    return tempfile.mkdtemp(prefix="ray-", dir=place if len(place) < 20 else "/tmp")


def _done(output: Path) -> int:
    """How many studies are not to be done any more."""
    if not (output / JOURNAL).is_file():
        return -1
    journal = Journal(output / JOURNAL)
    try:
        return sum(journal.counts().values()) - len(journal.left())
    finally:
        journal.close()


def _child(run: Callable[..., int], arguments: list[str], folder: str, sender: Any) -> None:
    """The process that runs the archive; it sends its exit code, unless it is killed."""
    logging.basicConfig(stream=sys.stdout, format="%(asctime)s  %(message)s", datefmt="%H:%M:%S", level=logging.INFO)
    after_stop(AGAIN)
    tqdm.set_lock(threading.RLock())  # its default is one for several processes, of which a kill would leave a warning
    parent = multiprocessing.parent_process()
    is_orphan = (lambda: not parent.is_alive()) if parent is not None else (lambda: False)
    try:
        code = run(arguments, folder, is_orphan=is_orphan)
    except RayLost as error:
        print(f"\n{error}", file=sys.stderr)
        code = LOST
    except BaseException as error:
        code = 1
        try:
            report_error(type(error), error, error.__traceback__)
        except SystemExit as end:
            code = int(end.code or 0)
    sys.stdout.flush()
    with suppress(BrokenPipeError):  # the process that waited has ended
        sender.send(code)
