"""The experiments of a bundle's ``reproduce.yaml``, each with its settings and its own folder."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from ..run.overrides import check_settings
from ..settings import check_same
from .plan import PLAN, Plan, read_plan, run_name

OWN = ("ckpt_dir", "output_dir", "resume", "fold")  # settings that differ between experiments


@dataclass(frozen=True)
class Options:
    """Options of the command line.

    Args:
        bundles: folder of the bundles.
        output_dir: folder of all experiments.
        bundle: the bundle whose tables are written.
        quick: use the quick settings too, in a separate folder, and only the first run of each variant.
        settings: further settings of each bundle, including ``dataset_dir``.
        only: pattern of ``variant`` or ``variant/fold0``.
        file: name of the plan in the bundle's configs.
    """

    bundles: Path
    output_dir: Path
    bundle: str
    quick: bool
    settings: Mapping[str, Mapping[str, Any]]
    only: str = "*"
    file: str = PLAN

    @property
    def root(self) -> Path:
        """Folder of the bundles' folders."""
        return self.output_dir / "quick" if self.quick else self.output_dir

    def plan(self) -> Plan:
        """The bundle's ``reproduce.yaml``; ``quick`` takes the first run unless ``only`` names others."""
        plan = read_plan(self.bundle, self.bundles, self.file)
        names_runs = not any(fnmatch(variant, self.only) for variant in plan.variants)
        return plan if names_runs or not self.quick else replace(plan, repeats=plan.repeats[:1])


@dataclass(frozen=True)
class Experiment:
    """One variant, one fold, one seed.

    Args:
        name: ``bundle/variant/fold0``, also the name of its folder.
        folder: holds ``models``, ``eval``, ``log.txt`` and ``experiment.json``, the record of finished steps.
        settings: overrides of the configs; experiments that it needs are given by name.
        steps: configs of each step.
        needs: by setting, the experiment whose ``models/model.pt`` the setting takes.
    """

    name: str
    folder: Path
    settings: Mapping[str, Any]
    steps: Mapping[str, Sequence[str]]
    needs: Mapping[str, Experiment]

    @classmethod
    def in_folder(cls, plan: Plan, options: Options, variant: str, run: str) -> Experiment:
        """The experiment that an earlier call may have run; its settings are unknown, only its folder is read."""
        name = f"{plan.bundle}/{variant}/{run}"
        return cls(name, options.root / name, {}, plan.files(variant), {})

    @property
    def record(self) -> dict[str, Any]:
        """Content of ``experiment.json``, empty before the first start."""
        path = self.folder / "experiment.json"
        return json.loads(path.read_text()) if path.is_file() else {}

    @property
    def done(self) -> bool:
        """Whether all steps are finished."""
        return self.record.get("finished") == list(self.steps)

    @property
    def overrides(self) -> dict[str, Any]:
        """Settings as MONAI receives them."""
        folder = self.folder
        paths = {"ckpt_dir": str(folder / "models"), "output_dir": str(folder / "eval")}
        weights = {setting: str(needed.folder / "models" / "model.pt") for setting, needed in self.needs.items()}
        return {**self.settings, **paths, "resume": True, **weights}

    def check(self) -> None:
        """Refuse to mix settings in one folder.

        Raises:
            ValueError: if the folder was started with other settings.
        """
        if record := self.record:
            before = {**record["settings"], "steps": record["steps"]}
            steps = {key: file_names(files) for key, files in self.steps.items()}
            now = json.loads(json.dumps({**self.settings, "steps": steps}))
            check_same(before, now, self.folder, "an experiment", "remove that folder")


def file_names(files: Sequence[str]) -> list[str]:
    """Names without folders."""
    return [Path(file).name for file in files]


def find_experiments(plan: Plan, options: Options) -> list[Experiment]:
    """All experiments of a plan in an order in which they can be run, with those of other bundles that they need.

    Args:
        plan: of the bundle.
        options: of the command line.

    Raises:
        ValueError: if nothing matches ``--only``, or a setting is unknown or must not be given.
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
    passed: Mapping[str, Any] | None = None,
) -> Experiment:
    """Add an experiment, after the one that it needs; ``passed`` are settings of the one above."""
    name = f"{plan.bundle}/{variant}/{run_name(repeat)}"
    if name in found:
        return found[name]
    if name in above:
        raise ValueError(f"{plan.bundle}/configs/{plan.file}: needs: {name} needs itself.")
    needs = {}
    if need := plan.needs.get(variant):
        other = plan if need["bundle"] == plan.bundle else read_plan(need["bundle"], options.bundles)
        same = [each for each in other.repeats if all(repeat.get(key) == value for key, value in each.items())]
        if need["variant"] not in other.variants or not same:
            wanted = f"{need['variant']}/{run_name(repeat)}"
            raise ValueError(f"{name} needs {wanted} of {other.bundle}, whose {other.file} has no such experiment.")
        given = options.settings.get(plan.bundle, {})
        shared = {key: given[key] for key in need.get("with", ()) if key in given}
        needs[need["as"]] = _add(found, other, need["variant"], same[0], options, (*above, name), shared)
    own = {**repeat, **{setting: needed.name for setting, needed in needs.items()}}
    settings = _settings(plan, variant, own, options, asking=above[-1] if above else name, passed=passed or {})
    experiment = Experiment(name, options.root / name, settings, plan.files(variant), needs)
    experiment.check()
    found[name] = experiment
    return experiment


def _settings(
    plan: Plan, variant: str, own: Mapping[str, Any], options: Options, asking: str, passed: Mapping[str, Any]
) -> dict[str, Any]:
    """Settings from reproduce.yaml, ``--quick`` and the command line that the variant's configs have."""
    design, given = plan.variants[variant], {**passed, **_given(plan, options, asking, own)}
    here, everywhere = plan.all_files([variant]), plan.all_files(plan.variants)
    where = str(plan.configs / plan.file)
    places = {"ckpt_dir": "", "output_dir": "", "resume": True}
    check_settings({**plan.settings, **design, **own, **places}, here, where)
    check_settings(plan.quick, everywhere, where)
    check_settings(given, everywhere)
    config = ConfigParser.load_config_files(here)
    quick, given = (
        {key: value for key, value in settings.items() if key.split("::")[0] in config}
        for settings in (plan.quick if options.quick else {}, given)
    )
    if given.get("dataset_dir") == "phantom":
        given["dataset_dir"] = config["dataset_dir"]  # the config's own synthetic data
    given = {key: value for key, value in given.items() if key not in design}
    return {**plan.settings, **design, **quick, **given, **own}


def _given(plan: Plan, options: Options, asking: str, own: Collection[str]) -> dict[str, Any]:
    """Settings of the command line for a bundle."""
    given = dict(options.settings.get(plan.bundle, {}))
    if options.settings[options.bundle]["dataset_dir"] == "phantom":
        given = {"dataset_dir": "phantom", **given}
    if "dataset_dir" not in given:
        raise ValueError(
            f"{asking} needs {plan.bundle}, which has its own data: "
            f"give the folder with --{plan.bundle}::dataset_dir FOLDER, or phantom."
        )
    # A setting that only some variants have may be given to the others
    varied = set.intersection(*map(set, plan.variants.values()))
    differing = {*OWN, *varied, *(key for each in plan.repeats for key in each), *own} & given.keys()
    if differing:
        what = f"--{min(differing)} cannot be given because the experiments of {plan.bundle} differ in it"
        raise ValueError(f"{what}. Choose experiments with --only.")
    return given
