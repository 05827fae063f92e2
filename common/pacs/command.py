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
from ..run.bundle_folder import bundle_folder, inference_config, modality_of, read_metadata
from ..run.command import Parser
from ..settings import as_list, check_names
from .study import infer_study
from .watch import watch

OUTPUTS = {"CT": ("seg", "sr", "overlay"), "US": ("overlay", "sr")}  # by modality
DEFAULTS = {"CT": ["seg", "sr"], "US": ["overlay"]}


def _parse(arguments: Sequence[str]) -> Namespace:
    parser = Parser(prog="python -m common.pacs", description=__doc__)
    add = parser.add_argument
    add_server(parser)
    add("--bundle", required=True, help="name of a bundle, such as ct_drsegunet, or its folder")
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
    bundle = bundle_folder(own.bundle)
    if "outputs" not in ConfigParser.load_config_file(str(inference_config(bundle))):
        raise ValueError(f"{bundle} makes no DICOM objects: its inference config has no outputs. Give another bundle.")
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
