"""Runs experiments, each in its own process, so that neither memory nor a crash of one affects the next."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..files import complete_file
from ..run.errors import origin, ours, report_error
from ..run.record import git_commit
from ..run.steps import run_step
from .experiments import Experiment, file_names
from .plan import ROOT


def run_experiment(experiment: Experiment, threads: int | None, device: str | None) -> None:
    """Run the steps of an experiment that are not finished, in its own process, with the output in ``log.txt``."""
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device  # read at the first use of CUDA, which imports are not
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with (experiment.folder / "log.txt").open("a") as log:
        fcntl.flock(log, fcntl.LOCK_EX)  # if two calls share an experiment, the second waits and finds it done
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    if threads:
        os.environ["OMP_NUM_THREADS"] = str(threads)  # of libraries that load later, and of data loaders
        torch.set_num_threads(threads)
    os.chdir(ROOT)
    try:
        experiment.check()
        record = experiment.record or {
            "experiment": experiment.name,
            "settings": dict(experiment.settings),
            "steps": {step: file_names(files) for step, files in experiment.steps.items()},
            "finished": [],
            "seconds": 0.0,
        }
        for step in [step for step in experiment.steps if step not in record["finished"]]:
            _save_record(experiment.folder, record)
            started = time.monotonic()
            run_step(step, experiment.steps[step], experiment.overrides)
            record["finished"].append(step)
            record["seconds"] = round(record["seconds"] + time.monotonic() - started, 1)
            record["commit"] = git_commit()
            _save_record(experiment.folder, record)
    except Exception as error:
        report_error(type(error), error, error.__traceback__)
        print(f"\nFAILED  {_reason(error)}", file=sys.stderr)
        sys.exit(1)


def _reason(error: BaseException) -> str:
    """The error below those that MONAI wraps it in, in one line."""
    cause = origin(error)
    kind = "" if ours(cause) else f"{type(cause).__name__}: "
    return kind + " ".join(str(cause).split())


def _end_with_parent() -> None:
    """End this process when the command that started it was killed, so that no experiment runs on unnoticed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _save_record(folder: Path, record: Mapping[str, Any]) -> None:
    with complete_file(folder / "experiment.json") as part:
        part.write_text(json.dumps(record, indent=2) + "\n")


class Progress:
    """One line when an experiment starts, one when it ends."""

    def __init__(self, total: int, done: int, jobs: int) -> None:
        self.total, self.done, self.jobs, self.started = total, done, jobs, done
        self.times: list[float] = []

    def start(self, experiment: Experiment) -> None:
        """Print which experiment starts."""
        self.started += 1
        print(f"[{self.started}/{self.total}] {experiment.name} starts; log in {experiment.folder}/log.txt", flush=True)

    def end(self, experiment: Experiment, seconds: float, failure: str) -> None:
        """Print how it ended, and how long the others may take."""
        self.done += 1
        self.times.append(seconds)
        left = self.total - self.done
        estimate = sum(self.times) / len(self.times) * left / min(self.jobs, left or 1)
        rest = f"; {left} left, about {duration(estimate)}" if left else ""
        how = f"FAILED after {duration(seconds)}: {failure}" if failure else f"done in {duration(seconds)}"
        print(f"[{self.done}/{self.total}] {experiment.name} {how}{rest}", flush=True)


def duration(seconds: float) -> str:
    """``42 s``, ``12 min``, ``3 h 05 min``."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def run_all(experiments: Sequence[Experiment], jobs: int = 1) -> dict[str, str]:
    """Run the experiments that are not done, each in its own process.

    Args:
        experiments: in order; an experiment comes after those that it needs.
        jobs: how many run at once. They share the processor's cores. With GPUs, each experiment sees one, the one that
            the fewest others use.

    Returns:
        By name, why an experiment failed.
    """
    waiting = [each for each in experiments if not each.done]
    progress = Progress(len(experiments), len(experiments) - len(waiting), jobs)
    # A fork of a process that has imported MONAI starts at once, but CUDA does not work after a fork
    forks = not torch.cuda.is_available() and "forkserver" in multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("forkserver" if forks else "spawn")
    if forks:
        context.set_forkserver_preload(["monai.bundle", "torch._dynamo", __name__])
    devices = _devices()
    threads = max(1, (os.cpu_count() or 1) // jobs) if jobs > 1 else None
    running: list[tuple[Experiment, Any, float, str | None]] = []
    failures: dict[str, str] = {}
    try:
        while waiting or running:
            for experiment in list(waiting):
                failed = [needed.name for needed in experiment.needs.values() if needed.name in failures]
                if failed:
                    failures[experiment.name] = f"it needs {failed[0]}"
                    progress.end(experiment, 0.0, failures[experiment.name])
                    waiting.remove(experiment)
                elif len(running) < jobs and all(needed.done for needed in experiment.needs.values()):
                    experiment.folder.mkdir(parents=True, exist_ok=True)
                    progress.start(experiment)
                    device = min(devices, key=[busy for *_, busy in running].count, default=None)
                    process = context.Process(target=run_experiment, args=(experiment, threads, device))
                    process.start()
                    running.append((experiment, process, time.monotonic(), device))
                    waiting.remove(experiment)
            time.sleep(0.05)
            for ended in [each for each in running if not each[1].is_alive()]:
                running.remove(ended)
                failure = _failure(ended[0], ended[1].exitcode)
                if failure:
                    failures[ended[0].name] = failure
                progress.end(ended[0], time.monotonic() - ended[2], failure)
    finally:
        for _, process, *_ in running:
            process.terminate()
            process.join()
    return failures


def _devices() -> list[str]:
    """The GPUs to distribute, as ``CUDA_VISIBLE_DEVICES`` names them; empty without GPU."""
    count = torch.cuda.device_count()
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return [name.strip() for name in given.split(",")][:count] if given else list(map(str, range(count)))


def _failure(experiment: Experiment, exitcode: int) -> str:
    """Why an experiment is not done: the last line of its log, or the signal that ended it; empty if it is done."""
    if exitcode == 0 and experiment.done:
        return ""
    if exitcode < 0:
        return f"ended by {signal.Signals(-exitcode).name}" + (" (out of memory?)" if exitcode == -9 else "")
    lines = [line for line in (experiment.folder / "log.txt").read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].removeprefix("FAILED").strip() if lines else f"exit code {exitcode}"
