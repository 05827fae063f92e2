"""The command line of ``python -m common.reproduce``, and the tables and figures written at the end."""

from __future__ import annotations

import itertools
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser

from ..report.html.scores import markdown_table, write_tables_page
from ..run.command import Parser
from ..run.errors import CasesFailed, NothingToDo
from ..settings import check_names
from .curves import PaperCurves, write_curves
from .experiments import Experiment, Options, find_experiments
from .plan import PLAN, ROOT, Plan, read_plan, run_name
from .processes import duration, run_all
from .sheet import ALL_RUNS, PaperSheet, write_sheet
from .table_files import write_table

Records = Mapping[tuple[str, str], Mapping[str, Any]]  # of finished experiments, by variant and run


def write_tables(plan: Plan, options: Options) -> Iterator[Path]:
    """Write the bundle's tables, then its sheets and curves, from all experiments that are done.

    Yields:
        Path of each table's Markdown file and of each figure, when it is written.
    """
    folder, runs = options.root / plan.bundle, [run_name(repeat) for repeat in plan.repeats]
    all_runs = itertools.product(plan.variants, runs)
    experiments = {key: Experiment.in_folder(plan, options, *key) for key in all_runs}
    records: Records = {key: experiment.record for key, experiment in experiments.items() if experiment.done}
    if not records:
        print("No experiment is done, so there is no table yet.")

    def of(variants: Sequence[str], runs: Sequence[str]) -> Records:
        return {key: records[key] for key in itertools.product(variants, runs) if key in records}

    def path(variant: str, run: str, file: str) -> Path | None:
        return experiments[variant, run].folder / "eval" / file if (variant, run) in records else None

    for table in plan.tables:
        if done := of(table.variants, runs):
            scores = {variant: {run: path(variant, run, table.scores) for run in runs} for variant in table.variants}
            yield write_table(folder, table, scores, _facts(plan, done, options), plan.word)[2]
    pictures: list[PaperSheet | PaperCurves] = [*plan.sheets, *plan.curves]
    for picture in pictures:
        shown = runs if picture.run == ALL_RUNS else [picture.run]
        if done := of(picture.variants, shown):
            png, facts = folder / f"{picture.name}.png", _facts(plan, done, options)
            files = {variant: [path(variant, run, picture.file) for run in shown] for variant in picture.variants}
            if isinstance(picture, PaperSheet):
                write_sheet(png, picture, files, plan.configs / "metadata.json", facts)
            else:
                write_curves(png, picture, {variant: each[0] for variant, each in files.items()}, facts)
            yield png


def _write_page(plan: Plan, written: Sequence[Path]) -> Path:
    """Write the page beside the tables and figures, ``report.html`` or one of the plan's name; return its path."""
    found = [markdown_table(path) for path in written if path.suffix == ".md"]
    facts = dict.fromkeys(fact for _, facts in found for fact in facts)
    figures = [path.with_suffix(".png") for path in written]
    return write_tables_page(
        written[0].parent,
        f"{plan.bundle}: the paper's results and ours",
        [each for each, _ in found],
        figures,
        [*facts],
        Path(plan.file.replace("reproduce", "report")).with_suffix(".html").name,
    )


def _facts(plan: Plan, records: Records, options: Options) -> list[str]:
    """Where the numbers of a table come from: data, settings, commit, time."""
    warning = " QUICK RUN: a test that everything runs, not a result." if options.quick else ""
    facts = [f"Data: {_data(records)}.{warning}", *_differences(plan, records)]
    for bundle in dict.fromkeys(need["bundle"] for need in plan.needs.values() if need["bundle"] != plan.bundle):
        other = read_plan(bundle, options.bundles)
        names = {
            str(record["settings"][need["as"]])
            for (variant, _), record in records.items()
            if (need := plan.needs.get(variant)) and need["bundle"] == bundle
        }
        keys = [(name.split("/")[1], name.split("/")[2]) for name in sorted(names)]
        needed = {key: record for key in keys if (record := Experiment.in_folder(other, options, *key).record)}
        facts += [f"Starts from {bundle}, trained on {_data(needed)}."] if needed else []
        facts += [f"{bundle}: {fact}" for fact in _differences(other, needed)]
    commits = sorted({str(record.get("commit")) for record in records.values()})
    seconds = sum(record["seconds"] for record in records.values())
    facts.append(f"Commit {', '.join(commits)}; {duration(seconds)} in all; table of {time.strftime('%Y-%m-%d')}.")
    return facts


def _data(records: Records) -> str:
    folders = {str(record["settings"]["dataset_dir"]) for record in records.values()}
    return " AND ".join(sorted({"synthetic phantoms" if each.startswith("phantom") else each for each in folders}))


def _differences(plan: Plan, records: Records) -> list[str]:
    """A sentence on the settings that differ from the configs, besides those in which the variants differ by design."""
    changes: dict[str, dict[str, None]] = {}
    names: dict[str, None] = {}
    for (variant, _), record in records.items():
        design, needed = plan.variants.get(variant, {}), plan.needs.get(variant, {}).get("as")
        files = plan.all_files([variant])
        config = ConfigParser.load_config_files(files)
        for key, value in record["settings"].items():
            skipped = key in ("dataset_dir", needed) or any(key in repeat for repeat in plan.repeats)
            if not skipped and value != design.get(key, config.get(key)):
                changes.setdefault(key, {})[f"{value} (config: {config.get(key, 'none')})"] = None
                names[Path(files[0]).name] = None
    changed = ", ".join(f"{key} {' AND '.join(values)}" for key, values in changes.items())
    return [f"Settings other than {' and '.join(names)}'s: {changed}."] if changes else []


def _parse(arguments: Sequence[str], bundles: Path) -> tuple[Namespace, dict[str, dict[str, Any]]]:
    """The runner's own arguments, and the settings of each bundle."""
    parser = Parser(
        prog="python -m common.reproduce",
        description="Runs a bundle's experiments and writes the paper's tables with our numbers beside the paper's.",
        epilog="Any setting of the bundle's train.yaml can be given as --<setting> value, such as --epochs 5; "
        "settings of another bundle whose weights are needed as --<bundle>::<setting> value.",
    )
    parser.add_argument("bundle", help="folder in bundles/")
    parser.add_argument("--quick", action="store_true", help="a test: all variants, small, only the first fold or seed")
    parser.add_argument("--output_dir", default="reproduced", help="default: %(default)s")
    parser.add_argument("--dataset_dir", default="phantom", help="default: %(default)s, synthetic data")
    parser.add_argument("--only", default="*", help="pattern of variants, 'dense*', or of variant/fold, '*/fold0'")
    parser.add_argument("--plan", default=PLAN, help="file in the bundle's configs (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="experiments at once (default: %(default)s)")
    parser.add_argument(
        "--tables_only", action="store_true", help="run nothing, write the tables of finished experiments"
    )
    own, rest = parser.parse_known_args(arguments)
    if own.jobs < 1:
        raise ValueError(f"--jobs must be 1 or more, got {own.jobs}.")
    settings: dict[str, dict[str, Any]] = {own.bundle: {"dataset_dir": own.dataset_dir}}
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if not name.startswith("--") or not (equals or rest):
            raise ValueError(f"Give settings as --setting value, got {name}. --quick and --tables_only take no value.")
        value = value if equals else rest.pop(0)
        bundle, colons, setting = name[2:].partition("::")
        if not colons or not (bundles / bundle / "configs" / PLAN).is_file():
            bundle, setting = own.bundle, name[2:]
        settings.setdefault(bundle, {})[setting] = DefaultParseValue(value)
    for bundle, given in settings.items():
        for name in ("dataset_dir", "target_dir"):
            folder = given.get(name, "phantom")
            if folder != "phantom" and not Path(str(folder)).exists():
                raise FileNotFoundError(f"No such folder: {folder}. Give the data of {bundle}, or phantom.")
            if folder != "phantom":
                given[name] = str(Path(folder).resolve())
    return own, settings


def main(arguments: Sequence[str], bundles: Path = ROOT / "bundles") -> int:
    """Run the experiments of a bundle and write its tables and figures.

    Args:
        arguments: of the command line, without the program's name.
        bundles: folder of the bundles.

    Returns:
        Exit code: 2 if an experiment failed, 3 if there is nothing to write yet.

    Raises:
        FileNotFoundError: for a bundle that cannot be reproduced.
        ValueError: for a mistake in ``reproduce.yaml`` or on the command line.
    """
    own, settings = _parse(arguments, bundles)
    options = Options(bundles, Path(own.output_dir).resolve(), own.bundle, own.quick, settings, own.only, own.plan)
    plan = options.plan()
    known = {**vars(own), **ConfigParser.load_config_files(plan.all_files(plan.variants))}
    plain = [name for name, value in known.items() if not isinstance(value, dict) and name != "bundle"]
    given = [name.split("::")[0] for name in settings[plan.bundle]]
    check_names("setting", given, known, prefix="--", listed=plain)
    failures = {}
    if not own.tables_only:
        experiments = find_experiments(plan, options)
        done = sum(each.done for each in experiments)
        data = settings[plan.bundle]["dataset_dir"]
        print(
            f"{plan.bundle} on {'synthetic phantoms' if data == 'phantom' else data}: {len(experiments)} experiments, "
            f"{done} of them done before, {own.jobs} at once, in {options.root / plan.bundle}"
        )
        chosen = {each.name.split("/")[1] for each in experiments if each.name.startswith(f"{plan.bundle}/")}
        for setting in settings[plan.bundle]:
            if own_value := [name for name in plan.variants if name in chosen and setting in plan.variants[name]]:
                print(f"--{setting} has no effect on {', '.join(own_value)}, which set it themselves.")
        failures = run_all(experiments, own.jobs)
    written = []
    for path in write_tables(plan, options):
        written.append(path)
        if path.suffix == ".md":
            print(f"\n{path.read_text()}\nTable: {path} (beside it: .csv, .png, and the numbers of every run)")
        else:
            print(f"{'Curves' if path.stem in {each.name for each in plan.curves} else 'Sheet'}: {path}")
    if written:
        print(f"All of it on one page: {_write_page(plan, written)}")
    for name, reason in failures.items():
        print(f"FAILED  {name}: {reason}", file=sys.stderr)
    if failures:
        return CasesFailed.exit_code
    return 0 if written else NothingToDo.exit_code
