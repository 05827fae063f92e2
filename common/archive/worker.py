"""What a worker does: one study at a time, its results complete or not at all."""

from __future__ import annotations

import errno
import gc
import json
import os
import re
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..dicomweb.server import Server, Unreachable
from ..files import reason, sha256
from ..run.errors import CasesFailed, NothingToDo, full_disk, origin, ours
from ..run.steps import LoadedInference
from ..tables import read_csv
from .journal import DONE, EMPTY, FAILED
from .sources import Study

STUDIES, PARTS = "studies", ".parts"  # folders below the output folder: results, and what is not complete
RECORD = "study.json"  # of a study, in its folder
TABLES = ("lesions", "cases")  # of an inference, with its ledger
STOP, MISTAKE = "stop", "mistake"  # of the run, not of a study: the reason is told, and the study is left as it was
FULL = "full"  # the same, for a full disk
NO_SPACE = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT))


@dataclass(frozen=True)
class Task:
    """What all workers do.

    Args:
        config: path of the bundle's ``inference.yaml``.
        options: of the inference, by name.
        output_dir: of the archive.
        weights: the files, with their SHA-256.
        modality: of the series that are fetched from a server.
        ca: file of certificates to trust.
        folder: in which relative paths among the options are looked up.
        threads: of a worker.
        gpu: whether a worker has a GPU, or a part of one.
    """

    config: str
    options: Mapping[str, Any]
    output_dir: str
    weights: Mapping[str, str] = field(default_factory=dict)
    modality: str = "CT"
    ca: str = ""
    folder: str = "."
    threads: int = 1
    gpu: bool = False


class Worker:
    """A process with the loaded network.

    Args:
        task: what all workers do.
    """

    def __init__(self, task: Task) -> None:
        self.task = task

    def load(self) -> dict[str, Any]:
        """Load the network; returns ``status``, and ``reason`` if that is a mistake of the call."""
        if not self.task.gpu:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        os.chdir(self.task.folder)
        torch.set_num_threads(self.task.threads)
        bundle = Path(self.task.config).parents[1]
        if (bundle / "scripts").is_dir():  # a package holds its own code
            sys.path.insert(0, str(bundle))
        try:
            for path, digest in self.task.weights.items():
                if sha256(Path(path)) != digest:
                    raise ValueError(f"{path} has changed since the run began. Give the same weights, and run again.")
            self.infer = LoadedInference(self.task.config, {**self.task.options, "bundle_root": str(bundle)})
        except Exception as error:
            cause = origin(error)
            if ours(cause) or isinstance(cause, OSError):
                return {"status": MISTAKE, "reason": str(cause)}
            raise
        gc.collect()
        gc.freeze()  # the libraries and the network stay: else each study's collection looks at all of them again
        return {"status": DONE}

    def do(self, study: Study, last: bool) -> dict[str, Any]:
        """Do a study, unless it is done.

        Args:
            study: what to do.
            last: whether it is not tried again: then results of those of its scans that did not fail are kept.

        Returns:
            Its record: ``status``, ``reason``, ``scans``, ``seconds``, ``host``.
        """
        output, start = Path(self.task.output_dir), time.monotonic()
        try:
            (output / PARTS).mkdir(exist_ok=True)
            part = Path(tempfile.mkdtemp(prefix="study-", dir=output / PARTS))
        except OSError as error:
            return self._stopped(error) or {"status": STOP, "reason": f"{output} cannot be written: {error.strerror}."}
        results = part / "results"
        try:
            outcome = self._tried(study, part, results)
            outcome |= {"seconds": round(time.monotonic() - start, 3), "host": socket.gethostname()}
            if outcome["status"] == DONE or (last and outcome["status"] == FAILED and outcome["scans"]):
                return published(output, study.name, results, outcome)
            return outcome
        except OSError as error:
            stopped = self._stopped(error)
            if stopped:
                return stopped
            raise
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _tried(self, study: Study, part: Path, results: Path) -> dict[str, Any]:
        """Infer a study, and say what became of it."""
        status, why = DONE, ""
        try:
            self.infer(self._source(study, part), results)
        except Unreachable as error:  # that is no failure of the study
            return {"status": STOP, "reason": str(error)}
        except Exception as error:  # one study must not lose the others
            cause = _cause(error)
            stopped = self._stopped(error) or self._lost(study)
            if stopped:
                return stopped
            code = getattr(cause, "exit_code", None)
            status = EMPTY if code == NothingToDo.exit_code else FAILED
            why = _listed(str(cause)) if code == CasesFailed.exit_code else reason(cause)
            why = why.replace(f"{results}/", "").replace(f"{part}/", "").partition(" Formats: ")[0]
            if torch.cuda.is_available():
                torch.cuda.empty_cache()  # of a scan that did not fit
        return {"status": status, "reason": " ".join(why.split()), "scans": _scans(results)}

    def _source(self, study: Study, part: Path) -> Path:
        """The folder or file of a study, fetched if it is on a server."""
        if not study.is_remote:
            return Path(study.place)
        server = Server(study.place, self.task.ca)
        server.fetch_study(study.name, part / study.name, self.task.modality)
        return part / study.name

    def _stopped(self, error: BaseException) -> dict[str, Any]:
        """The outcome if an error is a full disk, which a message may hide; else an empty one."""
        cause = str(_cause(error))
        if full_disk(error) or any(text in cause for text in NO_SPACE):
            return {"status": FULL, "reason": f"{self.task.output_dir}: no space is left on the disk."}
        return {}

    def _lost(self, study: Study) -> dict[str, Any]:
        """The outcome if a failure is that of the share that holds the study; else an empty one."""
        if not study.root:
            return {}
        try:
            if any(os.scandir(study.root)):
                return {}
            why = "it is empty now"
        except OSError as error:
            why = str(error.strerror)
        return {"status": STOP, "reason": f"{study.root} cannot be read any more: {why}. Is it mounted?"}


def published(output: Path, name: str, results: Path, outcome: dict[str, Any]) -> dict[str, Any]:
    """Move complete results of a study to their place; if it has results there, keep those.

    Returns:
        The record of the study: the given one, or that of the results that were there.
    """
    target = output / STUDIES / name
    (results / RECORD).write_text(json.dumps({"study": name, **outcome}) + "\n", encoding="utf-8")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        results.rename(target)
    except OSError:  # a worker that outlived its run was first
        there = recorded(output, name)
        if there is None:
            raise
        return there
    return outcome


def recorded(output: Path, name: str) -> dict[str, Any] | None:
    """The record of a study whose results are complete; None if it has none."""
    try:
        return dict(json.loads((output / STUDIES / name / RECORD).read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return None


def _scans(results: Path) -> list[dict[str, str]]:
    """Rows of the table of cases that an inference has written."""
    for name in TABLES:
        if (results / f"{name}.json").is_file() and (results / f"{name}.csv").is_file():
            return read_csv(results / f"{name}.csv")
    return []


def _cause(error: BaseException) -> BaseException:
    """The error that says what happened: this project's own, also that of a package, or the innermost one."""
    cause: BaseException | None = error
    while cause is not None:
        if hasattr(cause, "exit_code"):
            return cause
        cause = cause.__cause__
    return origin(error)


def _listed(message: str) -> str:
    """The failures of ``CasesFailed``, without its heading."""
    return "; ".join(line.strip() for line in message.splitlines()[1:]) or message


def kind(why: str) -> str:
    """What failures have in common: the first sentence of a reason, without the name of a case and numbers.

    Example:
        >>> kind("patient_7: 3 slices are missing between 12.5 and 20 mm. Export it again.")
        'N slices are missing between N and N mm'
    """
    text = re.sub(r"^(?:\S+: )+", "", why.partition("; ")[0])
    text = re.sub(r"\S*/\S+", "...", text)
    return re.split(r"\.(?:\s|$)", re.sub(r"\b\d[\d.,]*\b", "N", text))[0]
