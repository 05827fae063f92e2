"""Write a figure of phantoms: ``python -m common.phantoms --output phantoms.png``."""

from __future__ import annotations

import argparse

from .ct.figure import draw_ct_phantoms
from .ultrasound.figure import draw_ultrasound_phantoms


def main() -> None:
    """Read the command line and write the figure."""
    parser = argparse.ArgumentParser(
        prog="python -m common.phantoms", description="Write a figure of synthetic phantoms."
    )
    parser.add_argument("--output", required=True, help="PNG file to write")
    parser.add_argument("--kind", choices=("ct", "ultrasound"), default="ct", help="default: %(default)s")
    parser.add_argument("--patients", type=int, help="number of patients, for --kind ct only (default: 6)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first patient (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.kind == "ct":
        patients = 6 if arguments.patients is None else arguments.patients
        print(draw_ct_phantoms(arguments.output, patients, arguments.seed))
    elif arguments.patients is not None:
        parser.error("--patients is for --kind ct only: the ultrasound figure shows one patient. Leave it out.")
    else:
        print(draw_ultrasound_phantoms(arguments.output, arguments.seed))


if __name__ == "__main__":
    main()
