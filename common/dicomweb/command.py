"""A DICOMweb server: list studies, fetch their series, send objects."""

from __future__ import annotations

import argparse
import re
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from ..readers.sniff import is_dicom
from ..run.command import Parser
from ..run.errors import NothingToDo
from ..settings import check_names
from ..tables import aligned
from .server import Server, is_uid

DATES = r"\d{8}|\d{8}-|-\d{8}|\d{8}-\d{8}"


def add_server(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Add the options that name a server."""
    parser.add_argument("--server", required=required, help="DICOMweb service, such as http://127.0.0.1:8042/dicom-web")
    parser.add_argument("--ca", default="", help="file of certificates to trust (default: the system's)")


def add_query(parser: argparse.ArgumentParser, modality: str = "CT") -> None:
    """Add the options that choose studies; an empty ``modality`` is that of the bundle."""
    shown = modality or "that of the bundle"
    parser.add_argument("--modality", default=modality, help=f"in the study (default: {shown})")
    parser.add_argument("--description", default="*", help="of the study, a pattern such as '*chest*'")
    parser.add_argument("--date", default="", help="of the study, such as 20200101-20200131")


def query_of(own: Namespace) -> tuple[dict[str, str], str]:
    """What ``Server.studies`` takes, from the options of ``add_query``."""
    query = {"ModalitiesInStudy": own.modality, "StudyDate": own.date}
    return {name: value for name, value in query.items() if value}, own.description


def check_values(own: Namespace) -> None:
    """Refuse UIDs and dates that are none, before a server is asked.

    Raises:
        ValueError: naming the option.
    """
    for name in ("study", "series"):
        value = getattr(own, name, "")
        if value and not is_uid(value):
            raise ValueError(f"--{name} must be a UID such as 1.2.840.113619.2, got {value!r}.")
    date = getattr(own, "date", "")
    if date and not re.fullmatch(DATES, date):
        raise ValueError(f"--date must be a day or a range such as 20200101-20200131, got {date!r}.")


def _parse(arguments: Sequence[str]) -> Namespace:
    parser = Parser(prog="python -m common.dicomweb", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)
    for name, words in (
        ("list", "studies that match"),
        ("fetch", "fetch the series of a study into a folder"),
        ("send", "store DICOM files"),
    ):
        command = commands.add_parser(name, help=words, description=words)
        add_server(command)
        if name == "list":
            add_query(command)
        elif name == "fetch":
            command.add_argument("--study", required=True, help="StudyInstanceUID")
            command.add_argument("--series", default="", help="SeriesInstanceUID (default: all)")
            command.add_argument("--output_dir", required=True, help="folder; each series becomes a folder in it")
        else:
            command.add_argument("paths", nargs="+", help="files, or folders of them")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Args:
        arguments: without the program's name.

    Returns:
        Exit code.
    """
    own = _parse(arguments)
    check_values(own)
    server = Server(own.server, own.ca)
    if own.command == "list":
        rows = [list(row.values()) for row in server.studies(*query_of(own))]
        print(aligned(["study", "date", "modalities", "description", "objects"], rows))
    elif own.command == "fetch":
        found = server.series(own.study)
        wanted = [each for each in found if own.series in ("", each["series"])]
        if not wanted:
            check_names("series", [own.series], [each["series"] for each in found])
        for each in wanted:
            files = server.fetch(own.study, each["series"], Path(own.output_dir), each["instances"])
            print(f"{each['modality']} {each['description']!r}: {len(files)} objects in {files[0].parent}")
    else:
        paths = _dicom_files([Path(path) for path in own.paths])
        print(f"{len(server.send(paths))} of {len(paths)} objects stored; the others were there.")
    return 0


def _dicom_files(given: Sequence[Path]) -> list[Path]:
    """The DICOM files among files and folders."""
    lacking = [str(path) for path in given if not path.exists()]
    if lacking:
        raise FileNotFoundError(f"{', '.join(lacking)} does not exist. Give DICOM files, or folders of them.")
    files = [file for path in given for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    found = [file for file in files if file.is_file() and is_dicom(file)]
    if not found:
        raise NothingToDo(f"{', '.join(map(str, given))} holds no DICOM file. Give DICOM files, or folders of them.")
    return found
