"""A bundle's ``reproduce.yaml``: which experiments a paper's tables take, and the paper's numbers."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .curves import PaperCurves, read_curves
from .items import check_names, mapping
from .sheet import PaperSheet, read_sheet
from .table import PaperTable, read_table

ROOT = Path(__file__).resolve().parents[2]
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
        folder = self.configs.relative_to(ROOT) if self.configs.is_relative_to(ROOT) else self.configs
        steps = self.steps_of.get(variant, self.steps)
        return {step: [str(folder / name) for name in names] for step, names in steps.items()}

    def all_files(self, variants: Iterable[str]) -> list[str]:
        """Paths of the configs of all steps of some variants, each once."""
        steps = (self.steps_of.get(variant, self.steps) for variant in variants)
        names = [name for each in steps for names in each.values() for name in names]
        return [str(self.configs / name) for name in dict.fromkeys(names)]


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
    variants = list(parts["variants"])
    for variant, settings in parts["variants"].items():
        if not isinstance(variant, str) or not variant or set(variant) & set("/\\ *?["):
            raise ValueError(f"variants: {variant!r} must be a word, for it names a folder. Put it in quotes?")
        mapping(settings, f"variants: {variant}")
    for key in ("steps_of", "needs"):
        check_names("variant", parts[key], variants, key)
    _check_steps(parts["steps"], configs, "steps")
    for variant, steps in parts["steps_of"].items():
        _check_steps(mapping(steps, f"steps_of: {variant}"), configs, f"steps_of: {variant}")
    for variant, need in parts["needs"].items():
        if set(mapping(need, f"needs: {variant}")) != {"bundle", "variant", "as"}:
            raise ValueError(f"needs: {variant} has bundle, variant and as, got {need!r}.")
    folds, seeds = ([{key[:-1]: number} for number in _numbers(content, key)] or [{}] for key in ("folds", "seeds"))
    repeats = [{**fold, **seed} for fold, seed in itertools.product(folds, seeds)]
    items = {key: content.get(key, []) for key in ("tables", "sheets", "curves")}
    for key, entries in items.items():
        if not isinstance(entries, list) or (key == "tables" and not entries):
            raise ValueError(f"{key} is a list{' of one or more' if key == 'tables' else ''}, got {entries!r}.")
    runs = list(map(run_name, repeats))
    tables = [read_table(each, variants) for each in items["tables"]]
    sheets = [read_sheet(each, variants, runs) for each in items["sheets"]]
    curves = [read_curves(each, variants, runs) for each in items["curves"]]
    names = [*(each.name for each in tables), *(each.name for each in sheets), *(each.name for each in curves)]
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
