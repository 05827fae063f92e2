"""Workers that do what the text in a study's file says, in place of a network."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.archive.driver import Run
from common.archive.journal import Journal
from common.archive.sources import Study
from common.archive.worker import Task, Worker
from common.run.errors import CasesFailed, NothingToDo

CALLS = "calls.txt"  # beside the folder of the studies: the name of each study that was begun
TABLE = "case,share_of_lung,severity\n{name},{share},CT-1\n"


def infer(place: str | Path, results: Path) -> None:
    """Do a study, a file with one word, and write the table of its case."""
    place = Path(place)
    word, _, share = place.read_text().partition(" ")
    with (place.parents[1] / CALLS).open("a") as file:
        file.write(f"{place.name}\n")
    results.mkdir(parents=True)
    if word == "slow":
        time.sleep(0.5)
    elif word == "kills":
        os.kill(os.getpid(), signal.SIGKILL)
    elif word == "kills-once":
        place.write_text("fine 0.5")
        os.kill(os.getpid(), signal.SIGKILL)
    elif word == "empty":
        raise NothingToDo("No scan in it: 3 files. Formats: .nii.")
    elif word == "full":
        raise RuntimeError("MONAI says so") from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    (results / "lesions.json").write_text("{}")
    (results / "lesions.csv").write_text(TABLE.format(name=place.stem, share=share or 0.1))
    if word == "fails":
        raise RuntimeError("MONAI says so") from CasesFailed(
            f"1 of 2 cases failed:\n  {place.stem}: 3 slices are missing."
        )


class FakeWorker(Worker):
    """A worker without a network."""

    def load(self) -> dict[str, Any]:
        """Nothing is loaded."""
        self.infer = infer  # type: ignore[assignment]
        return {"status": "done"}


class OneByOne:
    """A pool of one worker in this process."""

    def __init__(self, worker: Worker) -> None:
        self.worker, self.at_hand, self.last = worker, list[Study](), False
        worker.load()

    @property
    def has_room(self) -> bool:
        return not self.at_hand

    def give(self, study: Study, last: bool) -> None:
        self.at_hand, self.last = [study], last

    def results(self) -> Iterator[tuple[Study | None, Any]]:
        study = self.at_hand[0]
        outcome = self.worker.do(study, self.last)
        self.at_hand = []
        yield study, outcome


def drive(output: Path) -> None:
    """A run over an archive that has a journal."""
    worker = FakeWorker(Task("bundle/configs/inference.yaml", {}, str(output)))
    Run(Journal(output / "journal.sqlite"), output)(OneByOne(worker))


def write_studies(folder: Path, **words: str) -> Path:
    """A folder with a file for each study, which says what its worker does."""
    folder.mkdir(parents=True)
    for name, word in words.items():
        (folder / name).write_text(word)
    return folder


def calls(folder: Path) -> list[str]:
    """The studies that were begun, in this order."""
    path = folder.parent / CALLS
    return path.read_text().split() if path.is_file() else []
