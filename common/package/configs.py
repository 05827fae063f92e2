"""A bundle's YAML configs as the JSON that MONAI's tools look for, independent of the bundle's folder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

NOT_PACKAGED = "reproduce"  # beginning of the names of plans, which need the repository
MONAI_LABEL = "monai_label_"  # of overlays that a package's train and inference hold
MONAI_DEPLOY = "monai_deploy"
OPERATOR = ("imports", "device", "preprocessing", "inferer", "postprocessing")  # what MONAI Deploy's operator asks for
TARGET = re.compile(r"\bcommon((?:\.\w+)+)")
FIND_SCRIPTS = "$sys.path.insert(0, os.path.abspath(@bundle_root))"


def read_configs(folder: Path) -> dict[str, dict[str, Any]]:
    """Read the YAML configs of a bundle that go into a package.

    ``train`` and ``inference`` take in their overlays ``monai_label_train.yaml`` and ``monai_label_inference.yaml``.
    ``monai_deploy`` takes in what it needs of ``inference``.

    Returns:
        Config by name without suffix.
    """
    files = {path.stem: path for path in sorted(folder.glob("*.yaml")) if not path.stem.startswith(NOT_PACKAGED)}
    overlays = {name.removeprefix(MONAI_LABEL): files.pop(name) for name in [*files] if name.startswith(MONAI_LABEL)}
    merged = {name: ConfigParser.load_config_files([files[name], overlay]) for name, overlay in overlays.items()}
    if MONAI_DEPLOY in files:
        complete = ConfigParser.load_config_files([files["inference"], files[MONAI_DEPLOY]])
        merged[MONAI_DEPLOY] = {name: complete[name] for name in complete if name in reached(complete, OPERATOR)}
    return {name: merged.get(name) or ConfigParser.load_config_file(path) for name, path in files.items()}


def reached(config: Mapping[str, Any], names: Iterable[str]) -> set[str]:
    """Return the items of a config that some of its items need, and these items.

    Example:
        >>> sorted(reached({"a": "$@b + 1", "b": "@c::d", "c": {"d": 1}, "e": 2}, ["a"]))
        ['a', 'b', 'c']
    """
    found: set[str] = set()
    left = list(names)
    while left:
        name = left.pop()
        if name in config and name not in found:
            found.add(name)
            left += re.findall(r"@(\w+)", json.dumps(config[name]))
    return found


def targets(configs: Mapping[str, Any]) -> set[str]:
    """Return the classes and functions of ``common`` that configs name."""
    return {f"common{name}" for name in TARGET.findall(json.dumps(configs))}


def trained_settings(inference: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of weights that differ from those of inference, such as the size of slices.

    Args:
        inference: ``inference.yaml``.
        record: of the weights, ``model.json``.
    """
    settings: Mapping[str, Any] = record.get("settings", {})
    return {key: value for key, value in settings.items() if key in inference and inference[key] != value}


def packaged(bundle: str, configs: Mapping[str, dict[str, Any]], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return configs as they are packaged, by name without suffix.

    Args:
        bundle: its name.
        configs: see ``read_configs``.
        settings: of the weights; they replace those of ``train`` and ``inference``.
    """
    names = "|".join(configs)

    def relocated(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: relocated(each) for key, each in value.items()}
        if isinstance(value, list):
            return [relocated(each) for each in value]
        if isinstance(value, str):
            return relocated_text(bundle, names, TARGET.sub(r"scripts\1", value))
        return value

    made = {}
    for name, config in configs.items():
        if "imports" in config:  # what a training finds out for itself stays a component there
            plain = [key for key in settings if key in config and not isinstance(config[key], dict)]
            config = {**config, **{key: settings[key] for key in plain}}
        config = relocated(config)
        if "bundle_root" in config:
            config["bundle_root"] = "."
        if "imports" in config:
            config["imports"] = [*config["imports"], "$import sys"]
        if "initialize" in config:  # MONAI puts a bundle on the path only once it runs
            config["initialize"] = [FIND_SCRIPTS, *config["initialize"]]
        if name == "train":
            config["train"]["handlers"] = [_as_component(handler) for handler in config["train"]["handlers"]]
        made[name] = config
    return made


def _as_component(handler: str | dict[str, Any]) -> dict[str, Any]:
    """Return an item of the list of handlers as a component: MONAI Label reads the ``_target_`` of each.

    ``%train::checkpoint`` becomes a call that returns ``@train::checkpoint``, so that overlays can still switch it.
    """
    return {"_target_": f"$lambda: @{handler.removeprefix('%')}"} if isinstance(handler, str) else handler


def relocated_text(bundle: str, names: str, text: str) -> str:
    """Replace the paths of the repository's configs in a text by those of the package's.

    Args:
        bundle: its name.
        names: of its configs, ``train|evaluate``.
        text: a setting, or a page of its docs.
    """
    text = text.replace(f"bundles/{bundle}/", "").replace("bundles/", "../")
    return re.sub(rf"(?<![\w-])({names})\.yaml\b", r"\1.json", text)
