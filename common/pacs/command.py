"""A PACS over DICOMweb: list studies, fetch series, send objects, infer a study, watch for new ones."""

from __future__ import annotations

import logging
import re
import sys
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from monai.bundle import ConfigParser

from ..readers.dicom_volume import GAPS
from ..readers.sniff import is_dicom
from ..report.dicom.save import OUTPUTS
from ..run.command import Parser
from ..run.errors import NothingToDo
from ..settings import as_list, check_names
from ..tables import aligned
from .server import Server
from .study import infer_study
from .watch import watch

BUNDLES = ("ct_drsegunet", "ct_transfer_unet", "ct_weak_gan", "mosmed_encoders")


def _parse(arguments: Sequence[str]) -> Namespace:
    parser = Parser(prog="python -m common.pacs", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)
    for name, words in (
        ("list", "studies that match"),
        ("fetch", "fetch the series of a study into a folder"),
        ("send", "store DICOM files"),
        ("infer", "segment a study and store the results"),
        ("watch", "do the same for each study that matches, and for those that arrive"),
    ):
        command = commands.add_parser(name, help=words, description=words)
        add = command.add_argument
        add("--server", required=True, help="DICOMweb service, such as http://127.0.0.1:8042/dicom-web")
        add("--ca", default="", help="file of certificates to trust")
        if name in ("list", "watch"):
            add("--modality", default="CT", help="in the study (default: %(default)s)")
            add("--description", default="*", help="of the study, a pattern such as '*chest*'")
            add("--date", default="", help="of the study, such as 20200101-20200131")
        if name in ("fetch", "infer"):
            add("--study", required=True, help="StudyInstanceUID")
        if name == "fetch":
            add("--series", default="", help="SeriesInstanceUID (default: all)")
            add("--output_dir", required=True, help="folder; each series becomes a folder in it")
        if name == "send":
            add("paths", nargs="+", help="files, or folders of them")
        if name in ("infer", "watch"):
            add("--bundle", required=True, help=f"one of {', '.join(BUNDLES)}, or the folder of one")
            add("--weights", default="", help="of the bundle (default: those that it comes with)")
            add("--gaps", choices=GAPS, default="refuse", help="missing slices (default: %(default)s)")
            add("--outputs", default="[seg,sr]", help="some of seg, sr, overlay (default: %(default)s)")
        if name == "watch":
            add("--log", default="pacs.jsonl", help="receives a line of JSON for each study (default: %(default)s)")
            add("--every", type=float, default=60.0, help="seconds between polls (default: %(default)s)")
            add("--polls", type=int, help="number of polls (default: until SIGTERM)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Args:
        arguments: without the program's name.

    Returns:
        Exit code.
    """
    own = _parse(arguments)
    _check(own)
    logging.basicConfig(stream=sys.stdout, format="%(asctime)s  %(message)s", datefmt="%H:%M:%S", level=logging.INFO)
    server = Server(own.server, own.ca)
    if own.command == "list":
        rows = [list(row.values()) for row in server.studies(*_query(own))]
        print(aligned(["study", "date", "modalities", "description", "objects"], rows))
    elif own.command == "fetch":
        found = server.series(own.study)
        wanted = [each for each in found if own.series in ("", each["series"])]
        if not wanted:
            check_names("series", [own.series], [each["series"] for each in found])
        for each in wanted:
            files = server.fetch(own.study, each["series"], Path(own.output_dir), each["instances"])
            print(f"{each['modality']} {each['description']!r}: {len(files)} objects in {files[0].parent}")
    elif own.command == "send":
        given = [Path(path) for path in own.paths]
        lacking = [str(path) for path in given if not path.exists()]
        if lacking:
            raise FileNotFoundError(f"{', '.join(lacking)} does not exist. Give DICOM files, or folders of them.")
        files = [file for path in given for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
        paths = [file for file in files if file.is_file() and is_dicom(file)]
        if not paths:
            raise NothingToDo(f"{', '.join(own.paths)} holds no DICOM file. Give DICOM files, or folders of them.")
        stored = server.send(paths)
        print(f"{len(stored)} of {len(paths)} objects stored; the others were there.")
    else:
        do = partial(infer_study, server, bundle=_bundle(own.bundle), outputs=_outputs(own), settings=_settings(own))
        if own.command == "infer":
            done = do(own.study)
            print(f"Study {own.study}: {len(done['objects'])} objects stored, {done['there']} were there before.")
        else:
            logging.info("Watching %s; SIGTERM ends it after the study at hand. Journal: %s", server.url, own.log)
            done_now = watch(partial(server.studies, *_query(own)), do, Path(own.log), own.every, own.polls)
            print(f"Studies done: {done_now}. {own.log} has a line for each study that was tried.")
    return 0


def _check(own: Namespace) -> None:
    """Refuse UIDs and dates that are none, and bundles that make no DICOM objects, before a server is asked."""
    for name in ("study", "series"):
        value = getattr(own, name, "")
        if value and not re.fullmatch(r"[0-9.]{1,64}", value):
            raise ValueError(f"--{name} must be a UID such as 1.2.840.113619.2, got {value!r}.")
    if getattr(own, "date", "") and not re.fullmatch(r"\d{8}|\d{8}-|-\d{8}|\d{8}-\d{8}", own.date):
        raise ValueError(f"--date must be a day or a range such as 20200101-20200131, got {own.date!r}.")
    if hasattr(own, "bundle"):
        _bundle(own.bundle)


def _query(own: Namespace) -> tuple[dict[str, str], str]:
    query = {"ModalitiesInStudy": own.modality, "StudyDate": own.date}
    return {name: value for name, value in query.items() if value}, own.description


def _bundle(name: str) -> Path:
    folder = Path(name) if (Path(name) / "configs" / "inference.yaml").is_file() else Path("bundles") / name
    if not (folder / "configs" / "inference.yaml").is_file():
        check_names("bundle", [name], BUNDLES)
        raise FileNotFoundError(
            f"{folder} does not exist. Run from the repository's root, or give the bundle's folder."
        )
    if "outputs" not in ConfigParser.load_config_file(str(folder / "configs" / "inference.yaml")):
        raise ValueError(f"{folder} is no CT bundle: it makes no DICOM objects. Give one of {', '.join(BUNDLES)}.")
    return folder


def _outputs(own: Namespace) -> list[str]:
    outputs = as_list(own.outputs)
    check_names("output", outputs, OUTPUTS[1:])
    return [str(each) for each in outputs]


def _settings(own: Namespace) -> dict[str, str]:
    return {"gaps": own.gaps, **({"weights": own.weights} if own.weights else {})}
