"""What a run and its weights are: the foot of a page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...run.model_record import read_record
from ...settings import is_expression

CARD = ("name", "task", "version", "intended_use", "data_source", "authors", "copyright")  # of metadata.json
RECORD = ("origin", "commit", "trained_at", "sha256", "command", "start")  # of weights, where they are recorded


class RunFiles:
    """What ``common.run.start.start_run`` recorded of the latest run in a folder.

    Args:
        folder: output folder of the run.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        records = [path for path in self.folder.glob("run*.json") if "command" in _read(path)]
        self.path = max(records, key=lambda path: path.stat().st_mtime_ns, default=None)
        self.record = {} if self.path is None else _read(self.path)
        self.config = (
            {} if self.path is None else _read(self.path.with_name(self.path.name.replace("run", "config", 1)))
        )

    def new(self, path: Path) -> bool:
        """Whether this run has written a file: it is not older than the run's record."""
        return path.is_file() and (self.path is None or path.stat().st_mtime_ns >= self.path.stat().st_mtime_ns)

    def written(self, pattern: str) -> list[Path]:
        """Files of the folder that this run has written, sorted by name."""
        return sorted(path for path in self.folder.glob(pattern) if self.new(path))

    def facts(self) -> dict[str, Any]:
        """When and how the run was started."""
        found = {name: self.record[name] for name in ("started", "command", "commit", "seed") if self.record.get(name)}
        versions = self.record.get("versions") or {}
        return found | ({"versions": _line(versions)} if versions else {})

    def settings(self) -> dict[str, str]:
        """The settings that are plain values, as the run had them."""
        plain = {name: value for name, value in self.config.items() if _is_plain(value)}
        if str(plain.get("datalist", "none")).lower() != "none":
            plain.pop("dataset_dir", None)  # it was not read
        return {name: value if isinstance(value, str) else json.dumps(value) for name, value in plain.items()}

    def not_read(self) -> list[str]:
        """Files that were listed and not read, with the reason."""
        listing = self.folder / "run.json"
        found = _read(listing).get("not_read") if self.new(listing) else None
        return [f"{name}: {why}" for name, why in found.items()] if isinstance(found, dict) else []


def weights_card(metadata: str | Path | None, weights: Any = None) -> dict[str, str]:
    """What is known of weights: the bundle's metadata, and the record beside each file.

    Args:
        metadata: path of the bundle's ``metadata.json``.
        weights: path of the file, or several; ``model.json`` beside ``model.pt`` is its record.
    """
    bundle = _read(Path(metadata)) if metadata else {}
    card = {name.replace("_", " "): str(bundle[name]) for name in CARD if bundle.get(name)}
    files = [Path(file or "") for file in (weights if isinstance(weights, (list, tuple)) else [weights])]
    for number, file in enumerate([file for file in files if file.is_file()], start=1):
        facts = {"file": file.name, **_recorded(_record(file) or bundle.get("weights") or {})}
        mark = f" {number}" if len(files) > 1 else ""
        card |= {f"weights{mark}: {name}": value for name, value in facts.items()}
    return card


def _record(weights: Path) -> dict[str, Any]:
    """The record of weights; empty if it is missing, damaged, or that of others, which loading them has reported."""
    try:
        return read_record(weights)
    except (OSError, ValueError):
        return {}


def _recorded(record: Any) -> dict[str, str]:
    """Of a record: what people ask for. It names every file of the training, too."""
    if not isinstance(record, dict):
        return {}
    data = record.get("data")
    facts = {name: record.get(name) for name in RECORD}
    facts |= {name: _line(record.get(name)) for name in ("settings", "classes", "split", "scores")}
    facts["data"] = _line({name: data.get(name) for name in ("source", "cases")}) if isinstance(data, dict) else data
    return {name: str(value) for name, value in facts.items() if value}


def _line(value: Any) -> str:
    """A dict or a list in one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_line(each)}" for name, each in value.items() if each not in (None, ""))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_line, value))
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def _is_plain(value: Any) -> bool:
    """Whether a setting is a value, not an expression or a component."""
    if isinstance(value, (list, tuple)):
        return all(_is_plain(each) and not isinstance(each, (list, tuple)) for each in value)
    return isinstance(value, (bool, int, float, str)) and not is_expression(value)


def _read(path: Path) -> dict[str, Any]:
    """A JSON file's content; empty if it is missing, damaged or no dict."""
    try:
        content = json.loads(path.read_bytes().decode("utf-8", "surrogateescape"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
