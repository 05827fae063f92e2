"""Reproduces a paper's tables: runs a bundle's experiments, and writes our numbers beside the paper's.

``python -m common.reproduce us_dense_seg`` reads ``bundles/us_dense_seg/configs/reproduce.yaml``: variants x folds x
seeds, each an experiment with a folder of its own. What is done is skipped, what was cut off is continued.
"""

from __future__ import annotations

import argparse
import fcntl
import gc
import itertools
import json
import multiprocessing
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.bundle import __file__ as monai_bundle

from .experiments import ROOT, Experiment, Options, Plan, file_names, find_experiments, read_plan, run_name
from .files import whole_file
from .report.paper_curves import write_curves
from .report.paper_sheet import write_sheet
from .report.paper_table import write_table
from .run import git_commit, origin, ours, report_error


def run_experiment(experiment: Experiment, threads: int | None) -> None:
    """Body of an experiment's own process: the steps that are not finished, printed to ``log.txt``."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with (experiment.folder / "log.txt").open("a") as log:
        fcntl.flock(log, fcntl.LOCK_EX)  # where two calls share an experiment, the second waits and finds it done
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
            began = time.monotonic()
            _run_step(step, experiment.steps[step], experiment.overrides)
            record["finished"].append(step)
            record["seconds"] = round(record["seconds"] + time.monotonic() - began, 1)
            record["commit"] = git_commit()
            _save_record(experiment.folder, record)
    except Exception as error:
        report_error(type(error), error, error.__traceback__)
        print(f"\nFAILED  {_reason(error)}", file=sys.stderr)
        sys.exit(1)


def _reason(error: BaseException) -> str:
    """In one line, what went wrong below the errors that MONAI wraps it in."""
    cause = origin(error)
    kind = "" if ours(cause) else f"{type(cause).__name__}: "
    return kind + " ".join(str(cause).split())


def _end_with_parent() -> None:
    """An experiment must not go on unseen when the command that started it was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _save_record(folder: Path, record: Mapping[str, Any]) -> None:
    with whole_file(folder / "experiment.json") as part:
        part.write_text(json.dumps(record, indent=2) + "\n")


def _run_step(step: str, files: Sequence[str], overrides: Mapping[str, Any]) -> None:
    """What ``python -m monai.bundle run <step> --config_file ...`` does, which is also what the run records."""
    known = {str(name).split("::")[0] for name in ConfigParser.load_config_files(list(files))}
    overrides = {name: value for name, value in overrides.items() if name.split("::")[0] in known}
    arguments = ["run", step, "--config_file", files[0] if len(files) == 1 else str(list(files))]
    for name, value in overrides.items():
        arguments += [f"--{name}", _argument(value)]
    sys.argv = [str(Path(monai_bundle).with_name("__main__.py")), *arguments]
    print(f"\n$ python -m monai.bundle {shlex.join(arguments)}", flush=True)
    workflow = ConfigWorkflow(config_file=list(files), run_id=step, **overrides)
    workflow.initialize()
    workflow.run()
    workflow.finalize()
    del workflow
    gc.collect()  # engines and handlers hold each other; the next step may need the memory


def _argument(value: Any) -> str:
    """A value as the command line spells it, so that it is read as the same again."""
    if value is None:
        return "$None"  # MONAI's command line takes no notice of None itself
    return value if isinstance(value, str) and DefaultParseValue(value) == value else repr(value)


class Progress:
    """One line when an experiment starts, one when it ends."""

    def __init__(self, total: int, done: int, jobs: int) -> None:
        self.total, self.done, self.jobs, self.started = total, done, jobs, done
        self.times: list[float] = []

    def start(self, experiment: Experiment) -> None:
        """Tell which experiment starts."""
        self.started += 1
        print(f"[{self.started}/{self.total}] {experiment.name} starts; log in {experiment.folder}/log.txt", flush=True)

    def end(self, experiment: Experiment, seconds: float, failure: str) -> None:
        """Tell how it ended, and how long the others may take."""
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
    """Run what is not done, each experiment in a process of its own.

    Args:
        experiments: needed ones before those that need them.
        jobs: how many at once; they share the processor's cores.

    Returns:
        By name, why an experiment failed.
    """
    waiting = [each for each in experiments if not each.done]
    progress = Progress(len(experiments), len(experiments) - len(waiting), jobs)
    # A fork of a process that has imported MONAI starts at once, but CUDA does not survive a fork.
    forks = not torch.cuda.is_available() and "forkserver" in multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("forkserver" if forks else "spawn")
    if forks:
        context.set_forkserver_preload(["monai.bundle", f"{__package__}.run", f"{__package__}.report.paper_table"])
    threads = max(1, (os.cpu_count() or 1) // jobs) if jobs > 1 else None
    running: list[tuple[Experiment, Any, float]] = []
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
                    process = context.Process(target=run_experiment, args=(experiment, threads))
                    process.start()
                    running.append((experiment, process, time.monotonic()))
                    waiting.remove(experiment)
            time.sleep(0.05)
            for ended in [each for each in running if not each[1].is_alive()]:
                running.remove(ended)
                failure = _failure(ended[0], ended[1].exitcode)
                if failure:
                    failures[ended[0].name] = failure
                progress.end(ended[0], time.monotonic() - ended[2], failure)
    finally:
        for _, process, _ in running:
            process.terminate()
            process.join()
    return failures


def _failure(experiment: Experiment, exitcode: int) -> str:
    """Why an experiment is not done: the last line of its log, or the signal that ended it."""
    if exitcode == 0 and experiment.done:
        return ""
    if exitcode < 0:
        return f"ended by {signal.Signals(-exitcode).name}" + (" (out of memory?)" if exitcode == -9 else "")
    lines = [line for line in (experiment.folder / "log.txt").read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].removeprefix("FAILED").strip() if lines else f"exit code {exitcode}"


def write_tables(plan: Plan, options: Options) -> Iterator[Path]:
    """Write the bundle's tables, then its sheets and curves, from whatever experiments are done.

    Yields:
        Path of each table's Markdown file and of each picture, once it is there.
    """
    folder = options.root / plan.bundle
    records: dict[str, dict[str, Any]] = {}
    for variant, repeat in itertools.product(plan.variants, plan.repeats):
        name = f"{plan.bundle}/{variant}/{run_name(repeat)}"
        experiment = Experiment(name, options.root / name, {}, plan.files(variant), {})
        if experiment.done:
            records[name] = experiment.record
    if not records:
        print("No experiment is done, so there is no table yet.")
        return

    def left(variant: str, run: str, file: str) -> Path | None:
        name = f"{plan.bundle}/{variant}/{run}"
        return options.root / name / "eval" / file if name in records else None

    for table in plan.tables:
        if not any(name.split("/")[1] in table.variants for name in records):
            continue
        runs: dict[str, dict[str, Path | None]] = {
            variant: {run: left(variant, run, table.scores) for run in map(run_name, plan.repeats)}
            for variant in table.variants
        }
        shown = {name: record for name, record in records.items() if name.split("/")[1] in table.variants}
        yield write_table(folder, table, runs, _facts(plan, shown, options), plan.word)[2]
    for sheet in plan.sheets:
        files = {variant: left(variant, sheet.run, sheet.slices) for variant in sheet.variants}
        shown = {name: records[name] for v in files if (name := f"{plan.bundle}/{v}/{sheet.run}") in records}
        if shown:
            path = folder / f"{sheet.name}.png"
            write_sheet(path, sheet, files, plan.configs / "metadata.json", _facts(plan, shown, options))
            yield path
    for curves in plan.curves:
        files = {variant: left(variant, curves.run, curves.file) for variant in curves.variants}
        shown = {name: records[name] for v in files if (name := f"{plan.bundle}/{v}/{curves.run}") in records}
        if shown:
            path = folder / f"{curves.name}.png"
            write_curves(path, curves, files, _facts(plan, shown, options))
            yield path


def _facts(plan: Plan, records: Mapping[str, Mapping[str, Any]], options: Options) -> list[str]:
    """Where the numbers of a table come from: data, settings, commit, time."""
    warning = " QUICK RUN: it shows that everything runs, and is no result." if options.quick else ""
    facts = [f"Data: {_data(records)}.{warning}", *_differences(plan, records)]
    for need in {need["bundle"]: need for need in plan.needs.values() if need["bundle"] != plan.bundle}.values():
        other = read_plan(need["bundle"], options.bundles)
        names = {
            value
            for record in records.values()
            for value in record["settings"].values()
            if isinstance(value, str) and value.startswith(f"{other.bundle}/")
        }
        needed = {name: Experiment(name, options.root / name, {}, other.steps, {}).record for name in sorted(names)}
        needed = {name: record for name, record in needed.items() if record}
        facts += [f"Starts from {other.bundle}, trained on {_data(needed)}."] if needed else []
        facts += [f"{other.bundle}: {fact}" for fact in _differences(other, needed)]
    commits = sorted({str(record.get("commit")) for record in records.values()}) or [str(git_commit())]
    seconds = sum(record["seconds"] for record in records.values())
    facts.append(f"Commit {', '.join(commits)}; {duration(seconds)} in all; table of {time.strftime('%Y-%m-%d')}.")
    return facts


def _data(records: Mapping[str, Mapping[str, Any]]) -> str:
    folders = sorted({str(record["settings"]["dataset_dir"]) for record in records.values()})
    return " AND ".join("synthetic phantoms" if each == "phantom" else each for each in folders) or "none yet"


def _differences(plan: Plan, records: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A sentence on the settings that are neither the config's nor what the experiments differ in by design."""
    files = next(iter(plan.steps.values()))
    config = ConfigParser.load_config_files([str(plan.configs / name) for name in files])
    found: dict[str, list[str]] = {}
    for name, record in records.items():
        design = plan.variants.get(name.split("/")[1], {})
        needed = plan.needs.get(name.split("/")[1], {}).get("as")
        for key, value in record["settings"].items():
            skipped = key in ("dataset_dir", needed) or any(key in repeat for repeat in plan.repeats)
            if not skipped and value != design.get(key, config.get(key)) and str(value) not in found.get(key, []):
                found.setdefault(key, []).append(str(value))
    changes = [f"{key} {' AND '.join(values)} (there: {config.get(key, 'none')})" for key, values in found.items()]
    return [f"Settings other than {files[0]}'s: {', '.join(changes)}."] if changes else []


def _parse(arguments: Sequence[str], bundles: Path) -> tuple[argparse.Namespace, dict[str, dict[str, Any]]]:
    """The runner's own arguments, and the settings of each bundle."""
    parser = argparse.ArgumentParser(
        prog="python -m common.reproduce",
        description="Runs a bundle's experiments and writes the paper's tables with our numbers beside.",
        epilog="Any setting of the bundle's train.yaml can be given as --<setting> value, such as --epochs 5; "
        "one of a bundle that it needs as --<bundle>::<setting> value.",
        allow_abbrev=False,
    )
    parser.add_argument("bundle", help="folder in bundles/")
    parser.add_argument("--quick", action="store_true", help="a test that all runs, in a folder apart")
    parser.add_argument("--output_dir", default="reproduced", help="default: %(default)s")
    parser.add_argument("--dataset_dir", default="phantom", help="default: %(default)s, which is synthetic data")
    parser.add_argument("--only", default="*", help="pattern of variants, 'dense*', or variant/fold, '*/fold0'")
    parser.add_argument("--jobs", type=int, default=1, help="experiments at once (default: %(default)s)")
    parser.add_argument("--tables_only", action="store_true", help="run nothing, write the tables of what is there")
    own, rest = parser.parse_known_args(arguments)
    if own.jobs < 1:
        raise ValueError(f"--jobs is 1 or more, got {own.jobs}.")
    settings: dict[str, dict[str, Any]] = {own.bundle: {"dataset_dir": own.dataset_dir}}
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if not name.startswith("--") or not (equals or rest):
            raise ValueError(f"Settings are given as --setting value, got {name}.")
        value = value if equals else rest.pop(0)
        bundle, colons, setting = name[2:].partition("::")
        if not colons or not (bundles / bundle / "configs" / "reproduce.yaml").is_file():
            bundle, setting = own.bundle, name[2:]
        settings.setdefault(bundle, {})[setting] = DefaultParseValue(value)
    for bundle, given in settings.items():
        folder = given.get("dataset_dir", "phantom")
        if folder != "phantom" and not Path(str(folder)).exists():
            raise FileNotFoundError(f"No such folder: {folder}. Give the data of {bundle}, or phantom.")
        if folder != "phantom":
            given["dataset_dir"] = str(Path(folder).resolve())
    return own, settings


def main(arguments: Sequence[str], bundles: Path = ROOT / "bundles") -> int:
    """Run what the command line asks for.

    Args:
        arguments: without the program's name.
        bundles: folder of the bundles.

    Returns:
        Exit code: 1 where an experiment failed.

    Raises:
        FileNotFoundError: for a bundle that cannot be reproduced.
        ValueError: for a mistake in ``reproduce.yaml`` or on the command line.
    """
    own, settings = _parse(arguments, bundles)
    plan = read_plan(own.bundle, bundles)
    options = Options(bundles, Path(own.output_dir).resolve(), plan.bundle, own.quick, settings)
    failures = {}
    if not own.tables_only:
        experiments = find_experiments(plan, options, own.only)
        done = sum(each.done for each in experiments)
        data = settings[plan.bundle]["dataset_dir"]
        print(
            f"{plan.bundle} on {'synthetic phantoms' if data == 'phantom' else data}: {len(experiments)} experiments, "
            f"{done} of them done before, {own.jobs} at once, in {options.root / plan.bundle}"
        )
        failures = run_all(experiments, own.jobs)
    for path in write_tables(plan, options):
        if path.suffix == ".md":
            print(f"\n{path.read_text()}\nTable: {path} (.csv, .png, every run's numbers beside it)")
        else:
            print(f"{'Curves' if path.stem in {each.name for each in plan.curves} else 'Sheet'}: {path}")
    for name, reason in failures.items():
        print(f"FAILED  {name}: {reason}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.excepthook = report_error
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("\nStopped. The same command goes on from here.")
