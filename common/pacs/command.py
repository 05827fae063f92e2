"""Runs a bundle on a study of a PACS and stores the results, or watches for studies to do so."""

from __future__ import annotations

import logging
import sys
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from monai.bundle import ConfigParser

from ..dicomweb.command import add_query, add_server, check_values, query_of
from ..dicomweb.server import Server
from ..readers.dicom_volume import GAPS
from ..run.bundle_metadata import modality_of, read_metadata
from ..run.command import Parser
from ..settings import as_list, check_names
from .study import infer_study
from .watch import watch

BUNDLES = (
    *("ct_drsegunet", "ct_transfer_unet", "ct_weak_gan", "mosmed_encoders"),
    *("us_dense_seg", "us_reverse_transfer"),
)
OUTPUTS = {"CT": ("seg", "sr", "overlay"), "US": ("overlay", "sr")}  # by modality
DEFAULTS = {"CT": ["seg", "sr"], "US": ["overlay"]}


def _parse(arguments: Sequence[str]) -> Namespace:
    parser = Parser(prog="python -m common.pacs", description=__doc__)
    add = parser.add_argument
    add_server(parser)
    add("--bundle", required=True, help=f"one of {', '.join(BUNDLES)}, or the folder of one")
    add("--study", default="", help="StudyInstanceUID of the study")
    add("--watch", action="store_true", help="take each study that matches, and those that arrive, until SIGTERM")
    add("--weights", default="", help="of the bundle (default: those that it comes with)")
    add("--gaps", choices=GAPS, default="refuse", help="missing slices (default: %(default)s)")
    add("--outputs", default="", help="some of seg, sr, overlay (default: seg and sr; of ultrasound, overlay)")
    add_query(parser, modality="")
    add("--log", default="pacs.jsonl", help="of --watch: a line of JSON for each study (default: %(default)s)")
    add("--every", type=float, default=60.0, help="of --watch: seconds between polls (default: %(default)s)")
    add("--polls", type=int, help="of --watch: number of polls (default: until SIGTERM)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Args:
        arguments: without the program's name.

    Returns:
        Exit code.

    Raises:
        ValueError: for options that cannot be used, and what the server does not do.
    """
    own = _parse(arguments)
    if bool(own.study) == own.watch:
        raise ValueError("Give --study with the UID of one study, or --watch for all that match.")
    check_values(own)
    bundle = _bundle(own.bundle)
    modality = modality_of(read_metadata(bundle))
    outputs = as_list(own.outputs) if own.outputs else DEFAULTS[modality]
    check_names("output", outputs, OUTPUTS[modality])
    own.modality = own.modality or modality
    settings = {"gaps": own.gaps, **({"weights": own.weights} if own.weights else {})}
    logging.basicConfig(stream=sys.stdout, format="%(asctime)s  %(message)s", datefmt="%H:%M:%S", level=logging.INFO)
    server = Server(own.server, own.ca)
    do = partial(infer_study, server, bundle=bundle, outputs=outputs, settings=settings)
    if own.watch:
        logging.info("Watching %s; SIGTERM ends it after the study at hand. Journal: %s", server.url, own.log)
        done_now = watch(partial(server.studies, *query_of(own)), do, Path(own.log), own.every, own.polls)
        print(f"Studies done: {done_now}. {own.log} has a line for each study that was tried.")
    else:
        done = do(own.study)
        print(f"Study {own.study}: {len(done['objects'])} objects stored, {done['there']} were there before.")
    return 0


def _bundle(name: str) -> Path:
    """The folder of a bundle that makes DICOM objects."""
    folder = Path(name) if (Path(name) / "configs" / "inference.yaml").is_file() else Path("bundles") / name
    if not (folder / "configs" / "inference.yaml").is_file():
        check_names("bundle", [name], BUNDLES)
        raise FileNotFoundError(
            f"{folder} does not exist. Run from the repository's root, or give the bundle's folder."
        )
    if "outputs" not in ConfigParser.load_config_file(str(folder / "configs" / "inference.yaml")):
        raise ValueError(f"{folder} makes no DICOM objects. Give one of {', '.join(BUNDLES)}.")
    return folder
