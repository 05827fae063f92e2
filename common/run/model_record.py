"""The record of weights: ``model.json`` beside ``model.pt``, with the settings that they were trained with."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..files import complete_file, sha256
from ..settings import as_list

HELD = "record"  # of a training checkpoint such as last.pt, which holds its record itself


def record_path(weights: str | Path) -> Path:
    """Path of the record of weights: ``model.json`` beside ``model.pt``."""
    return Path(weights).with_suffix(".json")


def save_weights(state: Mapping[str, torch.Tensor], path: Path, record: Mapping[str, Any]) -> None:
    """Save weights and their record, so that a run killed at any moment leaves two files that belong together.

    The new record is written before the new weights replace the old ones, and then holds the old record, too, as
    ``before``.

    Args:
        state: tensors by name.
        path: of the weights; the record lies beside them.
        record: see ``common.run.training_record.training_record``; the SHA-256 of the weights is added.
    """
    try:
        before = read_record(path)
    except ValueError:  # damaged or foreign: it is replaced
        before = {}
    with complete_file(path) as part:
        torch.save(dict(state), part)
        made = {**record, "sha256": sha256(part)}
        _write(path, {**made, "before": before} if before else made)
    _write(path, made)


def _write(weights: Path, content: Mapping[str, Any]) -> None:
    with complete_file(record_path(weights)) as part:
        part.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _load(path: Path) -> dict[str, Any]:
    """The content of a record.

    Raises:
        ValueError: if it is damaged, or another file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path}: the record of the weights is damaged ({error}). Copy it again with the weights, or remove it and "
            "give the options that the weights were trained with."
        ) from error
    if not isinstance(content, dict) or not {"sha256", "settings"} <= content.keys():
        raise ValueError(
            f"{path} is not the record of weights: it has no sha256 and settings. Copy the record that was written "
            "with the weights; or remove the file, and give the options that the weights were trained with."
        )
    return content


def read_record(weights: str | Path) -> dict[str, Any]:
    """Read the record of weights; empty if they have none.

    Args:
        weights: a file such as ``model.pt``, whose record is ``model.json``, or ``last.pt``, which holds its record.

    Raises:
        ValueError: if the record is damaged, or belongs to other weights.

    Example:
        >>> read_record("bundles/us_dense_seg/models/model.pt")["settings"]["size"]
        [464, 624]
    """
    weights, path = Path(weights), record_path(weights)
    if not weights.is_file():
        return {}
    if not path.is_file():
        return _held(weights)
    record = _load(path)
    digest = sha256(weights)
    for each in (record, record.get("before", {})):
        if each.get("sha256") == digest:
            return {key: value for key, value in each.items() if key != "before"}
    raise ValueError(
        f"{path} is not the record of {weights}: it was written for weights with SHA-256 {record['sha256'][:12]}..., "
        f"and these have {digest[:12]}.... Copy model.pt and model.json together; or remove the record, and give the "
        "options that the weights were trained with."
    )


def existing_record(weights: str | Path) -> dict[str, Any]:
    """Read the record that lies beside weights.

    Raises:
        ValueError: if there is none, or it is damaged.
    """
    record = read_record(weights)
    if not record:
        raise ValueError(f"{weights} has no {record_path(weights).name}, to which this would be added.")
    return record


def add_to_record(weights: str | Path, name: str, value: Mapping[str, Any]) -> None:
    """Add an entry to the record of weights, in place of an earlier one of this name."""
    _write(Path(weights), {**existing_record(weights), name: dict(value)})


def damaged_entry(what: str, error: BaseException, action: str) -> ValueError:
    """The error of an entry in a record that cannot be used.

    Args:
        what: the entry tells, such as ``usual data``.
        error: what is wrong with it.
        action: of ``python -m common.trust`` that makes it anew.
    """
    return ValueError(
        f"What the record of the weights says on {what} is damaged ({error!r}). Copy model.json again, or learn it "
        f"anew: python -m common.trust {action}."
    )


def _held(weights: Path) -> dict[str, Any]:
    """The record that a training checkpoint holds, or an empty one; damaged files are reported when they are loaded."""
    try:
        content = torch.load(weights, map_location="cpu", weights_only=True, mmap=True)
        return dict(json.loads(content[HELD]))
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError, KeyError, TypeError, ValueError):
        return {}


def weights_files(weights: Any, option: str = "--weights", several: bool = False) -> list[Path]:
    """The files that ``--weights`` names.

    Args:
        weights: a path, or a list of paths for an ensemble; ``[a.pt,b.pt]`` is the list as a command line without
            inner quotes gives it.
        option: for the message.
        several: whether more than one file can be taken.

    Raises:
        ValueError: for an empty path, a folder, or a list where one file is needed.

    Example:
        >>> weights_files(["fold0/model.pt", "fold1/model.pt"], several=True)
        [PosixPath('fold0/model.pt'), PosixPath('fold1/model.pt')]
    """
    names = as_list(weights)
    if not names or any(not isinstance(name, (str, Path)) or not str(name).strip() for name in names):
        raise ValueError(f"{option} must be the path of a file such as models/model.pt, got {weights!r}.")
    if len(names) > 1 and not several:
        raise ValueError(f"{option} must be one file here, got {len(names)}: {', '.join(map(str, names))}.")
    for name in names:
        if Path(name).is_dir():
            raise ValueError(f"{option} must be a file, got the folder {name}. Give {Path(name) / 'model.pt'}.")
    return [Path(name) for name in names]
