"""The studies of an archive: entries of folders, a list of paths, or what a DICOMweb server finds."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from ..datasets.listing import stem
from ..datasets.walk import SYSTEM_FILES, SYSTEM_FOLDERS, is_mask_beside
from ..dicomweb.server import Server, is_uid

logger = logging.getLogger(__name__)

TABLES = (".csv", ".json", ".xlsx", ".txt", ".md", ".pdf")  # files beside studies that are none
JOURNAL = "journal.sqlite"  # of a folder of results, which is no study


@dataclass(frozen=True)
class Study:
    """A study of an archive.

    Args:
        name: unique in the archive, and the folder of its results.
        place: path of its folder or file; of a server, its address.
        root: folder that must be readable when the study is; empty for none.
        is_remote: whether it is fetched from a DICOMweb server, by its name, which is its UID.
    """

    name: str
    place: str
    root: str = ""
    is_remote: bool = False


def of_folders(roots: Sequence[str | Path], depth: int = 1, output_dir: str | Path = "") -> list[Study]:
    """The studies in folders: each folder and each file at a depth below a root, and each file above that depth.

    Left out are system files, masks beside scans, tables, and folders of results.

    Args:
        roots: folders; one that is a file is a study itself.
        depth: 1 for the entries of a root, 2 for those of its sub-folders.
        output_dir: of this run, which may lie in a root.

    Raises:
        FileNotFoundError: if there is no such folder.
        PermissionError: if a root cannot be listed.
        ValueError: if two roots have the same name.
    """
    found: list[Study] = []
    for each in map(Path, roots):
        root = each.absolute()
        if not root.exists():
            raise FileNotFoundError(f"No such folder: {each}. Give the folder of the studies.")
        if root.is_file():
            found.append(Study(_printable(root.name), str(root), str(root.parent)))
            continue
        try:
            paths = list(_entries(root, depth, Path(output_dir).absolute()))
        except OSError as error:
            raise PermissionError(f"{each} cannot be listed: {error.strerror}. Make it readable.") from error
        for path in paths:
            found.append(Study(_printable(f"{root.name}/{path.relative_to(root).as_posix()}"), str(path), str(root)))
    return _unique(found)


def of_list(path: str | Path) -> list[Study]:
    """The studies that a text file names: one path a line, relative to the file. Empty lines and ``#`` are left out.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    path = Path(path).absolute()
    if not path.is_file():
        raise FileNotFoundError(f"No such file: {path}. Give a text file with one path a line.")
    found = []
    for line in path.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        text = line.strip()
        if text and not text.startswith("#"):
            place = Path(os.path.normpath(path.parent / text))
            below = place.is_relative_to(path.parent)
            name = place.relative_to(path.parent) if below else place.relative_to(place.anchor)
            found.append(Study(_printable(name.as_posix()), str(place)))
    return _unique(found)


def of_server(server: Server, query: tuple[dict[str, str], str]) -> list[Study]:
    """The studies that a DICOMweb server finds; see ``common.dicomweb.command.query_of``."""
    uids = [str(each["study"]) for each in server.studies(*query)]
    return [Study(uid, server.url, is_remote=True) for uid in uids if is_uid(uid)]


def _entries(folder: Path, depth: int, output_dir: Path) -> Iterator[Path]:
    """Entries at a depth, and the files above it; a sub-folder that cannot be listed is one entry."""
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    files = [Path(entry.name) for entry in entries if not entry.is_dir()]
    stems = {stem(file) for file in files}
    omitted = 0
    for entry in entries:
        path, name = Path(entry.path), entry.name.lower()
        if entry.is_dir():
            if name in SYSTEM_FOLDERS or name.startswith(".") or path == output_dir or (path / JOURNAL).is_file():
                continue
            try:
                yield from [path] if depth == 1 else list(_entries(path, depth - 1, output_dir))
            except OSError:  # doing it will say why
                yield path
        elif any(fnmatch(name, pattern) for pattern in SYSTEM_FILES) or name.endswith(TABLES):
            omitted += 1
        elif is_mask_beside(stem(path), stems - {stem(path)}):
            omitted += 1
        else:
            yield path
    if omitted:
        logger.info("%s: %d files are no studies: tables, system files, masks beside scans.", folder, omitted)


def _printable(name: str) -> str:
    """A name that JSON and SQLite can hold; file names need not be UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _unique(studies: Iterable[Study]) -> list[Study]:
    """The studies, each place once.

    Raises:
        ValueError: if two places have the same name.
    """
    named: dict[str, Study] = {}
    for study in studies:
        other = named.setdefault(study.name, study)
        if other.place != study.place:
            raise ValueError(
                f"{other.place} and {study.place} would both be the study {study.name}. Give a list of paths with "
                "--list, or run each folder into its own --output_dir."
            )
    return list(named.values())
