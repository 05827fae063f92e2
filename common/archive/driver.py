"""A run over an archive: hands the studies to the workers, and writes what becomes of them into the journal."""

from __future__ import annotations

import fcntl
import logging
import shutil
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from ..run.progress import progress
from .journal import ASIDE, ATTEMPTS, DONE, EMPTY, Journal, NoSpace
from .sources import Study
from .worker import FULL, MISTAKE, PARTS, STOP, recorded

logger = logging.getLogger(__name__)

GRACE = 20.0  # seconds that studies at hand may still take after a signal
ONE = 1.0  # seconds within which signals count as one: a scheduler sends it to each process, and one passes it on
EVERY = 600.0  # seconds between two lines of progress in a log
LOCK_WAIT = 40.0  # seconds for a run that was killed to end


class Stopped(OSError):
    """The run ends before the end of the archive; the same command goes on."""

    exit_code = 4


class Interrupted(KeyboardInterrupt):
    """Ctrl-C."""


class Workers(Protocol):
    """What a run needs of the workers; see ``common.archive.pool.Pool``."""

    @property
    def has_room(self) -> bool:
        """Whether a worker waits for a study."""

    @property
    def at_hand(self) -> list[Study]:
        """The studies that workers have."""

    def give(self, study: Study, last: bool) -> None:
        """Give a study to a worker."""

    def results(self) -> Iterator[tuple[Study | None, Any]]:
        """What workers have done since."""


@contextmanager
def only_run(output: Path) -> Iterator[None]:
    """Let no second run write to a folder.

    Raises:
        Stopped: if another run does.
    """
    with (output / ".lock").open("w") as file:
        end = time.monotonic() + LOCK_WAIT
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise Stopped(f"Another run writes to {output}. Wait for it, or end it.") from None
                time.sleep(0.5)
            except OSError as error:  # a file system without locks
                logger.warning("%s: %s. Take care that no second run writes there.", output, error.strerror)
                break
        yield


@contextmanager
def signals(received: list[int]) -> Iterator[None]:
    """Let a list receive SIGINT and SIGTERM; the second signal ends the studies at hand."""
    last = [0.0]

    def receive(number: int, frame: FrameType | None) -> None:
        if time.monotonic() - last[0] > ONE:
            received.append(number)
        last[0] = time.monotonic()
        if len(received) == 1:
            logger.info("Stopping: studies at hand have %.0f s to end; a second signal ends them now.", GRACE)

    before = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Run:
    """A run over the studies that are left.

    Args:
        journal: of the archive.
        output: its folder.
        received: signals that have arrived, see ``signals``.
        is_orphan: says whether the process that waits for this one has ended.
    """

    def __init__(
        self,
        journal: Journal,
        output: Path,
        received: Sequence[int] = (),
        is_orphan: Callable[[], bool] = lambda: False,
    ) -> None:
        self.journal, self.output, self.received, self.is_orphan = journal, output, received, is_orphan
        self.tried = 0
        self._told = self._start = time.monotonic()

    def __call__(self, pool: Workers) -> None:
        """Do the studies that are left.

        Raises:
            Interrupted: after Ctrl-C.
            Stopped: after SIGTERM, or when a share or server is lost.
            NoSpace: when a disk is full.
            ValueError: for a mistake that the workers find, such as weights that do not fit.
        """
        counts = self.journal.counts()
        queue = deque(self.journal.left())
        total = sum(counts.values())
        stop: Exception | Interrupted | None = None
        until = float("inf")
        with progress(total=total, initial=total - len(queue), desc="Studies", unit="study") as bar:
            try:
                while (queue and stop is None) or pool.at_hand:
                    while queue and pool.has_room and stop is None:
                        self._give(queue, pool, bar)
                    for study, outcome in pool.results():
                        problem = self._take(study, outcome, queue, bar)
                        stop = stop or problem
                    if self.received and stop is None:
                        stop = Interrupted() if self.received[0] == signal.SIGINT else Stopped("Stopped by SIGTERM.")
                    until = min(until, time.monotonic() + GRACE) if stop is not None else until
                    if self.is_orphan():
                        raise Stopped("The process that waited for this run has ended.")
                    if time.monotonic() > until or len(self.received) > 1:
                        break
                    self._tell(total, len(queue) + len(pool.at_hand), bar)
            finally:
                with suppress(NoSpace):  # a resumed run does those again, too
                    for study in pool.at_hand:
                        self.journal.put_back(study.name)
        if stop is not None:
            raise stop

    def _give(self, queue: deque[Study], pool: Workers, bar: Any) -> None:
        """Give the next study to a worker, unless its results are there."""
        study = queue.popleft()
        there = recorded(self.output, study.name)  # the run was killed between results and journal
        if there is not None:
            self.journal.finish(study.name, there)
            bar.update()
            return
        self.journal.begin(study.name)
        pool.give(study, last=self.journal.attempts(study.name) + 1 >= ATTEMPTS)

    def _take(self, study: Study | None, outcome: Any, queue: deque[Study], bar: Any) -> Exception | None:
        """Note what became of a study; returns what stops the run."""
        if outcome["status"] == MISTAKE:
            return ValueError(outcome["reason"])
        assert study is not None
        if outcome["status"] == FULL:
            return NoSpace(outcome["reason"])
        if outcome["status"] == STOP:
            self.journal.put_back(study.name)
            return Stopped(outcome["reason"])
        status = self.journal.finish(study.name, outcome)
        if status in (DONE, EMPTY, ASIDE):
            self.tried += 1
            bar.update()
        else:
            queue.append(study)
        if status == ASIDE:
            logger.warning("Study %s is set aside: %s", study.name, outcome["reason"])
        return None

    def _tell(self, total: int, left: int, bar: Any) -> None:
        """A line of progress now and then, where no bar is shown."""
        if bar.disable and time.monotonic() - self._told >= EVERY and self.tried:
            self._told = time.monotonic()
            rate = self.tried / (self._told - self._start)
            logger.info(
                "%d of %d studies, %.1f a minute, %s left.", total - left, total, rate * 60, duration(left / rate)
            )


def duration(seconds: float) -> str:
    """A time in words.

    Example:
        >>> duration(42), duration(600), duration(36000)
        ('42 s', '10 min', '10.0 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def clear_parts(output: Path) -> None:
    """Remove what studies of a run that was killed have left."""
    shutil.rmtree(output / PARTS, ignore_errors=True)
