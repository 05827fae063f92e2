"""A bundle's ``reproduce.yaml``: the experiments behind a paper's tables, and the paper's numbers."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..settings import check_keys, check_list, check_mapping, check_names
from .curves import PaperCurves, read_curves
from .sheet import PaperSheet, read_sheet
from .table import PaperTable, read_table

ROOT = Path(__file__).resolve().parents[2]
PLAN = "reproduce.yaml"  # in a bundle's configs; others are named with --plan
KEYS = ("steps", "steps_of", "variants", "folds", "seeds", "settings", "quick", "needs", "tables", "sheets", "curves")


@dataclass(frozen=True)
class Plan:
    """A bundle's ``reproduce.yaml``, or another plan, checked.

    Args:
        bundle: name of the bundle's folder.
        configs: folder of its configs.
        file: name of the plan among them.
        steps: the steps that MONAI runs, in order, with the configs of each.
        steps_of: the same by variant, for variants with other steps.
        variants: settings of each variant.
        repeats: settings of each run of a variant, ``{"fold": 0}`` and so on.
        settings: settings of every experiment.
        quick: further settings with ``--quick``.
        needs: by variant, the ``bundle`` and ``variant`` whose weights it starts from, and the setting that takes them,
            ``as``; and ``with``, settings of the command line that the other bundle has, too, unless it is given its
            own.
        tables: tables to write at the end.
        sheets, curves: figures to draw at the end.
    """

    bundle: str
    configs: Path
    file: str
    steps: Mapping[str, Sequence[str]]
    steps_of: Mapping[str, Mapping[str, Sequence[str]]]
    variants: Mapping[str, Mapping[str, Any]]
    repeats: Sequence[Mapping[str, int]]
    settings: Mapping[str, Any]
    quick: Mapping[str, Any]
    needs: Mapping[str, Mapping[str, Any]]
    tables: Sequence[PaperTable]
    sheets: Sequence[PaperSheet]
    curves: Sequence[PaperCurves]

    @property
    def word(self) -> str:
        """Word for the runs of a variant."""
        return "folds" if all(list(repeat) == ["fold"] for repeat in self.repeats) else "runs"

    def files(self, variant: str) -> dict[str, list[str]]:
        """Paths of the configs of each step of a variant, relative to the repository if they lie in it."""
        folder = self.configs.relative_to(ROOT) if self.configs.is_relative_to(ROOT) else self.configs
        steps = self.steps_of.get(variant, self.steps)
        return {step: [str(folder / name) for name in names] for step, names in steps.items()}

    def all_files(self, variants: Iterable[str]) -> list[str]:
        """Paths of the configs of all steps of some variants, each once."""
        steps = (self.steps_of.get(variant, self.steps) for variant in variants)
        names = [name for each in steps for names in each.values() for name in names]
        return [str(self.configs / name) for name in dict.fromkeys(names)]


def run_name(repeat: Mapping[str, int]) -> str:
    """``fold0``, ``fold0_seed1``, or ``run`` if a variant is run once."""
    return "_".join(f"{key}{value}" for key, value in repeat.items()) or "run"


def read_plan(bundle: str, bundles: Path, file: str = PLAN) -> Plan:
    """Read ``<bundles>/<bundle>/configs/reproduce.yaml``, or another plan beside it.

    Raises:
        FileNotFoundError: if the bundle, its file, or a config that the file names does not exist.
        ValueError: for a mistake in the file, naming its key.
    """
    path = bundles / bundle / "configs" / file
    if not path.is_file():
        known = ", ".join(sorted(each.parts[-3] for each in bundles.glob(f"*/configs/{file}"))) or "none"
        reason = f"{bundle} has no configs/{file}" if path.parents[1].is_dir() else f"No bundle {bundle!r}"
        plans = ", ".join(sorted(each.name for each in path.parent.glob("reproduce*.yaml")))
        others = f"Plans of {bundle}: {plans}" if plans else f"Bundles whose tables can be reproduced: {known}"
        raise FileNotFoundError(f"{reason} in {bundles}. {others}.")
    try:
        return _plan(bundle, path, yaml.safe_load(path.read_text()))
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: {error}") from error


def _plan(bundle: str, path: Path, content: Any) -> Plan:
    check_mapping(content, "the file")
    check_names("key", content, KEYS)
    keys = ("steps", "steps_of", "variants", "settings", "quick", "needs")
    parts = {key: check_mapping(content.get(key, {}), key) for key in keys}
    for key in ("steps", "variants"):
        if not parts[key]:
            raise ValueError(f"{key} must name at least one, got none.")
    variants = list(parts["variants"])
    _check_variants(parts, path)
    folds, seeds = ([{key[:-1]: number} for number in _numbers(content, key)] or [{}] for key in ("folds", "seeds"))
    repeats = [{**fold, **seed} for fold, seed in itertools.product(folds, seeds)]
    runs = list(map(run_name, repeats))
    tables = [read_table(each, variants) for each in check_list(content.get("tables", []), "tables", "one or more")]
    others = {key: check_list(content.get(key, []), key, "entries", least=0) for key in ("sheets", "curves")}
    sheets = [read_sheet(each, variants, runs) for each in others["sheets"]]
    curves = [read_curves(each, variants, runs) for each in others["curves"]]
    names = [*(each.name for each in tables), *(each.name for each in sheets), *(each.name for each in curves)]
    if len(set(names)) < len(names):
        what = "tables, sheets and curves must have different names, which are names of files"
        raise ValueError(f"{what}; got {', '.join(names)}.")
    made: dict[str, Any] = {**parts, "tables": tables, "sheets": sheets, "curves": curves}
    return Plan(bundle=bundle, configs=path.parent, file=path.name, repeats=repeats, **made)


def _check_variants(parts: Mapping[str, dict[Any, Any]], plan: Path) -> None:
    """Check the names of the variants, their settings, steps and needs."""
    for variant, settings in parts["variants"].items():
        if not isinstance(variant, str) or not variant or set(variant) & set("/\\ *?["):
            raise ValueError(f"variants: {variant!r} must be the name of a folder. Put it in quotes?")
        check_mapping(settings, f"variants: {variant}")
    for key in ("steps_of", "needs"):
        check_names("variant", parts[key], parts["variants"], key)
    _check_steps(parts["steps"], plan, "steps")
    for variant, steps in parts["steps_of"].items():
        _check_steps(check_mapping(steps, f"steps_of: {variant}"), plan, f"steps_of: {variant}")
    for variant, need in parts["needs"].items():
        check_keys(need, f"needs: {variant}", ("bundle", "variant", "as"), ("with",))
        check_list(need.get("with", []), f"needs: {variant}: with", "settings such as [split]", least=0)


def _check_steps(steps: Mapping[str, Any], plan: Path, where: str) -> None:
    for step, files in steps.items():
        for name in check_list(files, f"{where}: {step}", "configs such as [train.yaml]"):
            if not (plan.parent / name).is_file():
                raise FileNotFoundError(f"{plan}: {where}: {step} names {name}, which does not exist.")


def _numbers(content: Mapping[str, Any], key: str) -> list[int]:
    example = "whole numbers such as [0, 1, 2]"
    numbers = check_list(content.get(key, []), key, example, least=0)
    if not all(type(number) is int for number in numbers):
        raise ValueError(f"{key} must be a list of {example}, got {numbers!r}.")
    return list(numbers)
