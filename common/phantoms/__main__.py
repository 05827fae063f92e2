"""Writes a picture of phantoms: `python -m common.phantoms --output sheet.png`."""

from __future__ import annotations

import argparse

from .ct.sheet import sheet
from .ultrasound.sheet import ultrasound_sheet


def main() -> None:
    """Reads the command line and writes the picture."""
    parser = argparse.ArgumentParser(prog="python -m common.phantoms", description="Draws synthetic phantoms.")
    parser.add_argument("--output", required=True, help="PNG file to write")
    parser.add_argument("--kind", choices=("ct", "ultrasound"), default="ct", help="default: %(default)s")
    parser.add_argument("--patients", type=int, help="number of patients of CT (default: 6)")
    parser.add_argument("--seed", type=int, default=0, help="first patient (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.kind == "ct":
        patients = 6 if arguments.patients is None else arguments.patients
        print(sheet(arguments.output, patients, arguments.seed))
    elif arguments.patients is not None:
        parser.error("--patients is for --kind ct only: the ultrasound sheet shows one patient. Leave it out.")
    else:
        print(ultrasound_sheet(arguments.output, arguments.seed))


if __name__ == "__main__":
    main()
