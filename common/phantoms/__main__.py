"""Writes a picture of phantoms: `python -m common.phantoms --output sheet.png`."""

from __future__ import annotations

import argparse

from .sheet import sheet


def main() -> None:
    """Reads the command line and writes the picture."""
    parser = argparse.ArgumentParser(prog="python -m common.phantoms", description="Draws synthetic chest CT phantoms.")
    parser.add_argument("--output", required=True, help="PNG file to write")
    parser.add_argument("--patients", type=int, default=6, help="number of patients (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="first patient (default: %(default)s)")
    arguments = parser.parse_args()
    print(sheet(arguments.output, arguments.patients, arguments.seed))


if __name__ == "__main__":
    main()
