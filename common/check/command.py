"""Looks at every case of a table before a training does: files, values, grids, intensities, copies, patients, sets.

``python -m common.datasets.check cases.csv --bundle ct_drsegunet`` prints what is in the sets and what is wrong, and
draws eight cases with their masks. Options of the training may follow, such as ``--label_map`` and ``--size``.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from fire.parser import DefaultParseValue

from ..datasets.guards import Failed, try_each
from ..report.comparison import draw_comparison
from ..report.styles import class_styles
from ..run.bundle_folder import bundle_folder
from ..run.command import Parser
from ..run.errors import MISTAKE, origin, ours
from ..run.progress import progress
from ..tables import aligned
from .bundle import BundleReader, Looked

SHOWN = 8  # cases in the picture
ANY = "in no set"
ONE = "1 of 1 cases cannot be used:\n  "  # what a dataset of one case says before the reason


class Finding(NamedTuple):
    """What is wrong with a case, or with the table, and what to do."""

    case: str
    message: str


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Args:
        arguments: without the program's name.

    Returns:
        Exit code: 0, or 1 if anything is wrong.

    Raises:
        FileNotFoundError, ValueError: for a bundle or an option that does not exist.
    """
    parser = Parser(prog="python -m common.datasets.check", description=__doc__)
    parser.add_argument("table", help="cases.csv, or MONAI's datalist as JSON")
    parser.add_argument("--bundle", required=True, help="name of the bundle, such as ct_drsegunet, or its folder")
    parser.add_argument("--picture", default="check.png", help="picture of the cases to write (default: %(default)s)")
    own, rest = parser.parse_known_args(arguments)
    reader = BundleReader(bundle_folder(own.bundle), {"datalist": own.table, **_options(parser, rest)})
    logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.INFO, force=True)
    try:
        cases = reader.part("source_cases")
    except Exception as error:
        return _report([Finding(own.table, _text(error))])
    results = try_each(reader.look, cases, lambda case: case)
    bar = progress(results, desc="Checking", total=len(cases), unit="case")
    looked = {str(case["case"]): result for case, result in zip(cases, bar, strict=True)}
    findings = [Finding(name, each.message) for name, each in looked.items() if isinstance(each, Failed)]
    findings = [Finding(name, message.split(ONE)[-1]) for name, message in findings]
    good = {name: each for name, each in looked.items() if not isinstance(each, Failed)}
    findings += copies(cases, good)
    sets: dict[str, str] = {}
    if not findings:
        try:
            divided = reader.part("cases")
            sets = {str(case["image"]): name for name, members in divided.items() for case in members}
        except Exception as error:
            findings.append(Finding(own.table, _text(error)))
    print(f"\n{contents(cases, good, sets)}")
    if good:
        draw(own.picture, reader, list(good.values()))
        print(f"\nWritten: {own.picture}")
    return _report(findings)


def copies(cases: Sequence[Mapping[str, Any]], looked: Mapping[str, Looked]) -> list[Finding]:
    """Cases whose images are the same, voxel by voxel, under other names."""
    first: dict[str, Mapping[str, Any]] = {}
    found = []
    for case in cases:
        name = str(case["case"])
        if name not in looked:
            continue
        earlier = first.setdefault(looked[name].content, case)
        if earlier is not case:
            found.append(
                Finding(
                    name,
                    f"its image is that of {earlier['case']}, voxel by voxel (patients {case['patient']} and "
                    f"{earlier['patient']}). Remove one of them, else training and test may hold the same image.",
                )
            )
    return found


def contents(cases: Sequence[Mapping[str, Any]], looked: Mapping[str, Looked], sets: Mapping[str, str]) -> str:
    """Table of the sets: cases, patients, slices or frames, and how many of them hold each class."""
    found = sorted({name for each in looked.values() for name in each.counts} - {"background"})
    names = [*(name for name in found if name != "lung"), *(name for name in found if name == "lung")]
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for case in cases:
        if str(case["case"]) in looked:
            side = case.get("set", ANY)
            groups.setdefault(
                sets.get(str(case["image"]), f"fold {side}" if isinstance(side, int) else side), []
            ).append(case)
    rows = []
    for group, members in groups.items():
        counts: Counter[str] = sum((looked[str(case["case"])].counts for case in members), Counter())
        planes = sum(looked[str(case["case"])].planes for case in members)
        patients = len({case["patient"] for case in members})
        rows.append([group, len(members), patients, planes, *(counts[name] for name in names)])
    words = ["with lung mask" if name == "lung" else f"with {name}" for name in names]
    heading = ["set", "cases", "patients", "slices or frames", *words]
    return aligned(heading, rows)


def draw(path: str, reader: BundleReader, looked: Sequence[Looked]) -> None:
    """Draw cases, spread over the table, each with the plane that holds most of the lesions."""
    places = np.unique(np.linspace(0, len(looked) - 1, min(SHOWN, len(looked))).round().astype(int))
    chosen = [looked[place] for place in places]
    styles = [] if reader.diagnoses else class_styles(reader.metadata, reader.names)
    values = np.array([*(style.value for style in styles), 0])
    planes = [each.best for each in chosen if each.best is not None]
    turned = [(image.T, classes.T) if reader.upright else (image, classes) for image, classes in planes]
    masks = [values[np.where(classes < len(styles), classes, -1)] for _, classes in turned]
    images = [image for image, _ in turned]
    draw_comparison(path, images, masks, {}, styles, [each.title for each in chosen], sides=not reader.upright)


def _report(findings: Sequence[Finding]) -> int:
    if not findings:
        print("\nNothing is wrong. Look at the picture, then train.")
        return 0
    print(f"\n{len(findings)} {'thing is' if len(findings) == 1 else 'things are'} wrong:\n")
    for case, message in findings:
        print(f"  {case}\n      {message}")
    return MISTAKE


def _text(error: Exception) -> str:
    """The message of a user's mistake.

    Raises:
        Exception: the error itself, if it is of another kind.
    """
    cause = origin(error)
    if not ours(cause):
        raise error
    return str(cause)


def _options(parser: Parser, rest: Sequence[str]) -> dict[str, Any]:
    """Options of the training, ``--name value`` or ``--name=value``, as numbers, lists or text."""
    words = [part for word in rest for part in (word.split("=", 1) if word.startswith("--") else [word])]
    names, values = words[::2], words[1::2]
    if len(names) != len(values) or not all(name.startswith("--") for name in names):
        parser.error(f"options of the training are pairs such as --size '[256,256]', got {' '.join(rest)}")
    return {name[2:]: DefaultParseValue(value) for name, value in zip(names, values, strict=True)}  # as MONAI does
