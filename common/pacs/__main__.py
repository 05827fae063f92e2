"""``python -m common.pacs --server URL --bundle NAME --study UID``, or ``--watch``."""

from ..run.command import run_command
from .command import main

if __name__ == "__main__":
    run_command(main, "Run the same command again: what is stored is not stored twice.")
