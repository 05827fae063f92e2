"""The experiments that a bundle's ``reproduce.yaml`` asks for, each with its settings and a folder of its own."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from ..run.overrides import check_overrides
from .plan import Plan, read_plan, run_name

OWN = ("ckpt_dir", "output_dir", "resume", "fold")  # settings that every experiment has its own of


@dataclass(frozen=True)
class Options:
    """What the command line says.

    Args:
        bundles: folder of the bundles.
        output_dir: of all experiments.
        bundle: whose tables are asked for.
        quick: take the quick settings too, in a folder apart, and the first run of each variant alone.
        settings: further ones of each bundle, ``dataset_dir`` among them.
        only: pattern of ``variant`` or ``variant/fold0``.
    """

    bundles: Path
    output_dir: Path
    bundle: str
    quick: bool
    settings: Mapping[str, Mapping[str, Any]]
    only: str = "*"

    @property
    def root(self) -> Path:
        """Folder of the bundles' folders."""
        return self.output_dir / "quick" if self.quick else self.output_dir

    def plan(self) -> Plan:
        """What the bundle's ``reproduce.yaml`` asks for; ``quick`` takes the first run unless ``only`` names others."""
        plan = read_plan(self.bundle, self.bundles)
        names_runs = not any(fnmatch(variant, self.only) for variant in plan.variants)
        return plan if names_runs or not self.quick else replace(plan, repeats=plan.repeats[:1])


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

    @classmethod
    def left(cls, plan: Plan, options: Options, variant: str, run: str) -> Experiment:
        """What may have been left in the folder of an experiment, its settings unknown."""
        name = f"{plan.bundle}/{variant}/{run}"
        return cls(name, options.root / name, {}, plan.files(variant), {})

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


def find_experiments(plan: Plan, options: Options) -> list[Experiment]:
    """All experiments of a plan in an order in which they can be run, with those of other bundles that they need.

    Args:
        plan: of the bundle.
        options: of the command line.

    Raises:
        ValueError: where nothing matches, or a setting is unknown or another's.
    """
    found: dict[str, Experiment] = {}
    for variant, repeat in itertools.product(plan.variants, plan.repeats):
        if fnmatch(variant, options.only) or fnmatch(f"{variant}/{run_name(repeat)}", options.only):
            _add(found, plan, variant, repeat, options)
    if not found:
        variants, runs = ", ".join(plan.variants), ", ".join(map(run_name, plan.repeats))
        raise ValueError(f"--only {options.only} matches none of the variants {variants}, nor variant/{runs}.")
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
    own = {**repeat, **{setting: needed.name for setting, needed in needs.items()}}
    settings = _settings(plan, variant, own, options, asking=above[-1] if above else name)
    experiment = Experiment(name, options.root / name, settings, plan.files(variant), needs)
    experiment.check()
    found[name] = experiment
    return experiment


def _settings(plan: Plan, variant: str, own: Mapping[str, Any], options: Options, asking: str) -> dict[str, Any]:
    """What reproduce.yaml, ``--quick`` and the command line set, of what the variant's configs know."""
    design, given = plan.variants[variant], _given(plan, options, asking, own)
    here, everywhere = plan.all_files([variant]), plan.all_files(plan.variants)
    where = f"{plan.configs / 'reproduce.yaml'}: "
    places = {"ckpt_dir": "", "output_dir": "", "resume": True}
    _check_settings({**plan.settings, **design, **own, **places}, here, where)
    _check_settings(plan.quick, everywhere, where)
    _check_settings(given, everywhere)
    config = ConfigParser.load_config_files(here)
    quick, given = (
        {key: value for key, value in settings.items() if key.split("::")[0] in config}
        for settings in (plan.quick if options.quick else {}, given)
    )
    if given.get("dataset_dir") == "phantom":
        given["dataset_dir"] = config["dataset_dir"]  # a config's default is synthetic data that suit it
    given = {key: value for key, value in given.items() if key not in design}
    return {**plan.settings, **design, **quick, **given, **own}


def _given(plan: Plan, options: Options, asking: str, own: Collection[str]) -> dict[str, Any]:
    """What the command line sets in a bundle."""
    given = dict(options.settings.get(plan.bundle, {}))
    if options.settings[options.bundle]["dataset_dir"] == "phantom":
        given = {"dataset_dir": "phantom", **given}
    if "dataset_dir" not in given:
        raise ValueError(
            f"{asking} needs {plan.bundle}, which has data of its own: "
            f"give it with --{plan.bundle}::dataset_dir FOLDER, or phantom."
        )
    varied = set.intersection(*map(set, plan.variants.values()))  # what only some variants set, the others may be given
    differing = {*OWN, *varied, *(key for each in plan.repeats for key in each), *own} & given.keys()
    if differing:
        what = f"--{min(differing)} is what the experiments of {plan.bundle} differ in"
        raise ValueError(f"{what}. Choose some with --only.")
    return given


def _check_settings(settings: Mapping[str, Any], files: Sequence[str], where: str = "") -> None:
    """Hold settings to those that configs know.

    Raises:
        ValueError: for another one, or a value of another type.
    """
    try:
        check_overrides([f"--config_file={','.join(files)}", *(f"--{key}" for key in settings)], settings)
    except ValueError as error:
        raise ValueError(f"{where}{error}") from error
