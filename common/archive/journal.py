"""The journal of an archive: one line for each study, in SQLite."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..settings import check_same
from .sources import Study

ATTEMPTS = 2  # after which a study that fails is set aside
WAITING, RUNNING, DONE, EMPTY, FAILED, ASIDE = "waiting", "running", "done", "empty", "failed", "set aside"
STATES = (DONE, EMPTY, FAILED, ASIDE, RUNNING, WAITING)
LEFT = (WAITING, FAILED, RUNNING)  # in the order in which they are done: those that a kill has interrupted come last
WAIT = 60.0  # seconds for another process that reads or writes
SCHEMA = """
create table if not exists settings (name text primary key, value text not null);
create table if not exists studies (
    study text primary key,         -- its name, and the folder of its results below studies/
    place text not null,            -- its path, or the address of its server
    root text not null,
    is_remote integer not null,
    status text not null,           -- waiting, running, done, empty (holds no scan), failed (once), set aside (twice)
    attempts integer not null,      -- that failed
    reason text not null,           -- of the last failure, or why it is empty
    weights text not null,          -- SHA-256
    scans text not null,            -- JSON: a row of the table of cases for each scan
    seconds real,
    host text not null,
    finished text not null          -- date and time of the last attempt
);
create index if not exists by_status on studies (status);
"""


class NoSpace(OSError):
    """A disk is full."""

    exit_code = 5


class Journal:
    """What has become of each study.

    SQLite's rollback journal is used, not its write-ahead log, because that does not work on network drives. Each
    change of a study is one transaction.

    Args:
        path: of the file, which is made if it is missing.

    Raises:
        NoSpace: at any time, when the disk is full.

    Example:
        >>> journal = Journal("out/journal.sqlite")
        >>> journal.add([Study("a", "/data/a")])
        >>> [study.name for study in journal.left()]
        ['a']
    """

    def __init__(self, path: str | Path) -> None:
        self.path, self.weights = Path(path), ""
        try:
            self._base = sqlite3.connect(self.path, timeout=WAIT, isolation_level=None)
            self._base.row_factory = sqlite3.Row
            if not self._base.execute("select 1 from sqlite_master where name = 'by_status'").fetchone():
                with self._change():
                    for statement in SCHEMA.split(";\n"):
                        self._base.execute(statement)
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{path} cannot be used as a journal: {error}. Give another --output_dir.") from error

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    @contextmanager
    def _change(self) -> Iterator[None]:
        """A transaction."""
        try:
            self._base.execute("begin immediate")
            yield
            self._base.execute("commit")
        except BaseException as error:
            if self._base.in_transaction:
                self._base.execute("rollback")
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL or "disk is full" in str(error):
                raise NoSpace(f"{self.path}: no space is left on the disk.") from error
            raise

    def start(self, settings: Mapping[str, Any]) -> None:
        """Note what the results depend on.

        Raises:
            ValueError: if the journal was started with other settings.
        """
        now = {name: json.dumps(value, sort_keys=True) for name, value in settings.items()}
        before = self.settings()
        if before:
            check_same(before, json.loads(json.dumps(settings)), self.path.parent, "an archive", "remove the folder")
        with self._change():
            self._base.executemany("insert or replace into settings values (?, ?)", now.items())
        self.weights = str(settings.get("weights", ""))

    def settings(self) -> dict[str, Any]:
        """What the results depend on."""
        return {name: json.loads(value) for name, value in self._base.execute("select * from settings")}

    def add(self, studies: Iterable[Study]) -> int:
        """Add the studies that are new; how many.

        Raises:
            ValueError: if a study of the same name was at another place.
        """
        places = {row["study"]: row["place"] for row in self._base.execute("select study, place from studies")}
        new = []
        for each in studies:
            if places.get(each.name, each.place) != each.place:
                raise ValueError(
                    f"Study {each.name} was at {places[each.name]} before, and is at {each.place} now. Give the same "
                    "place, or another --output_dir."
                )
            if each.name not in places:
                new.append((each.name, each.place, each.root, each.is_remote, WAITING))
        with self._change():
            self._base.executemany(
                "insert into studies values (?, ?, ?, ?, ?, 0, '', '', '[]', null, '', '')",
                new,
            )
        return len(new)

    def left(self) -> list[Study]:
        """The studies that are not done."""
        query = "select study, place, root, is_remote from studies where status = ? order by study"
        return [
            Study(row["study"], row["place"], row["root"], bool(row["is_remote"]))
            for status in LEFT
            for row in self._base.execute(query, (status,))
        ]

    def attempts(self, name: str) -> int:
        """How often a study has failed."""
        return int(self._base.execute("select attempts from studies where study = ?", (name,)).fetchone()[0])

    def begin(self, name: str) -> None:
        """Note that a study is at hand."""
        with self._change():
            self._base.execute("update studies set status = ? where study = ?", (RUNNING, name))

    def put_back(self, name: str) -> None:
        """Note that a study is not at hand any more, without a result."""
        with self._change():
            self._base.execute(
                "update studies set status = case attempts when 0 then ? else ? end where study = ?",
                (WAITING, FAILED, name),
            )

    def finish(self, name: str, outcome: Mapping[str, Any]) -> str:
        """Note the result of a study.

        Args:
            name: of the study.
            outcome: ``status`` (done, empty or failed), ``reason``, ``scans``, ``seconds``, ``host``.

        Returns:
            Its status: ``set aside`` if it has failed as often as it is tried.
        """
        status = str(outcome["status"])
        attempts = self.attempts(name) + (status == FAILED)
        if status == FAILED and attempts >= ATTEMPTS:
            status = ASIDE
        facts = (
            *(status, attempts, outcome.get("reason", ""), self.weights, json.dumps(outcome.get("scans", []))),
            *(outcome.get("seconds"), outcome.get("host", ""), time.strftime("%Y-%m-%dT%H:%M:%S%z"), name),
        )
        with self._change():
            self._base.execute(
                "update studies set status = ?, attempts = ?, reason = ?, weights = ?, scans = ?, seconds = ?, "
                "host = ?, finished = ? where study = ?",
                facts,
            )
        return status

    def retry(self) -> int:
        """Let the studies that were set aside be tried again; how many."""
        with self._change():
            changed = self._base.execute(
                "update studies set status = ?, attempts = 0 where status = ?", (WAITING, ASIDE)
            )
        return changed.rowcount

    def counts(self) -> dict[str, int]:
        """Number of studies by status."""
        found = dict(tuple(row) for row in self._base.execute("select status, count(*) from studies group by status"))
        return {status: found[status] for status in STATES if status in found}

    def rows(self, *states: str) -> Iterator[dict[str, Any]]:
        """The studies with what is known of them, by name; those of some states, or all."""
        for row in self._base.execute("select * from studies order by study"):
            if not states or row["status"] in states:
                yield {**dict(row), "scans": json.loads(row["scans"])}
