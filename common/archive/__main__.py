"""``python -m common.archive``."""

from ..run.command import run_command
from .command import main

if __name__ == "__main__":
    run_command(main, "The same command continues with the studies that are left.")
