"""Options on the command line and overlays: which settings exist, and whether their values fit."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..settings import check_names, check_options
from .config_content import config_content
from .ranges import check_ranges

RUNNER_ARGUMENTS = (  # of ``python -m monai.bundle run``, not of a config
    *("run_id", "init_id", "final_id", "meta_file", "config_file", "logging_file", "tracking", "args_file"),
    *("workflow_type", "workflow", "properties_path"),
)
TRACKING = ("experiment_name", "run_name", "tracking_uri", "save_execute_config")  # MONAI's settings of MLflow
STEPS = ("imports", "initialize", "run", "training", "evaluating", "inference", "finalize")
ASKED_FOR = ("post_transforms", "adjust")  # by MONAI Label and by apply_record, though no config refers to them
NOT_RUN = ("imports", "initialize", "finalize")  # lists of expressions that are no step of their own
REFERENCE = re.compile(r"[@%]([A-Za-z_]\w*(?:(?:::|#)\w+)*)")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d+")  # YAML reads one without point or sign as text


def check_overrides(arguments: list[str], config: Mapping[str, Any]) -> None:
    """Refuse settings, overlays and steps that MONAI would accept silently and without effect, or only fail on later.

    Args:
        arguments: of the command line, ``--id value`` or ``--id=value``.
        config: as it is about to run, overrides included.

    Raises:
        ValueError: for a setting or a step that no config file has, a value of another type than the file's or out of
            range, an overlay of another bundle, or a number that YAML reads as text.
    """
    files = option_value(arguments, "config_file")
    if files is None:
        return
    names = config_files(files)
    check_one_bundle(names)
    check_overlays(names)
    given = given_options(arguments)
    allowed = (*RUNNER_ARGUMENTS, *(TRACKING if option_value(arguments, "tracking") else ()))
    check_settings({name: config.get(name) for name in given if name not in allowed}, names)
    known = config_content(*names)
    check_use([name for name in given if "::" in name or "#" in name], known, _references([known]), "")
    check_ranges(config)
    check_names(
        "step", [run_id(arguments)], list(steps_of(known)), where=" with ".join(Path(each).name for each in names)
    )


def check_settings(settings: Mapping[str, Any], files: Sequence[str], where: str = "") -> None:
    """Refuse settings that config files do not have, and values of another type than the files'.

    Args:
        settings: overrides by id.
        files: config files, merged as MONAI merges them.
        where: place of the mistake for the message; empty for the command line.

    Raises:
        ValueError: for an unknown setting, or a value of another type.
    """
    known = config_content(*files)
    check_options(settings, known, _plain(known), where)


def _plain(config: Mapping[str, Any]) -> list[str]:
    """The names of settings with a plain value, which messages list."""
    return [key for key, value in config.items() if not isinstance(value, dict) and key not in STEPS]


def check_overlays(files: Sequence[str]) -> None:
    """Check each overlay against the files before it, as the command line is checked.

    An overlay may add steps, arguments of components, and whatever something refers to.

    Args:
        files: config files in their order; the first one is no overlay.

    Raises:
        ValueError: for a setting that nothing uses, a value of another type than before, or a number as text.
    """
    contents = [config_content(file) for file in files]
    named = _references(contents)
    known: dict[str, Any] = {}
    for position, (file, content) in enumerate(zip(files, contents, strict=True)):
        for name, text in _numbers_as_text(content):
            if not isinstance(known.get(name.split("::")[0]), str):
                raise ValueError(
                    f"{file}: {name} is the text {text!r}, which YAML reads as no number. Write {_as_yaml(text)}."
                )
        if known:
            steps = {*ASKED_FOR, *NOT_RUN, *steps_of({**known, **content})}
            names = [name for name in content if name.lstrip("+") not in steps]
            check_use(names, known, named, file, _purpose(file))
            check_options({name: value for name, value in content.items() if name in known}, known, [], file)
        known = config_content(*files[: position + 1])


def _purpose(file: str) -> str:
    """Which files a config is an overlay of, if its first line says so."""
    first = Path(file).read_text(encoding="utf-8").partition("\n")[0].strip("# ")
    below = first.removeprefix("Overlay of ").partition(": ")[0]
    return f" The file is an overlay of {below}: give these before it." if below != first else ""


def check_use(
    names: Sequence[str], known: Mapping[str, Any], named: Collection[str], where: str, hint: str = ""
) -> None:
    """Refuse ids that a config does not have and that nothing refers to, with the nearest one that it has.

    The arguments of a component may be new, because the component itself refuses those that it does not take.

    Args:
        names: ids, such as ``size`` or ``train::augmentation``.
        known: content of the config files.
        named: ids that anything refers to.
        where: place of the mistake for the message; empty for the command line.
        hint: end of the message.

    Raises:
        ValueError: for the first id that nothing uses.
    """
    for name in names:
        parts = name.lstrip("+").replace("#", "::").split("::")
        level: Any = known
        for part in parts[:-1]:
            level = level.get(part) if isinstance(level, dict) else None
        above = ["::".join(parts[:length]) for length in range(1, len(parts))]
        is_used = "::".join(parts) in _with_parents(named) or any(each in named for each in above)
        if isinstance(level, dict) and "_target_" not in level and not is_used:
            place = ": ".join(filter(None, [where, "::".join(parts[:-1])]))
            start = "" if where else "--"
            prefix = start + "".join(f"{part}::" for part in parts[:-1])
            listed = _plain(level) if len(parts) == 1 else list(level)
            try:
                check_names("setting", parts[-1:], level, place, prefix=prefix, listed=listed)
            except ValueError as error:
                raise ValueError(f"{error}{hint}") from None


def _references(contents: Sequence[Mapping[str, Any]]) -> set[str]:
    """The ids that configs refer to."""
    return {match.replace("#", "::") for match in REFERENCE.findall(json.dumps(list(contents), default=str))}


def _with_parents(names: Collection[str]) -> set[str]:
    """Ids, and the ids that each lies in."""
    parts = [name.split("::") for name in names]
    return {"::".join(each[:length]) for each in parts for length in range(1, len(each) + 1)}


def _is_step(value: Any) -> bool:
    """Whether a value is run: a list of components and expressions."""
    parts = value if isinstance(value, list) else []
    return any(isinstance(part, dict) or str(part).startswith(("$", "@")) for part in parts)


def steps_of(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield the steps that a config can run, such as ``training``."""
    for name, value in config.items():
        name = name.lstrip("+")
        if name in NOT_RUN:
            continue
        alias = str(value)[1:] if isinstance(value, str) and value.startswith("@") else ""
        if _is_step(config.get(alias, value)) and (name in STEPS or name not in _with_parents(_references([config]))):
            yield name


def _numbers_as_text(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the id and the text of each value that is written as a number but read as text."""
    if isinstance(value, str) and NUMBER.fullmatch(value.strip()):
        yield name, value
    elif isinstance(value, (dict, list)):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _numbers_as_text(part, f"{name}::{key}" if name else str(key))


def _as_yaml(text: str) -> str:
    """A number as YAML reads it: with a point, and a sign before the exponent."""
    digits, exponent = text.strip().lower().split("e")
    return f"{digits if '.' in digits else digits + '.0'}e{exponent if exponent[0] in '+-' else '+' + exponent}"


def check_one_bundle(files: Sequence[str]) -> None:
    """Refuse an overlay that belongs to another bundle than the first file.

    Args:
        files: config files in their order. A file of the user's own may lie anywhere.

    Raises:
        ValueError: naming both bundles.
    """
    first = Path(files[0]).resolve().parent
    for file in files[1:]:
        folder = Path(file).resolve().parent
        if folder != first and (folder / "metadata.json").is_file() and (first / "metadata.json").is_file():
            raise ValueError(
                f"{file} belongs to the bundle {folder.parent.name}, {files[0]} to {first.parent.name}. Give files of "
                "one bundle."
            )


def given_options(arguments: Sequence[str]) -> list[str]:
    """Names of the options on the command line, as they are given."""
    return [argument.split("=")[0][2:] for argument in arguments if argument.startswith("--")]


def option_value(arguments: list[str], name: str) -> str | None:
    """Value of ``--name`` on the command line; None if it is not given."""
    for position, argument in enumerate(arguments):
        if argument == f"--{name}" and position + 1 < len(arguments):
            return arguments[position + 1]
        if argument.startswith(f"--{name}="):
            return argument.split("=", 1)[1]
    return None


def run_id(arguments: list[str]) -> str:
    """The step that a command runs, such as ``training`` in ``run training --config_file ...``."""
    positional = arguments[1:2] if arguments[:1] == ["run"] else []
    if positional and not positional[0].startswith("-"):
        return positional[0]
    return option_value(arguments, "run_id") or "run"


def config_files(files: str) -> list[str]:
    """The config files of a command. MONAI takes one file or a list written as Python does."""
    return [file.strip().strip("'\"") for file in files.strip("[]").split(",")]
