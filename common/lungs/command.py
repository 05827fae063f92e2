"""Trains the lung network, and compares its masks with those by threshold.

``python -m common.lungs train --output lungs.pt`` trains on synthetic patients, and on your scans if you give some.
``python -m common.lungs compare --output_dir out`` measures both methods on synthetic patients that it was not trained
on, or on your scans with masks of their lungs, or of their lesions.
"""

from __future__ import annotations

import logging
import shlex
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from ..costs import gflop
from ..lung_network.architecture import SIZE
from ..lung_network.segment import lung_network
from ..phantoms.folders import check_count
from ..run.command import Parser
from ..run.model_record import read_record, save_weights
from ..run.record import git_commit
from .cases import PHANTOMS, add_options, cases, slices_of
from .comparison import compare
from .phantoms import phantom_slices
from .training import train

logger = logging.getLogger(__name__)


def _training_options(arguments: Sequence[str]) -> Namespace:
    parser = Parser(prog="python -m common.lungs train", description="Trains the lung network.")
    add = parser.add_argument
    add("--output", required=True, help="file of the weights, such as lungs.pt; its record is written beside it")
    add("--patients", type=int, default=300, help="synthetic patients (default: %(default)s)")
    add("--slices", type=int, default=8, help="slices of each (default: %(default)s)")
    add("--views", type=int, default=16000, help="random views to train on (default: %(default)s)")
    add("--seed", type=int, default=0, help="of patients, weights and views (default: %(default)s)")
    add("--start", default="", help="weights to train further (default: random ones)")
    add("--consolidation", type=float, default=0.5, help="share of patients with large ones (default: %(default)s)")
    add("--healthy", type=float, default=0.0, help="share of patients without lesions (default: %(default)s)")
    add("--no_amp", action="store_true", help="float32, where bfloat16 is the default if the processor has it")
    add("--dataset_dir", default="", help="folder of scans in HU to train on, too, with --lung_masks")
    add("--share", type=float, default=0.15, help="of the views, of these scans (default: %(default)s)")
    add_options(parser)
    return parser.parse_args(arguments)


def _comparing_options(arguments: Sequence[str]) -> Namespace:
    parser = Parser(prog="python -m common.lungs compare", description="Compares the lung by network and by threshold.")
    add = parser.add_argument
    add("--output_dir", required=True, help="folder of the tables and the figure")
    add("--dataset_dir", default=PHANTOMS[0], help="a folder, phantom or phantom_various (default: %(default)s)")
    add("--patients", type=int, default=20, help="synthetic patients (default: %(default)s)")
    add("--slices", type=int, default=24, help="slices of each (default: %(default)s)")
    add_options(parser)
    return parser.parse_args(arguments)


def _train(own: Namespace, arguments: Sequence[str]) -> None:
    for name in ("patients", "slices", "views"):
        check_count(f"--{name}", getattr(own, name))
    for name in ("consolidation", "healthy"):
        if not 0 <= getattr(own, name) <= 1:
            raise ValueError(f"--{name} must be 0 to 1, got {getattr(own, name)}.")
    if not 0 < own.share < 1:
        raise ValueError(f"--share must be above 0 and below 1, got {own.share}.")
    items = phantom_slices(own.patients, own.slices, own.seed, own.consolidation, own.healthy)
    chances = [1.0 / len(items)] * len(items)
    if own.dataset_dir:
        real = [item for case in cases(own.dataset_dir, own) for item in slices_of(case)]
        chances = [(1 - own.share) / len(items)] * len(items) + [own.share / len(real)] * len(real)
        items += real
    start = lung_network(Path(own.start)) if own.start else None
    network = train(items, chances, own.views, not own.no_amp, own.seed, start)
    settings = {
        name: getattr(own, name) for name in ("patients", "slices", "views", "seed", "consolidation", "healthy")
    }
    record = {
        "format": 1,
        "command": f"python -m common.lungs train {shlex.join(arguments)}",
        "commit": git_commit(),
        "parameters": sum(values.numel() for values in network.parameters()),
        "gflop_per_slice": round(gflop(network, (1, 1, SIZE, SIZE)), 3),
        "settings": settings | ({"share": own.share} if own.dataset_dir else {}),
        "start": read_record(own.start) if own.start else "none",
    }
    save_weights({name: values.half() for name, values in network.state_dict().items()}, Path(own.output), record)
    print(f"Written: {own.output}, {record['parameters']} parameters, {record['gflop_per_slice']} GFLOP per slice")


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Args:
        arguments: without the program's name.

    Returns:
        Exit code.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    step, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if step == "train":
        _train(_training_options(rest), rest)
    elif step == "compare":
        own = _comparing_options(rest)
        compare(cases(own.dataset_dir, own, own.patients, own.slices), Path(own.output_dir))
    else:
        raise ValueError(f"Say train or compare, such as python -m common.lungs compare --help; got {step!r}.")
    return 0
