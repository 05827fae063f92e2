"""Checks of settings: keys of a YAML file, options of a command line, and the settings of an earlier run."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

WORDS = {"grey_window": ("modes",)}  # that a setting may be in place of a value of its type


def check_names(
    kind: str,
    names: Iterable[Any],
    known: Collection[str],
    where: str = "",
    prefix: str = "",
    listed: Collection[str] | None = None,
) -> None:
    """Refuse names that do not exist, with the nearest one as a suggestion.

    Args:
        kind: what is named, such as ``variant``.
        names: to check.
        known: the names that exist.
        where: place of the mistake for the message, such as ``table table_1``.
        prefix: of names in the message, such as ``--``.
        listed: names that the message lists; by default all that exist.

    Raises:
        ValueError: for the first name that does not exist.

    Example:
        >>> check_names("setting", ["epoch"], ["epochs", "fold"], prefix="--")
        Traceback (most recent call last):
        ValueError: There is no setting 'epoch'. Did you mean --epochs? Settings: epochs, fold.
    """
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(str(name), list(map(str, known)), n=1)
            hint = f" Did you mean {prefix}{close[0]}?" if close else ""
            start = f"{where}: there" if where else "There"
            every = ", ".join(map(str, known if listed is None else listed))
            raise ValueError(f"{start} is no {kind} {name!r}.{hint} {kind.capitalize()}s: {every}.")


def chosen(setting: str, value: Any, choices: Mapping[str, Any]) -> Any:
    """What a setting stands for.

    Args:
        setting: its name, for the message.
        value: as given.
        choices: what each value stands for.

    Raises:
        ValueError: for another value.

    Example:
        >>> chosen("best", "accuracy", {"mean_iou": "val_foreground_iou", "accuracy": "val_accuracy"})
        'val_accuracy'
    """
    if value not in choices:
        raise ValueError(f"--{setting} is one of {', '.join(choices)}, got {value!r}.")
    return choices[value]


def as_list(value: Any) -> list[Any]:
    """One value or several, as a list; ``[a,b]`` is a list as a command line without inner quotes gives it.

    Example:
        >>> as_list("[fold0/model.pt, fold1/model.pt]"), as_list("model.pt"), as_list(["a.pt"])
        (['fold0/model.pt', 'fold1/model.pt'], ['model.pt'], ['a.pt'])
    """
    if isinstance(value, str) and value.startswith("[") and value.endswith("]"):
        return [name.strip(" '\"") for name in value[1:-1].split(",")]
    return list(value) if isinstance(value, (list, tuple)) else [value]


def check_mapping(value: Any, where: str) -> dict[Any, Any]:
    """The value itself if it is a mapping.

    Raises:
        ValueError: if it is not.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be a mapping (name: value), got {value!r}.")
    return value


def check_keys(value: Any, where: str, needed: Collection[str], optional: Collection[str] = ()) -> dict[str, Any]:
    """The value itself if it is a mapping with the needed keys and no unknown ones.

    Raises:
        ValueError: if it is not.

    Example:
        >>> check_keys({"name": "table_1", "colums": {}}, "table table_1", ["name", "columns"])
        Traceback (most recent call last):
        ValueError: table table_1: there is no key 'colums'. Did you mean columns? Keys: name, columns.
    """
    content = check_mapping(value, where)
    check_names("key", content, [*needed, *optional], where)
    if missing := [key for key in needed if key not in content]:
        raise ValueError(f"{where} needs {', '.join(needed)}; {', '.join(missing)} is missing, got {value!r}.")
    return content


def check_list(value: Any, where: str, entries: str, least: int = 1) -> Sequence[Any]:
    """The value itself if it is a list.

    Args:
        value: to check.
        where: its name in the message.
        entries: what the list holds, such as ``config files such as [train.yaml]``.
        least: minimum number of entries.

    Raises:
        ValueError: if it is no list, or too short.
    """
    if not isinstance(value, (list, tuple)) or len(value) < least:
        raise ValueError(f"{where} must be a list of {entries}, got {value!r}.")
    return value


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a number; True and False are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_expression(value: Any) -> bool:
    """Whether a setting is MONAI's expression or reference, whose value is known only when the config runs."""
    return isinstance(value, str) and value.startswith(("$", "@", "%"))


def check_options(options: Mapping[str, Any], defaults: Mapping[str, Any], listed: Collection[str], where: str) -> None:
    """Refuse options that a config does not have, and values of another type than the config's.

    Args:
        options: by id, such as ``epochs`` or ``train::trainer::max_epochs``; the type of nested ones is not checked.
        defaults: content of the config files.
        listed: options that the message about an unknown one lists.
        where: place of the mistake for the message; empty for the command line.

    Raises:
        ValueError: for an unknown option, or a value of another type.
    """
    for name, value in options.items():
        top = name.replace("#", "::").split("::")[0]
        check_names("setting", [top], defaults, where, prefix="--", listed=listed)
        if name == top and _is_component(defaults[top]) and not (isinstance(value, dict) or is_expression(value)):
            hint = " Give a table of cases with --dataset_dir." if top == "datalist" else ""
            raise ValueError(f"{f'{where}: ' if where else '--'}{top} is a component here, got {value!r}.{hint}")
        expected = _expected(defaults[top], value)
        words = WORDS.get(top, ())
        if name == top and expected and value not in words:
            expected = " or ".join((expected, *words))
            raise ValueError(f"{f'{where}: ' if where else '--'}{top} must be {expected}, got {value!r}.")


def _is_component(default: Any) -> bool:
    """Whether a setting is built from a class or function."""
    return isinstance(default, dict) and "_target_" in default


def _expected(default: Any, value: Any) -> str:
    """What a value must be, or nothing if it has the type of the default, or is known only when the config runs."""
    if is_expression(value) or isinstance(value, dict):
        return ""
    if isinstance(default, bool):
        return "" if isinstance(value, bool) else "True or False, in this spelling"
    if is_number(default):
        return "" if is_number(value) else f"a number such as {default}"
    if isinstance(default, list):
        return "" if isinstance(value, (list, tuple)) else f'a list such as "{default}"'
    return ""


def check_same(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path, content: str, remedy: str) -> None:
    """Refuse to mix runs with different settings in one folder.

    Args:
        before: settings that the folder was started with.
        now: settings of this run.
        folder: for the message.
        content: what the folder holds, such as ``an experiment``.
        remedy: what to do, besides giving the same settings.

    Raises:
        ValueError: naming the settings that differ.
    """
    differing = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    if differing:
        values = ((key, before.get(key, "not set"), now.get(key, "not set")) for key in differing)
        changes = "; ".join(f"{key} was {old}, now {new}" for key, old, new in values)
        raise ValueError(
            f"{folder} holds {content} with other settings: {changes}. Give the same ones, or another --output_dir, "
            f"or {remedy}."
        )
