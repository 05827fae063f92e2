"""What ends a run before its end, and that nothing is lost then; what a worker says of a study."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from archive_workers import FakeWorker, OneByOne, calls, drive, write_studies
from command_line import forks

from common.archive import driver
from common.archive.driver import Interrupted, Run, Stopped, only_run, signals
from common.archive.journal import Journal, NoSpace
from common.archive.sources import Study, of_folders
from common.archive.summary import write_summary
from common.archive.worker import PARTS, Task, Worker, recorded


class Archive:
    """An archive of studies in a folder."""

    def __init__(self, folder: Path, **words: str) -> None:
        self.source, self.output = write_studies(folder / "ct", **words), folder / "out"
        self.output.mkdir()
        self.journal = Journal(self.output / "journal.sqlite")
        self.journal.add(of_folders([self.source]))
        self.received: list[int] = []
        self.pool = OneByOne(FakeWorker(Task("bundle/configs/inference.yaml", {}, str(self.output))))

    def run(self) -> dict[str, int]:
        Run(self.journal, self.output, self.received)(self.pool)
        return self.journal.counts()

    def row(self, name: str) -> dict[str, Any]:
        return next(row for row in self.journal.rows() if row["study"] == f"ct/{name}")


def test_each_study_is_done_once_and_failures_are_tried_twice(tmp_path: Path) -> None:
    archive = Archive(tmp_path, a="fine 0.25", b="fails", c="empty", d="fine")
    os.mkfifo(archive.source / "e.txt")  # tables and notes are no studies
    assert archive.run() == {"done": 2, "empty": 1, "set aside": 1}
    assert calls(archive.source) == ["a", "b", "c", "d", "b"]
    assert archive.row("a")["scans"] == [{"case": "a", "share_of_lung": "0.25", "severity": "CT-1"}]
    assert archive.row("b")["reason"] == "b: 3 slices are missing." and archive.row("b")["attempts"] == 2
    assert archive.row("b")["scans"], "results of the other scan are kept after the last attempt"
    assert archive.row("c")["reason"] == "No scan in it: 3 files."
    assert not list((archive.output / PARTS).iterdir())
    assert archive.run() and len(calls(archive.source)) == 5, "a second run does nothing"


def test_results_without_a_line_in_the_journal_are_not_done_again(tmp_path: Path) -> None:
    archive = Archive(tmp_path, a="fine 0.25", b="fine")
    archive.pool.worker.do(archive.journal.left()[0], True)  # then the driver is killed
    assert archive.run() == {"done": 2} and calls(archive.source) == ["a", "b"]
    assert archive.row("a")["scans"][0]["share_of_lung"] == "0.25"


def test_a_driver_that_is_killed_loses_no_study_and_ends_as_an_undisturbed_run(tmp_path: Path) -> None:
    studies = dict.fromkeys("abcdef", "slow 0.3")
    archive, undisturbed = Archive(tmp_path / "killed", **studies), Archive(tmp_path / "undisturbed", **studies)
    driver = forks().Process(target=drive, args=(archive.output,))
    driver.start()
    while len(calls(archive.source)) < 3 and driver.is_alive():
        time.sleep(0.02)
    driver.kill()
    driver.join()
    assert driver.exitcode == -signal.SIGKILL
    assert archive.journal.counts() == {"done": 2, "running": 1, "waiting": 3}
    assert archive.run() == {"done": 6}
    assert Counter(calls(archive.source)) == {**dict.fromkeys("abdef", 1), "c": 2}, "the study at hand is begun again"
    undisturbed.run()
    for each in (archive, undisturbed):
        write_summary(each.journal, each.output)
    for name in ("studies.csv", "summary.md", "archive.png"):
        assert (archive.output / name).read_bytes() == (undisturbed.output / name).read_bytes()


def test_a_worker_that_outlives_its_run_replaces_nothing(tmp_path: Path) -> None:
    archive = Archive(tmp_path, a="fine 0.25")
    (study,) = archive.journal.left()
    first = archive.pool.worker.do(study, False)
    (archive.source / "a").write_text("fine 0.75")
    again = archive.pool.worker.do(study, False)
    assert again["scans"] == first["scans"] and recorded(archive.output, "ct/a") == {"study": "ct/a", **first}


def test_a_full_disk_stops_the_run_and_blames_no_study(tmp_path: Path) -> None:
    archive = Archive(tmp_path, a="fine", b="full", c="fine")
    with pytest.raises(NoSpace, match="out: no space is left on the disk") as error:
        archive.run()
    assert error.value.exit_code == 5
    assert archive.journal.counts() == {"done": 1, "running": 1, "waiting": 1} and archive.row("b")["attempts"] == 0
    (archive.source / "b").write_text("fine")
    assert archive.run() == {"done": 3} and calls(archive.source) == ["a", "b", "c", "b"]


@pytest.mark.parametrize("how", ["gone", "empty"])
def test_a_share_that_is_lost_stops_the_run_and_blames_no_study(how: str, tmp_path: Path) -> None:
    archive = Archive(tmp_path, a="fine", b="fine")
    archive.source.rename(tmp_path / "away")
    if how == "empty":
        archive.source.mkdir()
    with pytest.raises(Stopped, match=r"/ct cannot be read any more: .*Is it mounted\?") as error:
        archive.run()
    assert error.value.exit_code == 4 and archive.journal.counts() == {"waiting": 2}


def test_a_study_that_cannot_be_read_is_set_aside_with_its_reason(tmp_path: Path) -> None:
    archive = Archive(tmp_path, a="fine", b="fine")
    (archive.source / "a").unlink()
    (archive.source / "a").mkdir()  # root may read all files, so that a permission cannot be tested as root
    assert archive.run() == {"done": 1, "set aside": 1}
    assert archive.row("a")["reason"].endswith(f"Is a directory: '{archive.source / 'a'}'.")


@pytest.mark.parametrize(("number", "kind"), [(signal.SIGTERM, Stopped), (signal.SIGINT, Interrupted)])
def test_a_signal_ends_the_run_after_the_study_at_hand(number: int, kind: type[BaseException], tmp_path: Path) -> None:
    archive = Archive(tmp_path, a="fine", b="fine")

    def do(study: Study, last: bool) -> dict[str, Any]:
        os.kill(os.getpid(), number)
        return Worker.do(archive.pool.worker, study, last)

    archive.pool.worker.do = do  # type: ignore[method-assign]
    with pytest.raises(kind), signals(archive.received):
        archive.run()
    assert archive.journal.counts() == {"done": 1, "waiting": 1}


def test_a_second_run_into_the_same_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "LOCK_WAIT", 0.0)
    with only_run(tmp_path), pytest.raises(Stopped, match="Another run writes to"), only_run(tmp_path):
        pass
    with only_run(tmp_path):
        pass
