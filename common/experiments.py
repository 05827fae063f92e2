"""What it takes to reproduce a paper's tables: a bundle's ``reproduce.yaml`` and the experiments that it asks for."""

from __future__ import annotations

import difflib
import fnmatch
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .report.paper_curves import PaperCurves, read_curves
from .report.paper_sheet import PaperSheet, read_sheet
from .report.paper_table import PaperTable, mapping, read_table
from .run import check_overrides

ROOT = Path(__file__).resolve().parents[1]
OWN = ("ckpt_dir", "output_dir", "resume", "fold")  # settings that every experiment has its own of
KEYS = ("steps", "steps_of", "variants", "folds", "seeds", "settings", "quick", "needs", "tables", "sheets", "curves")


@dataclass(frozen=True)
class Plan:
    """A bundle's ``reproduce.yaml``, checked.

    Args:
        bundle: name of the bundle's folder.
        configs: folder of its configs.
        steps: what MONAI is to run, with which configs, in order.
        steps_of: the same by variant, for those that differ.
        variants: settings of each variant.
        repeats: settings of each run of a variant, ``{"fold": 0}`` and so on.
        settings: of every experiment.
        quick: further ones with ``--quick``.
        needs: by variant, the ``bundle`` and ``variant`` whose weights it starts from, and ``as`` which setting.
        tables: what to write in the end.
        sheets, curves: what to draw then.
    """

    bundle: str
    configs: Path
    steps: Mapping[str, Sequence[str]]
    steps_of: Mapping[str, Mapping[str, Sequence[str]]]
    variants: Mapping[str, Mapping[str, Any]]
    repeats: Sequence[Mapping[str, int]]
    settings: Mapping[str, Any]
    quick: Mapping[str, Any]
    needs: Mapping[str, Mapping[str, str]]
    tables: Sequence[PaperTable]
    sheets: Sequence[PaperSheet]
    curves: Sequence[PaperCurves]

    @property
    def word(self) -> str:
        """What the runs of a variant are called."""
        return "folds" if all(list(repeat) == ["fold"] for repeat in self.repeats) else "runs"

    def files(self, variant: str) -> dict[str, list[str]]:
        """Paths of the configs of each step of a variant, as short as they can be from the repository's root."""
        paths = {
            step: [self.configs / name for name in names]
            for step, names in self.steps_of.get(variant, self.steps).items()
        }
        return {
            step: [str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path) for path in each]
            for step, each in paths.items()
        }


def run_name(repeat: Mapping[str, int]) -> str:
    """``fold0``, ``fold0_seed1``, or ``run`` where a variant is run once."""
    return "_".join(f"{key}{value}" for key, value in repeat.items()) or "run"


def read_plan(bundle: str, bundles: Path) -> Plan:
    """Read ``<bundles>/<bundle>/configs/reproduce.yaml``.

    Raises:
        FileNotFoundError: without such a bundle, such a file, or a config that it names.
        ValueError: naming the key that is not as it must be.
    """
    path = bundles / bundle / "configs" / "reproduce.yaml"
    if not path.is_file():
        known = ", ".join(sorted(each.parts[-3] for each in bundles.glob("*/configs/reproduce.yaml"))) or "none"
        reason = f"{bundle} has no configs/reproduce.yaml" if path.parents[1].is_dir() else f"No bundle {bundle!r}"
        raise FileNotFoundError(f"{reason} in {bundles}. Bundles whose tables can be reproduced: {known}.")
    try:
        return _plan(bundle, path.parent, yaml.safe_load(path.read_text()))
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: {error}") from error


def _plan(bundle: str, configs: Path, content: Any) -> Plan:
    content = mapping(content, "the file")
    for key in content:
        if key not in KEYS:
            close = difflib.get_close_matches(str(key), KEYS, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise ValueError(f"no key is called {key!r}.{hint} Keys: {', '.join(KEYS)}.")
    keys = ("steps", "steps_of", "variants", "settings", "quick", "needs")
    parts = {key: mapping(content.get(key, {}), key) for key in keys}
    for key in ("steps", "variants"):
        if not parts[key]:
            raise ValueError(f"{key} names one at least, got none.")
    _check_steps(parts["steps"], configs, "steps")
    for variant, steps in parts["steps_of"].items():
        if variant not in parts["variants"]:
            raise ValueError(f"steps_of: no variant is called {variant!r}; there are {', '.join(parts['variants'])}.")
        _check_steps(mapping(steps, f"steps_of: {variant}"), configs, f"steps_of: {variant}")
    for variant, settings in parts["variants"].items():
        if not isinstance(variant, str) or not variant or set(variant) & set("/\\ *?["):
            raise ValueError(f"variants: {variant!r} must be a word, for it names a folder. Put it in quotes?")
        mapping(settings, f"variants: {variant}")
    for variant, need in parts["needs"].items():
        if variant not in parts["variants"]:
            raise ValueError(f"needs: no variant is called {variant!r}; there are {', '.join(parts['variants'])}.")
        if set(mapping(need, f"needs: {variant}")) != {"bundle", "variant", "as"}:
            raise ValueError(f"needs: {variant} has bundle, variant and as, got {need!r}.")
    folds, seeds = ([{key[:-1]: number} for number in _numbers(content, key)] or [{}] for key in ("folds", "seeds"))
    repeats = [{**fold, **seed} for fold, seed in itertools.product(folds, seeds)]
    tables, sheets, curves = content.get("tables"), content.get("sheets", []), content.get("curves", [])
    if not isinstance(tables, list) or not tables:
        raise ValueError(f"tables is a list of one or more, got {tables!r}.")
    for key, entries in (("sheets", sheets), ("curves", curves)):
        if not isinstance(entries, list):
            raise ValueError(f"{key} is a list, got {entries!r}.")
    variants, runs = list(parts["variants"]), list(map(run_name, repeats))
    tables = [read_table(table, variants) for table in tables]
    sheets = [read_sheet(sheet, variants, runs) for sheet in sheets]
    curves = [read_curves(each, variants, runs) for each in curves]
    names = [each.name for each in (*tables, *sheets, *curves)]
    if len(set(names)) < len(names):
        several = "tables, sheets and curves"
        raise ValueError(f"{several} have names of their own, for they name files; got {', '.join(names)}.")
    return Plan(bundle=bundle, configs=configs, repeats=repeats, tables=tables, sheets=sheets, curves=curves, **parts)


def _check_steps(steps: Mapping[str, Any], configs: Path, where: str) -> None:
    for step, files in steps.items():
        if not isinstance(files, list) or not files:
            raise ValueError(f"{where}: {step} is a list of configs such as [train.yaml], got {files!r}.")
        for name in files:
            if not (configs / name).is_file():
                raise FileNotFoundError(f"{configs}/reproduce.yaml: {where}: {step} names {name}, which is not there.")


def _numbers(content: Mapping[str, Any], key: str) -> list[int]:
    numbers = content.get(key, [])
    if not isinstance(numbers, list) or not all(type(number) is int for number in numbers):
        raise ValueError(f"{key} is a list of whole numbers such as [0, 1, 2], got {numbers!r}.")
    return numbers


@dataclass(frozen=True)
class Options:
    """What the command line says.

    Args:
        bundles: folder of the bundles.
        output_dir: of all experiments.
        bundle: whose tables are asked for.
        quick: take the quick settings too, in a folder apart.
        settings: further ones of each bundle, ``dataset_dir`` among them.
    """

    bundles: Path
    output_dir: Path
    bundle: str
    quick: bool
    settings: Mapping[str, Mapping[str, Any]]

    @property
    def root(self) -> Path:
        """Folder of the bundles' folders."""
        return self.output_dir / "quick" if self.quick else self.output_dir


@dataclass(frozen=True)
class Experiment:
    """One variant, one fold, one seed.

    Args:
        name: ``bundle/variant/fold0``, also of its folder.
        folder: holds ``models``, ``eval``, ``log.txt`` and ``experiment.json``, the record of what is done.
        settings: overrides of the configs; what it needs is told by name.
        steps: configs of each step.
        needs: setting to the experiment whose ``models/model.pt`` it takes.
    """

    name: str
    folder: Path
    settings: Mapping[str, Any]
    steps: Mapping[str, Sequence[str]]
    needs: Mapping[str, Experiment]

    @property
    def record(self) -> dict[str, Any]:
        """What the folder says of itself, empty before the first start."""
        path = self.folder / "experiment.json"
        return json.loads(path.read_text()) if path.is_file() else {}

    @property
    def done(self) -> bool:
        """All steps are finished."""
        return self.record.get("finished") == list(self.steps)

    @property
    def overrides(self) -> dict[str, Any]:
        """Settings as MONAI is to receive them."""
        folder = self.folder
        paths = {"ckpt_dir": str(folder / "models"), "output_dir": str(folder / "eval")}
        weights = {setting: str(needed.folder / "models" / "model.pt") for setting, needed in self.needs.items()}
        return {**self.settings, **paths, "resume": True, **weights}

    def check(self) -> None:
        """Refuse to mix settings in one folder.

        Raises:
            ValueError: where the folder was begun with others.
        """
        record = self.record
        before = {**record.get("settings", {}), "steps": record.get("steps")}
        now = json.loads(json.dumps({**self.settings, "steps": {key: file_names(f) for key, f in self.steps.items()}}))
        differing = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        if record and differing:
            changes = "; ".join(
                f"{key} was {before.get(key, 'not set')}, now {now.get(key, 'not set')}" for key in differing
            )
            raise ValueError(
                f"{self.folder} holds an experiment with other settings: {changes}. "
                "Give the same ones, or another --output_dir, or remove that folder."
            )


def file_names(files: Sequence[str]) -> list[str]:
    """Names without folders."""
    return [Path(file).name for file in files]


def find_experiments(plan: Plan, options: Options, only: str = "*") -> list[Experiment]:
    """All experiments of a plan in an order in which they can be run, with those of other bundles that they need.

    Args:
        plan: of the bundle.
        options: of the command line.
        only: pattern of ``variant`` or ``variant/fold0``.

    Raises:
        ValueError: where nothing matches, or a setting is unknown or another's.
    """
    found: dict[str, Experiment] = {}
    for variant, repeat in itertools.product(plan.variants, plan.repeats):
        if fnmatch.fnmatch(variant, only) or fnmatch.fnmatch(f"{variant}/{run_name(repeat)}", only):
            _add(found, plan, variant, repeat, options)
    if not found:
        runs = ", ".join(map(run_name, plan.repeats))
        raise ValueError(f"--only {only} matches none of the variants {', '.join(plan.variants)}, nor variant/{runs}.")
    return list(found.values())


def _add(
    found: dict[str, Experiment],
    plan: Plan,
    variant: str,
    repeat: Mapping[str, int],
    options: Options,
    above: tuple[str, ...] = (),
) -> Experiment:
    """Make an experiment after the one it needs."""
    name = f"{plan.bundle}/{variant}/{run_name(repeat)}"
    if name in found:
        return found[name]
    if name in above:
        raise ValueError(f"{plan.bundle}/configs/reproduce.yaml: needs: {name} needs itself.")
    needs = {}
    if need := plan.needs.get(variant):
        other = read_plan(need["bundle"], options.bundles)
        same = [each for each in other.repeats if all(repeat.get(key) == value for key, value in each.items())]
        if need["variant"] not in other.variants or not same:
            wanted = f"{need['variant']}/{run_name(repeat)}"
            raise ValueError(f"{name} needs {wanted} of {other.bundle}, whose reproduce.yaml has no such experiment.")
        needs[need["as"]] = _add(found, other, need["variant"], same[0], options, (*above, name))
    given = options.settings.get(plan.bundle, {})
    if options.settings[options.bundle]["dataset_dir"] == "phantom":
        given = {"dataset_dir": "phantom", **given}
    if "dataset_dir" not in given:
        raise ValueError(
            f"{above[-1]} needs {plan.bundle}, which has data of its own: "
            f"give it with --{plan.bundle}::dataset_dir FOLDER, or phantom."
        )
    varied = set.intersection(*map(set, plan.variants.values()))  # what only some variants set, the others may be given
    own = {*OWN, *varied, *(key for each in plan.repeats for key in each), *needs} & given.keys()
    if own:
        raise ValueError(f"--{min(own)} is what the experiments of {plan.bundle} differ in. Choose some with --only.")
    settings = {**plan.settings, **plan.variants[variant], **(plan.quick if options.quick else {})}
    check_settings(
        plan, variant, {**settings, **repeat, **dict.fromkeys((*needs, "ckpt_dir", "output_dir"), ""), "resume": True}
    )
    check_settings(plan, None, given)
    names = {setting: needed.name for setting, needed in needs.items()}
    given = {key: value for key, value in given.items() if key not in plan.variants[variant]}
    settings = {**settings, **given, **repeat, **names}
    experiment = Experiment(name, options.root / name, settings, plan.files(variant), needs)
    experiment.check()
    found[name] = experiment
    return experiment


def check_settings(plan: Plan, variant: str | None, settings: Mapping[str, Any]) -> None:
    """Hold settings to those that the configs of a variant know, or of any where they come from the command line.

    Raises:
        ValueError: for another one, or a value of another type.
    """
    others = plan.steps_of.values() if variant is None else [plan.steps_of.get(variant, {})]
    names = [file for steps in (plan.steps, *others) for names in steps.values() for file in names]
    files = ",".join(dict.fromkeys(str(plan.configs / name) for name in names))
    try:
        check_overrides([f"--config_file={files}", *(f"--{key}" for key in settings)], settings)
    except ValueError as error:
        if variant is None:
            raise
        raise ValueError(f"{plan.configs / 'reproduce.yaml'}: {error}") from error
