"""The command ``python -m common.reproduce``."""

from ..run.command import run_command
from .command import main

run_command(main, stopped="The same command continues from here.")
