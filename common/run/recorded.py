"""Settings travel with weights: what the record of ``--weights`` or ``--pretrained`` says is set in the running config.

A config lists under ``recorded`` which of its settings the record keeps: ``fixed`` ones, which shape the network, its
input and its output; ``adjustable`` ones, which decide from its output; and those of the ``split``.

This happens in the first step of ``initialize``: until then MONAI has built nothing but that step's own arguments,
and ``ConfigParser`` forgets those as soon as a setting is changed.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from .config_content import config_content
from .model_record import read_record, record_path, weights_files
from .monai_command import given_arguments
from .overrides import config_files, given_options, option_value

logger = logging.getLogger(__name__)


def apply_record(config: ConfigParser, named: Iterable[str] = ()) -> bool:
    """Set what the record of the weights says in a config, before its components are built.

    With ``weights`` (inference, evaluation) the record's settings hold. A fixed one that was given otherwise is
    refused, and an adjustable one unless ``adjust`` is true; one of the split may be given otherwise. With
    ``pretrained`` (training) all may.

    Args:
        config: as it is about to run, with ``recorded``, and ``weights`` or ``pretrained``.
        named: settings that a user gave from Python.

    Returns:
        Whether a setting was changed.

    Raises:
        ValueError: for a setting that was given otherwise than the record says, or that these config files lack, for
            weights of other classes, for a record of other weights, and for members of an ensemble that differ.
    """
    groups: Mapping[str, list[str]] = config.get("recorded") or {}
    option = next((name for name in ("weights", "pretrained") if name in config), None)
    if option is None or not groups:
        return False
    value = config.get_parsed_content(option)
    if option == "pretrained" and value in (None, "none"):
        return False
    files = weights_files(value, f"--{option}", several=option == "weights")
    record = common_record(files)
    names = [name for group in groups.values() for name in group if name in config]
    # What a training computes from its data is not computed to be compared: None
    computed = {name for name in names if isinstance(config[name], dict) and "_target_" in config[name]}
    now = {name: None if name in computed else plain(config.get_parsed_content(name)) for name in names}
    if not record:
        _tell_assumed(
            files, {name: now[name] for name in groups["fixed"] if name in now and name not in computed}, option
        )
        return False
    kept = {**record.get("settings", {}), **(record.get("split", {}) if option == "weights" else {})}
    wanted = {name: value for name, value in kept.items() if name in now}
    differing = {name for name in wanted if wanted[name] != now[name] and not _same_weights(config, name, wanted, now)}
    if wanted.get("classes") not in (None, *(config.get("label_names") or {})):  # of another bundle
        if option == "weights":
            _check_classes(config, record, files[0])
        differing.discard("classes")
    given = differing & set(named)
    if differing:
        given |= given_settings(config, differing, training=option == "pretrained")
    if option == "weights":
        _check_given(config, groups, {name: (now[name], wanted[name]) for name in sorted(given)}, record_path(files[0]))
        lacking = {*groups["fixed"], *groups.get("adjustable", [])} & kept.keys() - now.keys()
        _check_lacking(config, {name: kept[name] for name in sorted(lacking)}, record_path(files[0]))
    applied = {name: wanted[name] for name in now if name in differing - given}
    for name, setting in applied.items():
        config[name] = setting
    config.parse(reset=True)
    if applied:
        logger.info("Settings of the weights: %s (%s).", described(applied), record_path(files[0]))
    for name in sorted(given):
        logger.warning("%s %s, as given; the weights were trained with %s.", name, now[name], wanted[name])
    if option == "weights":
        _check_classes(config, record, files[0])
        _tell_label_map(config, record)
    return bool(applied)


def _tell_label_map(config: ConfigParser, record: Mapping[str, Any]) -> None:
    """Warn when masks are read with another ``--label_map`` than in the training: right for other data only."""
    before, now = record.get("training", {}).get("label_map"), plain(config.get("label_map"))
    if before and now and str(before) != str(now):
        logger.warning("label_map %s, as given; the weights were trained with %s.", now, before)


def _check_given(
    config: ConfigParser, groups: Mapping[str, list[str]], given: Mapping[str, tuple[Any, Any]], record: Path
) -> None:
    """Refuse settings that were given otherwise than the record says: by name, the value given and the record's.

    Raises:
        ValueError: with both values.
    """
    may = [] if config.get("adjust") else groups.get("adjustable", [])
    refused = [name for name in given if name in groups["fixed"] or name in may]
    if not refused:
        return
    advice = "" if set(refused) & set(groups["fixed"]) else "; to use yours all the same, add --adjust True"
    raise ValueError(
        f"{', '.join(f'--{name} {given[name][0]}' for name in refused)}: {record} says that the weights were trained "
        f"with {described({name: given[name][1] for name in refused})}. Leave out "
        f"{', '.join(f'--{name}' for name in refused)}, or give other weights{advice}."
    )


def _check_lacking(config: ConfigParser, lacking: Mapping[str, Any], record: Path) -> None:
    """Refuse weights that were trained with settings that the running config does not have.

    Raises:
        ValueError: naming the overlays of the bundle that have them.
    """
    if not lacking:
        return
    own = Path(config.get_parsed_content("bundle_root")) / "configs"
    overlays = [file for file in sorted(own.glob("*.yaml")) if lacking.keys() <= config_content(file).keys()]
    names = " or ".join(str(file) for file in overlays if "inference" not in file.name)
    raise ValueError(
        f"{record} says that the weights were trained with {described(lacking)}, which these config files do not have. "
        f"Add {names or 'the overlay that has it'} to --config_file, as in the training."
    )


def common_record(files: Iterable[Path]) -> dict[str, Any]:
    """The record of weights, or of the members of an ensemble, which must agree; empty if there is none.

    Raises:
        ValueError: if members differ in a setting or in their classes, or only some of them have a record.
    """
    files = list(files)
    records = [read_record(file) for file in files]
    first = records[0]
    for file, record in zip(files, records, strict=True):
        if bool(record) != bool(first):
            missing = file if first else files[0]
            raise ValueError(
                f"The members of an ensemble must all have their record, but {missing} has no {record_path(missing)}. "
                "Copy it with the weights."
            )
        before, now = ({"classes": each.get("classes"), **each.get("settings", {})} for each in (first, record))
        for name in before:
            if now.get(name) != before[name]:
                raise ValueError(
                    f"The members of an ensemble must have the same settings, but {name} is {before[name]} in "
                    f"{record_path(files[0])} and {now.get(name)} in {record_path(file)}. Leave one of them out."
                )
    return first


def described(settings: Mapping[str, Any]) -> str:
    """Settings as the log says them: ``size [128, 128], network unet``."""
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def plain(value: Any) -> Any:
    """A setting as JSON holds it: tuples become lists."""
    return json.loads(json.dumps(value, default=str))


def given_settings(config: ConfigParser, names: Iterable[str], training: bool) -> set[str]:
    """Those of some settings that a user gave, by the command line, a config of their own, or from Python.

    A value that none of the bundle's configs states was given, too, by whatever way.

    Args:
        config: as it is about to run.
        names: settings that differ from the record.
        training: overlays of the bundle count as given: they are recipes, chosen to train with.
    """
    own = Path(config.get_parsed_content("bundle_root")) / "configs"
    given: set[str] = set()
    arguments = given_arguments()
    listed = option_value(arguments, "config_file")
    if listed is not None:
        given = set(given_options(arguments))
        for position, file in enumerate(config_files(listed)):
            if Path(file).resolve().parent != own.resolve() or (training and position > 0):
                given |= config_content(file).keys()
    stated = [config_content(file) for kind in ("*.yaml", "*.json") for file in sorted(own.glob(kind))]
    for name in names:
        if all(plain(each[name]) != plain(config[name]) for each in stated if name in each):
            given.add(name)
    return given & set(names)


def _same_weights(config: ConfigParser, name: str, wanted: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether two values of a setting take the same weights, or one takes any, as the config says."""
    alike, free = ((config.get(key) or {}).get(name, []) for key in ("same_weights", "any_weights"))
    return (wanted[name] in alike and now[name] in alike) or now[name] in free


def _check_classes(config: ConfigParser, record: Mapping[str, Any], file: Path) -> None:
    named = "diagnoses" if "diagnoses" in config else "names"
    classes, recorded = plain(config.get_parsed_content(named)), record.get("classes")
    if recorded and classes != recorded:
        raise ValueError(
            f"{file} holds weights of {record.get('bundle', 'another bundle')} for the classes {', '.join(recorded)}; "
            f"this config has {', '.join(classes)}. Give weights of this bundle."
        )


def _tell_assumed(files: list[Path], settings: Mapping[str, Any], option: str) -> None:
    """Warn that weights have no record, and what is assumed; missing files are reported when they are loaded."""
    if not files[0].is_file():
        return
    if option == "pretrained":
        logger.info("%s has no %s: what it was trained with is unknown.", files[0], record_path(files[0]).name)
        return
    logger.warning(
        "%s has no %s, so its settings are unknown. Assumed: %s. If it was trained with others, give them.",
        *(files[0], record_path(files[0]).name, described(settings)),
    )
