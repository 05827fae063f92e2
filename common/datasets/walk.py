"""All files of a folder tree, with a reason for each that is left out before it is opened."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

# Files and folders that operating systems, network drives and programs put beside a user's own
SYSTEM_FOLDERS = ("@eadir", "__macosx", "#recycle", "$recycle.bin", "system volume information", "lost+found")
SYSTEM_FILES = ("thumbs.db", "desktop.ini", "autorun.inf", "icon\r", "~$*", ".~lock.*", "._*", ".*")
OUTPUTS = (  # what inference writes, see docs/inference.md
    *("*_mask.nii.gz", "*_mask.png", "*_overlay.png", "*_overlay.mp4", "*_heatmap.nii.gz", "*_heatmap.png"),
    *("*_heat.nii.gz", "*_heat.png", "*_normal.nii.gz", "*_normal.png", "*_view.png", "*.vti", "*.csv", "*.json"),
    *("*_uncertainty.nii.gz", "*_uncertainty.png", "*_probability_*.nii.gz", "*_probability_*.png"),
    *("*_probabilities.npz", "*_probabilities/*"),
    *("severity.png", "audit.png", "follow_up.png", "report.html", "*_masks/*", "labels.ctbl", "labels_itksnap.txt"),
)
MASK_NAMES = ("mask", "seg", "segmentation", "label", "labels", "lung", "lungs", "lesion", "lesions", "infection")
UNKNOWN = "unknown format"
NAMED = 12  # kinds in the line that ends a listing


@dataclass
class Found:
    """Files of a tree.

    Args:
        files: to be looked at, sorted.
        broken: links that lead nowhere.
        omitted: files that are no scans, with the reason.
    """

    files: list[Path] = field(default_factory=list)
    broken: list[Path] = field(default_factory=list)
    omitted: list[tuple[Path, str]] = field(default_factory=list)


def walk(root: str | Path) -> Found:
    """List the files below a folder, links to folders followed once.

    System files (``._*``, ``@eaDir``, ``Thumbs.db``, ...) and the outputs of earlier runs are omitted: a folder with
    ``run.json`` of this collection's inference holds results.

    Args:
        root: a folder, or one file.

    Example:
        >>> found = walk("/data/scans")
        >>> len(found.files), found.omitted[:3]
    """
    root = Path(root)
    if not root.is_dir():
        return Found([root])
    found = Found()
    seen: set[tuple[int, int]] = set()
    runs: list[Path] = []  # folders in which an earlier run has written
    for folder, names in _folders(root, seen):
        if is_output_folder(folder):
            runs.append(folder)
        written = any(folder.is_relative_to(run) for run in runs)
        for name in names:
            path = folder / name
            if path.is_symlink() and not path.exists():
                found.broken.append(path)
            elif path.is_dir():
                continue
            elif any(fnmatch(name.lower(), pattern) for pattern in SYSTEM_FILES):
                found.omitted.append((path, "system file"))
            elif written and is_output(path):
                found.omitted.append((path, "output of an earlier run"))
            else:
                found.files.append(path)
    found.files.sort()
    return found


def _folders(folder: Path, seen: set[tuple[int, int]]) -> Iterator[tuple[Path, list[str]]]:
    """Each folder of a tree with its names, none twice; system folders are not entered."""
    try:
        status = folder.stat()
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise PermissionError(f"{folder} cannot be listed: {error.strerror}. Make it readable, or move it.") from error
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    yield folder, names
    for name in names:
        path = folder / name
        if path.is_dir() and name.lower() not in SYSTEM_FOLDERS and not name.startswith("."):
            yield from _folders(path, seen)


def is_output_folder(folder: Path) -> bool:
    """Whether a run of this collection has written to a folder: its ``run.json`` says so."""
    for record in (folder / "run.json", folder / "run_auditing.json"):
        try:
            content = json.loads(record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(content, dict) and "monai.bundle" in str(content.get("command")):
            return True
    return False


def is_output(path: Path) -> bool:
    """Whether a file is named as inference names its outputs."""
    return any(
        fnmatch(path.name, pattern) or fnmatch(f"{path.parent.name}/{path.name}", pattern) for pattern in OUTPUTS
    )


def is_mask_beside(stem: str, stems: set[str]) -> bool:
    """Whether a file is named as the mask of another one: ``a_mask`` beside ``a``."""
    for separator in ("_", "-", "."):
        base, found, word = stem.rpartition(separator)
        if found and word.lower() in MASK_NAMES and base in stems:
            return True
    return False


def kind_in_words(path: Path) -> str:
    """What a file is called in the line that ends a listing: its suffix, or that it has none."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if suffixes[-2:] and suffixes[-1] == ".gz" and len(suffixes) > 1:
        return "".join(suffixes).lstrip(".")
    return path.suffix.lower().lstrip(".") or "without suffix"


def summary(omitted: Sequence[tuple[Path, str]]) -> str:
    """One line on the files that were not read: ``5 files not read: 3 tif, 1 zip, 1 scout``."""
    if not omitted:
        return ""
    kinds = Counter(kind_in_words(path) if reason == UNKNOWN else reason for path, reason in omitted)
    parts = [f"{count} {kind}" for kind, count in kinds.most_common(NAMED)]
    rest = len(kinds) - NAMED
    more = f", and {rest} other kinds" if rest > 0 else ""
    return f"{len(omitted)} file{'' if len(omitted) == 1 else 's'} not read: {', '.join(parts)}{more}."


def names(files: Iterable[Path], most: int = 4) -> str:
    """The first names of files, for a message."""
    listed = [path.name for path in files]
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")
