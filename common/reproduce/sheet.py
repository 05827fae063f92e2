"""A paper's figure of chosen slices: image, ground truth, and the prediction of each variant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from ..files import reason
from ..report.comparison import draw_comparison
from ..report.styles import class_styles
from ..settings import check_list
from .items import check_entry, chosen_runs, found_files

SHARED = ("images", "truths", "titles")  # what the files of all variants have in common
ALL_RUNS = "all"
REMEDY = "Evaluate with ChosenSlices or PatientImages."


@dataclass(frozen=True)
class PaperSheet:
    """A sheet of slices, as a bundle's ``reproduce.yaml`` declares it.

    Args:
        name: name of the figure's file.
        title: line above the slices.
        variants: its rows below image and ground truth, in order.
        run: the run of each variant that is shown, such as ``fold0``; ``all``: the images of all runs side by side, of
            each patient the first.
        file: name of the file that ``common.handlers.chosen_slices.ChosenSlices``, ``LargestSlices`` or
            ``PatientImages`` writes in each run.
        classes: names of the classes in the masks: the first one is 1, the next 2 and so on.
        window: values that are drawn black and white; None takes each image's 1st and 99th percentile.
        own_truths: each variant has a ground truth of its own, drawn above its prediction.
        sides: mark the patient's right and left.
        ranked: numbers of the best, middle and worst slices to show, by the Dice of the first variant, all classes
            together; None shows all slices.
    """

    name: str
    title: str
    variants: Sequence[str]
    run: str
    file: str
    classes: Sequence[str]
    window: tuple[float, float] | None = None
    own_truths: bool = False
    sides: bool = True
    ranked: tuple[int, int, int] | None = None

    @property
    def shared(self) -> tuple[str, ...]:
        """What the files of all variants have in common."""
        return tuple(key for key in SHARED if key != "truths" or not self.own_truths)


def read_sheet(entry: Any, variants: Sequence[str], runs: Sequence[str]) -> PaperSheet:
    """Read one entry of ``sheets:``.

    Raises:
        ValueError: if a key, variant or run is missing or unknown, or a value has the wrong form.
    """
    maybe = ("title", "variants", "run", "slices", "window", "own_truths", "sides", "ranked")
    where = check_entry(entry, "sheet", ("name", "classes"), maybe)
    rows, run = chosen_runs(entry, variants, [*runs, ALL_RUNS], where)
    classes = entry["classes"]
    check_list(classes, f"{where}: classes", "names of the classes that the masks number from 1")
    title, file = str(entry.get("title", entry["name"])), str(entry.get("slices", "chosen_slices.npz"))
    window = _window(entry.get("window"), f"{where}: window")
    flags = {key: entry.get(key, default) for key, default in (("own_truths", False), ("sides", True))}
    if wrong := [key for key, value in flags.items() if not isinstance(value, bool)]:
        raise ValueError(f"{where}: {wrong[0]} is true or false, got {flags[wrong[0]]!r}.")
    ranked = entry.get("ranked")
    if ranked is not None:
        counts = check_list(ranked, f"{where}: ranked", "numbers of best, middle and worst slices such as [4, 4, 4]")
        if len(counts) != 3 or not all(type(count) is int and count >= 0 for count in counts) or not any(counts):
            raise ValueError(f"{where}: ranked is three numbers of slices, best, middle and worst, got {ranked!r}.")
        ranked = (counts[0], counts[1], counts[2])
    return PaperSheet(entry["name"], title, rows, run, file, classes, window, ranked=ranked, **flags)


def _window(value: Any, where: str) -> tuple[float, float] | None:
    if value is None:
        return None
    numbers = isinstance(value, list) and all(isinstance(number, (int, float)) for number in value)
    if not numbers or len(value) != 2 or not value[0] < value[1]:
        raise ValueError(f"{where} is [black, white], two increasing numbers, got {value!r}.")
    return value[0], value[1]


def write_sheet(
    path: Path,
    sheet: PaperSheet,
    files: Mapping[str, Sequence[Path | None]],
    metadata: Path,
    facts: Sequence[str],
) -> None:
    """Draw the slices, one per column.

    Args:
        path: PNG to write.
        sheet: the sheet to draw.
        files: slices of each variant in each run that is shown, as ``ChosenSlices`` writes them; None if a run is not
            done. Missing variants are named below the title.
        metadata: the bundle's ``metadata.json``, which holds value and colour of each class.
        facts: sentences on the data; the first is written below the title.

    Raises:
        FileNotFoundError: if no variant has its slices.
        ValueError: if a file cannot be read, its masks hold other numbers than the classes have, or its slices differ
            from those of the first variant.
    """
    runs = [dict(zip(sheet.variants, each, strict=True)) for each in zip(*map(files.get, sheet.variants), strict=True)]
    complete = [run for run in runs if all(file is not None and file.is_file() for file in run.values())]
    # Columns show all variants, so runs that lack one are left out, unless there are no others
    word = "all runs" if sheet.run == ALL_RUNS else sheet.run
    found = [found_files(sheet.name, word, run, sheet.file, REMEDY) for run in complete or runs[:1]]
    notes = list(found[0][1])
    if complete and len(complete) < len(runs):
        notes.append(f"INCOMPLETE: {len(complete)} of {len(runs)} runs.")
    contents = _together([{name: _read(file) for name, file in each.items()} for each, _ in found])
    first = next(iter(contents))
    for name, content in contents.items():
        differing = [key for key in sheet.shared if not np.array_equal(content[key], contents[first][key])]
        if differing:
            raise ValueError(
                f"{sheet.name}: {', '.join(differing)} of {name} ({found[0][0][name]}) differ from those of {first}. "
                "Run both on the same data, with the same seed."
            )
        highest = max(int(content[key].max(initial=0)) for key in ("truths", "predictions"))
        if highest > len(sheet.classes):
            known = f"{sheet.name}: classes names {len(sheet.classes)}"
            raise ValueError(
                f"{known}, the masks of {name} ({found[0][0][name]}) hold numbers up to {highest}. Name all classes of "
                "the masks, in their order."
            )
    if sheet.ranked:
        contents = _ranked(contents, sheet.ranked)
    styles = class_styles(metadata, sheet.classes)
    values = np.array([0, *(style.value for style in styles)], np.uint8)  # by number of the class
    rows: dict[str, list[np.ndarray]] = {}
    for name, content in contents.items():
        if sheet.own_truths:
            rows[f"{name}, ground truth"] = list(values[content["truths"]])
        rows[name] = list(values[content["predictions"]])
    draw_comparison(
        path,
        list(contents[first]["images"].astype(np.float32)),
        None if sheet.own_truths else list(values[contents[first]["truths"]]),
        rows,
        styles,
        contents[first]["titles"].tolist(),
        sides=sheet.sides,
        window=sheet.window,
        title=sheet.title,
        note=" ".join([*facts[:1], *notes]),
    )


def _together(runs: Sequence[Mapping[str, dict[str, np.ndarray]]]) -> dict[str, dict[str, np.ndarray]]:
    """The slices of all runs one after the other, by variant; of a patient who is in several runs, the first."""
    joined = {
        name: {key: np.concatenate([run[name][key] for run in runs]) for key in content}
        for name, content in runs[0].items()
    }
    for content in joined.values():
        if "patients" in content and len(runs) > 1:
            names = content["patients"].tolist()
            kept = [index for index, name in enumerate(names) if not name or name not in names[:index]]
            content.update({key: values[kept] for key, values in content.items()})
    return joined


def _ranked(contents: Mapping[str, dict[str, np.ndarray]], counts: Sequence[int]) -> dict[str, dict[str, np.ndarray]]:
    """The best, middle and worst slices of the first variant, with their Dice in the titles; each slice once."""
    first = next(iter(contents.values()))
    truths, found = (first[key].reshape(len(first["titles"]), -1) > 0 for key in ("truths", "predictions"))
    sizes = truths.sum(1) + found.sum(1)
    dice = np.where(sizes > 0, 2 * (truths & found).sum(1) / np.maximum(sizes, 1), 1.0)
    order, (best, middle, worst) = np.argsort(-dice, kind="stable"), counts
    start = max((len(order) - middle) // 2, best)
    chosen = dict.fromkeys([*order[:best], *order[start : start + middle], *order[max(len(order) - worst, 0) :]])
    kept = np.array([*chosen], int)
    picked = {name: {key: values[kept] for key, values in content.items()} for name, content in contents.items()}
    for content in picked.values():
        named = zip(content["titles"], dice[kept], strict=True)
        content["titles"] = np.array([f"{title.removesuffix(', slice 0')}: {score:.2f}" for title, score in named])
    return picked


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in (*SHARED, "predictions", *(["patients"] if "patients" in file else []))}
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise ValueError(f"{path} cannot be read: {reason(error)} Evaluate again.") from error
