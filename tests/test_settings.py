"""Checks of settings name the mistake, the place and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.settings import check_keys, check_list, check_names, check_options, check_same, is_number

DEFAULTS = {
    "epochs": 30,
    "amp": False,
    "size": [512, 512],
    "grey_window": [0, 1],
    "device": "$cpu",
    "train": {"trainer": {}},
}


def test_an_unknown_name_is_refused_with_the_nearest_and_all_others() -> None:
    check_names("variant", ["dense"], ["dense", "sparse"])
    with pytest.raises(ValueError, match=r"^table 1: there is no variant 'dens'\. Did you mean dense\? Variants: "):
        check_names("variant", ["dens"], ["dense", "sparse"], where="table 1")
    with pytest.raises(ValueError, match=r"^There is no key False\. Keys: name\.$"):
        check_names("key", [False], ["name"])


def test_keys_are_complete_and_known() -> None:
    entry = {"name": "a", "title": "b"}
    assert check_keys(entry, "table", ["name"], ["title"]) is entry
    with pytest.raises(ValueError, match=r"^table: there is no key 'titel'\. Did you mean title\? Keys: name, title"):
        check_keys({"name": "a", "titel": "b"}, "table", ["name"], ["title"])
    with pytest.raises(ValueError, match=r"^table needs name, columns; columns is missing, got"):
        check_keys(entry, "table", ["name", "columns"], ["title"])
    with pytest.raises(ValueError, match=r"^table must be a mapping \(name: value\), got \['name'\]"):
        check_keys(["name"], "table", ["name"])


def test_lists_have_a_least_length() -> None:
    assert check_list([], "sheets", "entries", least=0) == []
    for value in ([], "train.yaml"):
        with pytest.raises(ValueError, match=r"^steps must be a list of configs such as \[train\.yaml\], got"):
            check_list(value, "steps", "configs such as [train.yaml]")


@pytest.mark.parametrize(
    "options",
    [
        {"grey_window": "modes"},
        {"epochs": 3},
        {"epochs": "$@fold"},
        {"size": (1, 2)},
        {"device": 3},
        {"train::trainer::max_epochs": "x"},
        {},
    ],
)
def test_options_of_the_defaults_type_are_accepted(options: dict[str, Any]) -> None:
    check_options(options, DEFAULTS, list(DEFAULTS), where="")


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"epoch": 3}, r"^There is no setting 'epoch'\. Did you mean --epochs\? Settings: epochs, amp\.$"),
        ({"epochs": True}, r"^--epochs must be a number such as 30, got True\.$"),
        ({"amp": 1}, r"^--amp must be True or False, in this spelling, got 1\.$"),
        ({"grey_window": "mode"}, r'^--grey_window must be a list such as "\[0, 1\]" or modes, got \'mode\'\.$'),
        ({"size": 3}, r'^--size must be a list such as "\[512, 512\]", got 3\.$'),
        ({"trian#trainer": 3}, r"^There is no setting 'trian'\. Did you mean --train\?"),
    ],
)
def test_other_options_are_refused(options: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        check_options(options, DEFAULTS, ["epochs", "amp"], where="")


def test_a_folder_holds_runs_with_the_same_settings() -> None:
    check_same({"a": 1}, {"a": 1}, Path("out"), "an experiment", "remove it")
    rule = r"out holds an experiment with other settings: a was 1, now 2; b was not set, now 3\. Give .* remove it\.$"
    with pytest.raises(ValueError, match=rule):
        check_same({"a": 1}, {"a": 2, "b": 3}, Path("out"), "an experiment", "remove it")


def test_true_is_no_number() -> None:
    assert [is_number(value) for value in (1, 0.5, True, "1", None)] == [True, True, False, False, False]
