"""Studies that arrive in a PACS, one after the other, each once."""

from __future__ import annotations

import json
import logging
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from ..dicomweb.server import ServerError, Unreachable

logger = logging.getLogger(__name__)

ATTEMPTS = 2  # after which a study that fails is set aside
DONE = ("stored", "set aside")


class Journal:
    """A line of JSON for each study that was tried. Nothing in it names a patient.

    Args:
        path: of the file; lines are added.

    Raises:
        ValueError: if it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.status, self.failures = path, dict[str, str](), Counter[str]()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            text = path.read_text(encoding="utf-8") if path.is_file() else ""
            with path.open("a", encoding="utf-8") as file:
                # A line that a kill has cut off must not be joined to the next one
                file.write("\n" if text and not text.endswith("\n") else "")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"--log {path} cannot be written: {error}. Give another file.") from error
        for line in text.splitlines():
            try:
                entry = json.loads(line)
            except ValueError:  # the process was killed while it wrote
                continue
            self._count(entry)

    def _count(self, entry: Mapping[str, Any]) -> None:
        self.status[entry["study"]] = entry["status"]
        self.failures[entry["study"]] += entry["status"] != "stored"

    def is_done(self, study: str) -> bool:
        """Whether a study is stored, or set aside."""
        return self.status.get(study) in DONE

    def add(self, entry: Mapping[str, Any]) -> None:
        """Write a line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        self._count(entry)


def watch(
    query: Callable[[], list[dict[str, Any]]],
    infer: Callable[[str], Mapping[str, Any]],
    log: Path,
    every: float = 60.0,
    polls: int | None = None,
) -> int:
    """Infer the studies that match a query, and those that arrive later, until SIGTERM.

    A study is taken when its number of objects has not changed between two polls, so that it has arrived. One that
    fails is tried again, and set aside after the second failure; a server that does not answer is waited for. SIGTERM
    is obeyed after the study at hand. After a kill the study at hand is done again, and stores nothing twice.

    Args:
        query: lists the studies that match, with ``study`` and ``instances``; see ``Server.studies``.
        infer: does a study, by its UID; see ``common.pacs.study.infer_study``.
        log: file that receives a line of JSON for each study.
        every: seconds between polls.
        polls: number of polls; None goes on until SIGTERM.

    Returns:
        Number of studies that were stored.
    """
    stopped: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.append(number)
        logger.info("Stopping after the study at hand.")

    journal, sizes, stored = Journal(log), dict[str, int](), 0
    before = signal.signal(signal.SIGTERM, stop)
    try:
        while not stopped and polls != 0:
            polls = None if polls is None else polls - 1
            try:
                found = query()
            except ServerError as error:  # it may be restarting
                logger.warning("%s", error)
                found = []
            for each in found:
                study, settled = each["study"], sizes.get(each["study"]) == each["instances"]
                sizes[study] = each["instances"]
                if stopped or journal.is_done(study) or not settled:
                    continue
                try:
                    stored += _one(study, infer, journal)
                except Unreachable as error:  # that is no failure of the study
                    logger.warning("%s The study is done when the server answers again.", error)
                    break
            if not stopped and polls != 0:
                _sleep(every, stopped)
    finally:
        signal.signal(signal.SIGTERM, before)
    return stored


def _one(study: str, infer: Callable[[str], Mapping[str, Any]], journal: Journal) -> bool:
    """Do a study and write its line; whether it was stored."""
    start, when = time.monotonic(), time.strftime("%Y-%m-%dT%H:%M:%S%z")
    try:
        entry = {"study": study, "status": "stored", "time": when, **infer(study)}
    except Unreachable:
        raise
    except Exception as error:  # one study must not lose the others
        status = "failed" if journal.failures[study] + 1 < ATTEMPTS else "set aside"
        reason = " ".join(str(error).split()) or type(error).__name__
        seconds = round(time.monotonic() - start, 1)
        entry = {"study": study, "status": status, "time": when, "error": reason, "seconds": seconds}
        logger.warning("Study %s: %s. %s", study, status, reason)
    journal.add(entry)
    return entry["status"] == "stored"


def _sleep(seconds: float, stopped: list[int]) -> None:
    """Wait, but not after a signal."""
    end = time.monotonic() + seconds
    while not stopped and (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 0.2))
