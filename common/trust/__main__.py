"""``python -m common.trust fit|measure``."""

from ..run.command import run_command
from .command import main

if __name__ == "__main__":
    run_command(main)
