"""The command ``python -m common.lungs``."""

from ..run.command import run_command
from .command import main

run_command(main)
