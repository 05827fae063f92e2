"""The command ``python -m common.reproduce``."""

import sys

from ..run.errors import report_error
from .command import main

sys.excepthook = report_error
try:
    sys.exit(main(sys.argv[1:]))
except KeyboardInterrupt:
    sys.exit("\nStopped. The same command goes on from here.")
