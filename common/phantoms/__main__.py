"""Write a figure of phantoms: ``python -m common.phantoms --output phantoms.png``."""

from __future__ import annotations

from collections.abc import Sequence

from ..run.command import Parser, run_command
from .ct.figure import draw_ct_phantoms
from .ultrasound.figure import draw_ultrasound_phantoms


def main(arguments: Sequence[str]) -> int:
    """Read the command line and write the figure; returns the exit code."""
    parser = Parser(prog="python -m common.phantoms", description="Write a figure of synthetic phantoms.")
    parser.add_argument("--output", required=True, help="PNG file to write")
    parser.add_argument("--kind", choices=("ct", "ultrasound"), default="ct", help="default: %(default)s")
    parser.add_argument("--patients", type=int, help="number of patients, for --kind ct only (default: 6)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first patient (default: %(default)s)")
    own = parser.parse_args(arguments)
    if own.kind == "ct":
        patients = 6 if own.patients is None else own.patients
        print(draw_ct_phantoms(own.output, patients, own.seed))
    elif own.patients is not None:
        parser.error("--patients is for --kind ct only: the ultrasound figure shows one patient. Leave it out.")
    else:
        print(draw_ultrasound_phantoms(own.output, own.seed))
    return 0


if __name__ == "__main__":
    run_command(main)
