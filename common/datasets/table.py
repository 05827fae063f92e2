"""Your own cases, listed in a table (CSV) or in MONAI's datalist (JSON)."""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ..files import make_names_unique
from ..settings import check_names
from ..spreadsheets import file_below, read_rows, read_table
from ..statistics import counted
from .guards import listed
from .listing import list_files, stem
from .walk import Found

logger = logging.getLogger(__name__)

Case = dict[str, Any]
NONE = "none"  # of --datalist
COLUMNS = ("image", "mask", "lung", "patient", "set", "label", "intensity", "picture_axes", "source")
OWN_INPUTS = ("lung", "intensity", "picture_axes")  # columns that inference on CT reads, besides image
TABLES = (".csv", ".json")
# Columns of other programs, and what they are called here
SYNONYMS = {
    **dict.fromkeys(("subject", "subject_id", "patient name", "patientname", "pid"), "patient"),
    **dict.fromkeys(("split", "fold", "subset", "partition"), "set"),
    **dict.fromkeys(("lung mask", "lung_mask", "lungmask", "lungs"), "lung"),
    **dict.fromkeys(("segmentation", "seg", "annotation", "ground truth", "ground_truth"), "mask"),
    **dict.fromkeys(("scan", "file", "path", "ct"), "image"),
    **dict.fromkeys(("class", "diagnosis"), "label"),
}
ALIKE = 0.8  # of difflib: a column that is as near to a known one is a typing error
SETS = {
    **dict.fromkeys(("training", "train"), "training"),
    **dict.fromkeys(("validation", "valid", "val"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
ADVICE = "docs/own-data.md describes the table."


class Row(NamedTuple):
    """One case of a table: where it stands, such as ``line 4``, and its cells by column."""

    where: str
    cells: dict[str, str]


def own_cases(path: str | Path, label: str, classes: Mapping[str, Any] | None = None) -> list[Case]:
    """List the cases of a table: ``cases.csv``, or MONAI's datalist as JSON.

    Args:
        path: the table, with the columns image, mask, lung, patient, set, label, intensity, picture_axes and source, of
            which only image is always needed. Paths are relative to the table. In MONAI's JSON ``label`` is the mask.
        label: ``mask``: cases need a mask; ``class``: a class; ``either``: a class or else a mask.
        classes: value of each class by its name in the table, in small letters.

    Returns:
        Dicts with ``image``, ``label`` (path of the mask, or value of the class), ``case``, ``patient`` (None if the
        table names none), ``source``; and ``lung``, ``set`` (training, validation, test, or the number of a fold),
        ``intensity`` and ``picture_axes`` where the table gives them. Rows without a label are left out by name.

    Raises:
        FileNotFoundError: when there is no such table.
        ValueError: naming every row that cannot be used, or a column that is probably mistyped.

    Example:
        >>> cases = own_cases("cases.csv", "mask")
        >>> cases[0]["image"], cases[0]["label"]
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No such table: {path}. Give a CSV or JSON file with --datalist. {ADVICE}")
    rows = _rows(path)
    problems: list[str] = []
    cases: list[Case] = []
    bare: list[str] = []
    lines: dict[Path, str] = {}
    for where, cells in rows:
        case, wrong = _case(path, cells, label, classes or {})
        if "image" in case and (earlier := lines.setdefault(case["image"].resolve(), where)) != where:
            wrong.append(f"image {cells['image']} is listed already in {earlier}")
        problems += [f"{where}: {each}" for each in wrong]
        if not wrong and "label" not in case:
            bare.append(f"{cells['image']} ({where})")
        elif not wrong:
            cases.append({**case, "where": where, "kind": "folder"})
    problems += _wrong_sets(cases)
    if problems:
        place = path.parent or "."
        raise ValueError(
            f"{path}: {counted(len(problems), 'mistakes')}; paths are relative to {place}:{listed(problems)}\n{ADVICE}"
        )
    if bare:
        what = {"mask": "mask", "class": "label", "either": "label and no mask"}[label]
        logger.info("%s: %d rows have no %s and are left out: %s.", path, len(bare), what, ", ".join(bare))
    if not cases:
        raise ValueError(f"{path}: no row can be used, of {len(rows)}. Each needs an image and a {label}. {ADVICE}")
    make_names_unique(cases)
    logger.info("%s: %s.", path, counted(len(cases), "cases"))
    return [{key: value for key, value in case.items() if key not in ("where", "kind")} for case in cases]


def list_inputs(root: Path) -> tuple[Found, dict[Path, Path]]:
    """List the files for inference: below a folder, or those that the column image of a table names.

    Args:
        root: a folder, one file, or a table (``.csv``, or MONAI's datalist as ``.json``). Of CT, ``own_inputs`` reads
            further columns.

    Returns:
        As ``common.datasets.listing.list_files``.

    Raises:
        FileNotFoundError: when there is no such folder.
        ValueError: naming every row whose image is not found.
    """
    if not root.is_file() or root.suffix.lower() not in TABLES:
        return list_files(root)
    found = Found()
    places: dict[Path, Path] = {}
    problems: list[str] = []
    for where, cells in _rows(root):
        name = cells["image"]
        place = file_below(root.parent, name)
        if not name or not place.exists():
            problems.append(f"{where}: image {name}: no such file" if name else f"{where}: the column image is empty")
            continue
        one, inside = list_files(place)
        folder = place.parent if place.is_file() else place
        above = folder.relative_to(root.parent) if folder.is_relative_to(root.parent) else Path(folder.name)
        for kind, more in vars(one).items():
            getattr(found, kind).extend(more)
        places |= {path: above / name for path, name in inside.items()}
    if problems:
        raise ValueError(f"{root}: {counted(len(problems), 'mistakes')}:{listed(problems)}\n{ADVICE}")
    logger.info("%s: %s.", root, counted(len(found.files), "files"))
    return found, places


def own_inputs(root: Path) -> dict[Path, Case]:
    """What a table for inference says of its CT scans: ``lung`` (path of a mask), ``intensity``, ``picture_axes``.

    Args:
        root: as ``list_inputs`` takes it.

    Returns:
        By the path of the column image, a file or a folder; empty if ``root`` is no table.

    Raises:
        ValueError: naming every row whose cells cannot be used.
    """
    if not root.is_file() or root.suffix.lower() not in TABLES:
        return {}
    given: dict[Path, Case] = {}
    problems: list[str] = []
    for where, cells in _rows(root, told=True):
        read = {column: "" for column in COLUMNS} | {column: cells[column] for column in ("image", *OWN_INPUTS)}
        case, wrong = _case(root, read, "either", {})
        if not wrong and case["image"].resolve() in given:
            wrong = [f"image {cells['image']} is listed twice"]
        problems += [f"{where}: {each}" for each in wrong]
        if not wrong:
            given[case["image"].resolve()] = {column: case[column] for column in OWN_INPUTS if column in case}
    if problems:
        raise ValueError(f"{root}: {counted(len(problems), 'mistakes')}:{listed(problems)}\n{ADVICE}")
    return given


def patients_of(root: Path) -> dict[Path, str]:
    """Patients that a table for inference names, by the path of the column image; empty if ``root`` is no table."""
    if not root.is_file() or root.suffix.lower() not in TABLES:
        return {}
    rows = (cells for _, cells in _rows(root, told=False))
    return {file_below(root.parent, row["image"]).resolve(): row["patient"] for row in rows if row.get("patient")}


def given_table(datalist: str | Path, root: str | Path) -> bool:
    """Whether a table of cases is given.

    Raises:
        ValueError: when a folder is given as well, since one of them would be ignored.
    """
    if not datalist or str(datalist).lower() == NONE:
        return False
    if str(root) != "phantom":
        raise ValueError(
            f"Give the table with --datalist, or a public source with --dataset_dir, not both; got {datalist} and "
            f"{root}. Paths in a table are relative to the table."
        )
    return True


def read_label_map(given: Any, names: Sequence[str] = ()) -> dict[float, str]:
    """Read ``--label_map``: a mapping from values of masks to names of classes, or its text.

    Args:
        given: such as ``{1: ground-glass, 5: consolidation}``; empty for none.
        names: that it may hold; none allows all.

    Raises:
        ValueError: when it is no such mapping, or a name is unknown.

    Example:
        >>> read_label_map("{1: ground-glass, 5: consolidation}")
        {1.0: 'ground-glass', 5.0: 'consolidation'}
    """
    if not given:
        return {}
    try:
        if isinstance(given, str):  # the command line makes a mapping of it only if no name has a hyphen
            pairs = [tuple(pair.split(":")) for pair in given.strip("{} ").split(",")]
        else:
            pairs = list(given.items())
        values = {float(value): str(name).strip(" '\"") for value, name in pairs}
    except (AttributeError, TypeError, ValueError):
        example = '--label_map "{1: ground-glass, 5: consolidation}"'
        raise ValueError(f"--label_map maps values of masks to classes, as in {example}; got {given!r}.") from None
    if names:
        check_names("name", values.values(), names, "--label_map")
    return values


def with_options(cases: Sequence[Case], label_map: Mapping[float, str], resample_masks: bool) -> list[Case]:
    """Cases with what the readers of their masks need to know; those without masks in files are not changed."""
    options: Case = {**({"label_map": dict(label_map)} if label_map else {})}
    options |= {"resample_masks": True} if resample_masks else {}
    return [{**case, **options} for case in cases]


def _case(path: Path, cells: Mapping[str, str], kind: str, classes: Mapping[str, Any]) -> tuple[Case, list[str]]:
    """Return a case, and what is wrong with its row."""
    found: Case = {"patient": cells["patient"] or None, "source": cells["source"] or "table"}
    wrong = []
    mask, label = cells["mask"], cells["label"]
    if kind != "class" and not mask and label and label.lower() not in classes:
        mask, label = label, ""  # MONAI calls the mask label
    for column, name in (("image", cells["image"]), ("mask", mask), ("lung", cells["lung"])):
        if name and not (file := file_below(path.parent, name)).exists():
            wrong.append(f"{column} {name}: no such file")
        elif name:
            found["label" if column == "mask" else column] = file
        elif column == "image":
            wrong.append("the column image is empty")
    if kind == "class" or (kind == "either" and label):
        found.pop("label", None)
        if label.lower() in classes:
            found["label"] = classes[label.lower()]
        elif label:
            wrong.append(f"label must be one of {', '.join(classes)}, got {label!r}")
    if cells["set"]:
        found["set"] = SETS.get(cells["set"].lower(), cells["set"])
        if cells["set"].isdigit():
            found["set"] = int(cells["set"])
        elif found["set"] not in SETS.values():
            wrong.append(f"set must be training, validation, test or the number of a fold, got {cells['set']!r}")
    for column in ("intensity", "picture_axes"):
        found |= {column: cells[column]} if cells[column] else {}
    if "intensity" in found and found["intensity"] not in ("HU", "8bit"):
        wrong.append(f"intensity must be HU or 8bit, got {found['intensity']!r}")
    place = PurePosixPath(cells["image"].replace("\\", "/"))
    is_file = found.get("image", Path()).is_file()  # else a folder of DICOM files
    found["case"] = (place.parent / (stem(place) if is_file else place.name)).as_posix().lstrip("/")
    return found, wrong


def _wrong_sets(cases: Sequence[Case]) -> list[str]:
    """Return what is wrong with the sets: patients in two of them, rows without one."""
    sides: dict[str, dict[Any, list[str]]] = {}
    for case in cases:
        if case["patient"] is not None:
            sides.setdefault(case["patient"], {}).setdefault(case.get("set"), []).append(case["where"])
    wrong = []
    for patient, places in sides.items():
        if len(places) > 1:
            where = " and ".join(
                f"{'no set' if name is None else name} ({', '.join(at)})" for name, at in places.items()
            )
            wrong.append(f"patient {patient} must be in one set, is in {where}")
    named = {case["set"] for case in cases if "set" in case}
    blank = [case["where"] for case in cases if "set" not in case]
    if blank and named - {"test"}:
        wrong.append(f"{', '.join(blank)}: the column set is empty, although other rows have training or a fold")
    return wrong


def _rows(path: Path, told: bool = False) -> list[Row]:
    """Rows of a table; ``told``: its columns that are not read have been logged before."""
    return _json_rows(path, told) if path.suffix.lower() == ".json" else _csv_rows(path, told)


def _check_columns(path: Path, columns: Sequence[str], told: bool) -> None:
    """Log columns that are not read, unless told; ValueError for one that is probably mistyped."""
    other = [name for name in columns if name and name.strip().lower() not in COLUMNS]
    for name in other:
        near = difflib.get_close_matches(name.strip().lower(), COLUMNS, n=1, cutoff=ALIKE)
        near = [SYNONYMS[name.strip().lower()]] if name.strip().lower() in SYNONYMS else near
        if near and near[0] not in [each.strip().lower() for each in columns]:
            raise ValueError(
                f"{path}: there is no column {name!r}. Did you mean {near[0]}? Rename it, or remove it. Columns: "
                f"{', '.join(COLUMNS)}."
            )
    if other and not told:
        logger.info("%s: columns that are not read: %s.", path, ", ".join(other))


def _csv_rows(path: Path, told: bool) -> list[Row]:
    heading = read_rows(path, COLUMNS)[:1]
    _check_columns(path, heading[0][1] if heading else [], told)
    return [Row(f"line {line}", cells) for line, cells in read_table(path, ("image",), COLUMNS[1:])]


def _json_rows(path: Path, told: bool) -> list[Row]:
    """Rows of MONAI's datalist: lists of cases under training, validation and test, or one list."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{path}: cannot be read as JSON: {error}. {ADVICE}") from error
    if isinstance(content, list):
        content = {"cases": content}
    lists = {name: entries for name, entries in content.items() if name.lower() in SETS or name == "cases"}
    if not lists or not all(isinstance(entries, list) for entries in lists.values()):
        raise ValueError(f"{path}: needs a list of cases under training, validation or test, got {', '.join(content)}.")
    divided = any(SETS.get(name.lower()) == "validation" for name in lists)
    rows = []
    for name, entries in lists.items():
        for position, entry in enumerate(entries):
            given = {"image": entry} if isinstance(entry, str) else dict(entry)
            where = f"{name}[{position}]"
            nested = [key for key, value in given.items() if key in COLUMNS and isinstance(value, (list, dict))]
            if nested:
                raise ValueError(f"{path}, {where}: {nested[0]} must be one value, got several. Save them as one file.")
            section, fold = SETS.get(name.lower(), ""), given.pop("fold", "")
            side = section if section == "test" or (divided and fold == "") else str(fold)
            if position == 0:
                _check_columns(path, list(given), told)
            cells = {key.strip().lower(): "" if value is None else str(value) for key, value in given.items()}
            rows.append(Row(where, {**dict.fromkeys(COLUMNS, ""), "set": str(side), **cells}))
    return rows
