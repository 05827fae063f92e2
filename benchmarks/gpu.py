"""Tests, training and inference of ct_drsegunet on a machine with a GPU, in less than eight minutes and one table.

Run      python benchmarks/gpu.py [--wheels .whl] [--output gpu.md] [--only training inference] [--minutes 7.7]

The machine needs no network: packages that it lacks are installed from wheels into a temporary folder. Every stage is a
process of its own with its own time limit, so that one that fails or takes too long leaves the others their rows.
Without a GPU the same stages run small on the CPU, which tests this script and says nothing about a GPU.
How to collect the wheels and how to read the table: docs/gpu.md.

This file needs the standard library only, because it runs before anything is installed.
gpu_training.py and gpu_inference.py measure.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LIMITS = {"tests": 110, "training": 120, "inference": 100, "compiled": 110}  # seconds; stages run in this order
SHORTEST = 20  # seconds: with less than this left, a stage is not started
MINUTES = 7.7  # in all
MARK = "row "  # begins the lines by which the stages report
COLUMNS = ("Stage", "What", "Batch", "Time", "Images/s", "Of bare loop", "Of bf16 peak", "Memory, GiB")


@dataclass
class Results:
    """What the stages reported so far."""

    facts: dict[str, str] = field(default_factory=dict)  # device, versions, date
    peaks: list[float] = field(default_factory=list)  # TFLOP/s of the matrix product, one per stage
    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # outcome of every stage
    failed: bool = False

    def take(self, stage: str, report: Mapping[str, Any]) -> None:
        """Sort in one line of a stage: ``facts``, ``peak``, ``note`` or a row of the table."""
        if "facts" in report:
            self.facts.update(report["facts"])
        elif "peak" in report:
            self.peaks.append(report["peak"])
        elif "note" in report:
            self.notes.append(f"{stage}: {report['note']}")
        else:
            self.rows.append({"stage": stage, **report})


def install(wheels: Path, folder: Path) -> str:
    """Install wheels into a folder, without a package index and without what they depend on.

    Args:
        wheels: folder of ``*.whl`` files, one version of each package.
        folder: receives the packages.

    Returns:
        What was installed, in a sentence.

    Raises:
        SystemExit: when there are no wheels, or pip refuses them; the message ends with pip's own words.
    """
    files = sorted(wheels.glob("*.whl"))
    if not files:
        raise SystemExit(f"{wheels} must be a folder of wheels, but holds none. docs/gpu.md says how to collect them.")
    options = ["--quiet", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir", "--upgrade"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"The wheels in {wheels} could not be installed. pip says:\n{done.stderr.strip()}")
    mib = sum(file.stat().st_size for file in files) / 2**20
    return f"installed {len(files)} wheels, {mib:.1f} MiB"


def run(command: Sequence[str], env: Mapping[str, str], seconds: float) -> tuple[int | None, list[str]]:
    """Run a command from the repository's root, show its output, and end it with all its children at the time limit.

    Returns:
        The exit code, None at the time limit; and the lines of its output.
    """
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    stopped = threading.Event()

    def stop() -> None:
        stopped.set()
        os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(seconds, stop)
    timer.start()
    lines = []
    try:
        assert process.stdout is not None  # for mypy: it is a pipe
        for line in process.stdout:
            lines.append(line.rstrip())
            if not line.startswith(MARK):
                print(line, end="", flush=True)
        code = process.wait()
    finally:
        timer.cancel()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return (None if stopped.is_set() else code), lines


def gpu_tests() -> list[str]:
    """Files with tests marked ``gpu``; the others may import what is not installed here."""
    files = (file for file in sorted((ROOT / "tests").rglob("test_*.py")) if "monailabel" not in file.parts)
    return [str(file.relative_to(ROOT)) for file in files if "@pytest.mark.gpu" in file.read_text()]


def command_of(stage: str) -> list[str]:
    """The command of a stage."""
    if stage == "tests":
        options = ["-m", "gpu", "-q", "-p", "no:cacheprovider", "--continue-on-collection-errors"]
        return [sys.executable, "-m", "pytest", *options, *gpu_tests()]
    scripts = {"training": ["training.py"], "inference": ["inference.py"], "compiled": ["training.py", "--compile"]}
    name, *options = scripts[stage]
    return [sys.executable, f"benchmarks/gpu_{name}", *options]


def run_stage(stage: str, env: Mapping[str, str], seconds: float, results: Results) -> None:
    """Run one stage and take its rows, those before a failure included."""
    began = time.perf_counter()
    code, lines = run(command_of(stage), env, seconds)
    took = time.perf_counter() - began
    reports = [json.loads(line.removeprefix(MARK)) for line in lines if line.startswith(MARK)]
    for report in reports:
        results.take(stage, report)
    results.failed |= code != 0
    if code is None:
        results.notes.append(f"{stage}: stopped at its limit of {seconds:.0f} s; what it had not finished is missing")
    elif stage == "tests":
        results.notes.append(f"tests marked gpu: {tests_outcome(lines)}")
    elif code:
        results.notes.append(f"{stage}: failed after {took:.0f} s, exit code {code}: {last(lines)}")
    elif not any("note" in report for report in reports):
        results.notes.append(f"{stage}: finished in {took:.0f} s")


def tests_outcome(lines: Sequence[str]) -> str:
    """pytest's last line, such as ``4 passed in 50.1s``."""
    outcomes = [line.strip("= ") for line in lines if re.search(r"\d (passed|failed|skipped|error)", line)]
    return outcomes[-1] if outcomes else f"none ran: {last(lines)}"


def last(lines: Sequence[str]) -> str:
    """The last line of an output that says anything."""
    return next((line for line in reversed(lines) if line.strip()), "no output")


def cells(row: Mapping[str, Any]) -> list[str]:
    """One row of the table; what was not measured is a dash."""

    def number(name: str, form: str) -> str:
        return form.format(row[name]) if row.get(name) is not None else "-"

    seconds = row.get("seconds")
    time_taken = "-" if seconds is None else f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.1f} ms"
    return [
        row["stage"],
        row["what"],
        number("batch", "{}"),
        time_taken,
        number("images_per_second", "{:.1f}"),
        number("of_bare", "{:.2f}"),
        number("of_peak", "{:.1%}"),
        number("memory", "{:.2f}"),
    ]


def markdown(results: Results) -> str:
    """The table with the device, versions and outcome of every stage above it."""
    lines = [f"- {name}: {value}" for name, value in results.facts.items()]
    if results.peaks:
        low, high = min(results.peaks), max(results.peaks)
        rate = f"{low:.3g}" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} to {high:.3g}"
        lines.append(f"- bf16 peak (large matrix product, measured in each stage): {rate} TFLOP/s")
    lines += [f"- {note}" for note in results.notes]
    if not results.rows:
        return "\n".join(lines) + "\n"
    table = [list(COLUMNS), *(cells(row) for row in results.rows)]
    widths = [max(len(row[index]) for row in table) for index in range(len(COLUMNS))]
    table.insert(1, ["-" * width for width in widths])
    for row in table:
        padded = [
            cell.ljust(width) if index < 2 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(f"| {' | '.join(padded)} |")
    lines.insert(len(lines) - len(table), "")
    return "\n".join(lines) + "\n"


def commit() -> str:
    """The commit of this code, or that it is unknown."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown, this is no git checkout"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stages, print the table and write it after each stage.

    Returns:
        0, or 2 where a stage failed, was stopped or was left out.
    """
    began = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheels", type=Path, help="folder of wheels to install first (default: .whl, if it exists)")
    output = Path(os.environ.get("OUT") or "build") / "gpu.md"
    parser.add_argument("--output", type=Path, default=output, help="the table, as Markdown (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=LIMITS, default=list(LIMITS), help="stages (default: all)")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="time limit in all (default: %(default)s)")
    options = parser.parse_args(arguments)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    wheels = options.wheels or (ROOT / ".whl" if (ROOT / ".whl").is_dir() else None)
    results = Results({"date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(), "commit": commit()})
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        if wheels is not None:
            site = Path(folder) / "site"
            results.notes.append(install(wheels, site))
            paths.insert(0, str(site))
        (Path(folder) / "tmp").mkdir()  # takes what a stage that is stopped would leave
        settings = {"PYTHONUNBUFFERED": "1", "TQDM_DISABLE": "1", "TMPDIR": f"{folder}/tmp"}
        env = {**os.environ, **settings, "PYTHONPATH": os.pathsep.join(paths)}
        for stage in [name for name in LIMITS if name in options.only]:
            left = 60 * options.minutes - (time.monotonic() - began)
            if left < SHORTEST:
                limit = f"{max(left, 0):.0f} s of {options.minutes:g} minutes were left"
                results.notes.append(f"{stage}: left out for lack of time, {limit}")
                results.failed = True
                continue
            seconds = min(LIMITS[stage], left)
            print(f"\n== {stage}: at most {seconds:.0f} s", flush=True)
            run_stage(stage, env, seconds, results)
            options.output.write_text(markdown(results))
    options.output.write_text(markdown(results))
    print(f"\n{markdown(results)}\n{time.monotonic() - began:.0f} s in all. Table: {options.output}")
    return 2 if results.failed else 0


if __name__ == "__main__":
    sys.exit(main())
