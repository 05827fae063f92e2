"""What a training records of itself: settings, data, split, scores; and the checks of later runs against it."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..files import image_files
from ..settings import is_expression
from .distributed import world_size
from .model_record import read_record, record_path, weights_files
from .monai_command import running_parser
from .overrides import STEPS
from .record import git_commit
from .recorded import plain

logger = logging.getLogger(__name__)

SHOWN = 5  # patients in a message
# What a resumed training may have otherwise: places, processors, how long it goes on, and what decides only its end
FREE = (
    *("bundle_root", "dataset_dir", "datalist", "target_dir", "unlabelled", "healthy", "ckpt_dir", "output_dir"),
    *("device", "is_main", "amp", "resume"),
    *("epochs", "patience", "isolated", "val_interval", "encoder_weights", "pretrained"),
)


def training_record() -> dict[str, Any]:
    """Return what ``model.json`` holds of the training that is being built, but scores and hash.

    It is read from the running config: the settings that ``recorded`` lists (see ``common.run.recorded``), the classes
    (``diagnoses``, else ``names``), and the cases, under the ids that MONAI's properties name. Outside a run the record
    is empty.
    """
    parser = running_parser()
    if parser is None:
        return {}
    config, groups = parser.get(), parser.get("recorded") or {}

    def values(*kinds: str) -> dict[str, Any]:
        names = [name for kind in kinds for name in groups.get(kind, []) if name in config]
        return {name: plain(parser.get_parsed_content(name)) for name in names}

    root = Path(parser.get_parsed_content("bundle_root"))
    metadata = root / "configs" / "metadata.json"
    ids = {"training": "train::dataset::data", "validation": "validate::dataset::data"}
    sets = {name: parser.get_parsed_content(each) for name, each in ids.items()}
    # Only if they were split: a client that brings its own cases, such as MONAI Label, has none
    cases: Any = parser.ref_resolver.resolved_content.get("cases") or {}
    return {
        "format": 1,
        "bundle": root.resolve().name,
        "version": json.loads(metadata.read_text(encoding="utf-8"))["version"] if metadata.is_file() else None,
        "commit": git_commit(),
        "settings": values("fixed", "adjustable"),
        "classes": plain(parser.get_parsed_content("diagnoses" if "diagnoses" in config else "names")),
        "split": values("split"),
        "data": {"source": _source(config), **describe_sets({**sets, "test": cases.get("test", [])})},
        "training": {**_trained_with(config), "processes": world_size()},
        "start": str(config.get("pretrained", "none")),
    }


def _source(config: Mapping[str, Any]) -> str:
    """Name of the data: of the table, the source, or the folder, without where it lies on this machine."""
    table = config.get("datalist")
    if isinstance(table, str) and table:
        return Path(table).name
    return str(config.get("source") or Path(str(config.get("dataset_dir", ""))).name)


def _trained_with(config: Mapping[str, Any]) -> dict[str, Any]:
    """The plain settings of a training, which a resumed one must have, too."""
    skipped = (*FREE, *STEPS)
    return {
        name: value
        for name, value in plain(dict(config)).items()
        if name not in skipped and not isinstance(value, dict) and not is_expression(value)
    }


def describe_sets(sets: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Return unit, numbers of cases, and the members of each set by name, with a fingerprint of their files.

    The unit is the patient, or the case where patients are on both sides of the split by its design.
    """
    by_patient = {name: _members(cases, "patient") for name, cases in sets.items()}
    shared = by_patient["training"].keys() & (by_patient["validation"].keys() | by_patient["test"].keys())
    unit = "case" if shared else "patient"
    members = {name: _members(cases, "case") for name, cases in sets.items()} if shared else by_patient
    return {"unit": unit, "cases": {name: len(cases) for name, cases in sets.items()}, **members}


def _members(cases: Sequence[Mapping[str, Any]], unit: str) -> dict[str, str]:
    """Fingerprint of each patient's or case's images by name: names and sizes of files, not where they lie."""
    files: dict[str, set[tuple[str, int]]] = {}
    for case in cases:
        paths = image_files(case)
        name = str(case.get(unit) or case.get("case") or paths[0].name)
        sizes = {(path.name, path.stat().st_size if path.is_file() else 0) for path in paths}
        files.setdefault(name, set()).update(sizes)
    return {
        name: hashlib.sha256(json.dumps(sorted(found)).encode()).hexdigest()[:16]
        for name, found in sorted(files.items())
    }


def hidden(name: str) -> str:
    """The name of a patient or case as packages have it: a hash, from which the name cannot be read."""
    return f"sha256 {hashlib.sha256(name.encode()).hexdigest()[:16]}"


def check_held_out(
    cases: Sequence[Mapping[str, Any]], weights: str | Path | Sequence[str | Path], warn: bool = True
) -> None:
    """Refuse to evaluate weights on what they were trained on, and warn of what has chosen their epoch.

    Patients count as the same if their name and the names and sizes of their files are. Another dataset is fine.

    Args:
        cases: to evaluate on.
        weights: the file, or the members of an ensemble. Without record, nothing is known and nothing refused.
        warn: whether to warn.

    Raises:
        ValueError: naming the patients, and the split settings of the training.
    """
    if not cases:
        raise ValueError(
            "There is nothing to score: the training held no case out (--folds 0). Evaluate on other data, with "
            "--folds or a table whose column set names test cases."
        )
    for file in weights_files(weights, several=True) if weights else []:
        record = read_record(file)
        data = record.get("data")
        if not data:
            continue
        held_out = {**data.get("validation", {}), **data.get("test", {})}
        trained = {name: mark for name, mark in data["training"].items() if held_out.get(name) != mark}
        found = _members(cases, data["unit"])
        shared = [name for name, mark in found.items() if mark in (trained.get(name), trained.get(hidden(name)))]
        if shared:
            names = ", ".join(shared[:SHOWN]) + (f" and {len(shared) - SHOWN} more" if len(shared) > SHOWN else "")
            split = ", ".join(f"--{name} {value}" for name, value in record.get("split", {}).items())
            raise ValueError(
                f"Weights must be scored on {data['unit']}s that they were not trained on, but {record_path(file)} "
                f"names {len(shared)} of the {len(found)} to be scored as trained on: {names}. "
                f"Evaluate with the split of the training{f' ({split})' if split else ''}, or on other data."
            )
    if warn and (seen := chosen_on(cases, weights)):
        logger.warning(
            "%s chose the best epoch of these weights, so the scores are slightly too high. Evaluate with the split of "
            "the training.",
            ", ".join(seen),
        )


def chosen_on(cases: Sequence[Mapping[str, Any]], weights: str | Path | Sequence[str | Path]) -> list[str]:
    """Return those patients of some cases whose scores have chosen the epoch of the weights, as their record says.

    Args:
        cases: to evaluate on.
        weights: the file, or the members of an ensemble.
    """
    found: dict[str, None] = {}
    for file in weights_files(weights, several=True) if weights else []:
        record = read_record(file)
        if record.get("data") and record.get("split", {}).get("keep", "best") == "best":
            chose = record["data"].get("validation", {})
            members = _members(cases, record["data"]["unit"])
            found |= {
                name: None for name, mark in members.items() if mark in (chose.get(name), chose.get(hidden(name)))
            }
    return list(found)


def check_resumed(before: Mapping[str, Any], now: Mapping[str, Any], last: Path) -> None:
    """Refuse to resume a training with other settings or data than it was started with.

    Args:
        before: record that ``last.pt`` holds.
        now: record of this run.
        last: path of ``last.pt``, for the message.

    Raises:
        ValueError: naming what differs, with both values.
    """
    old, new = dict(before["training"]), dict(now["training"])
    if old.get("processes") != new.get("processes"):  # batch_size is per process, and differs on purpose
        old, new = (
            {name: each[name] for name in each if name not in ("processes", "batch_size")} for each in (old, new)
        )
    changes = [f"{name} was {old[name]}, now {new[name]}" for name in old if name in new and old[name] != new[name]]
    for name in ("training", "validation"):
        was, is_now = before["data"][name], now["data"][name]
        if was != is_now:
            gone, added = sorted(was.keys() - is_now.keys()), sorted(is_now.keys() - was.keys())
            what = [f"without {', '.join(gone[:SHOWN])}"] if gone else []
            what += [f"with {', '.join(added[:SHOWN])}"] if added else []
            changes.append(f"the {name} data are now {' and '.join(what) or 'other files of the same names'}")
    if changes:
        raise ValueError(
            f"{last}: a training is resumed with its own settings and data, but {'; '.join(changes)}. Give those of "
            "the training; or start a new one from its weights, with --pretrained and another --ckpt_dir."
        )
