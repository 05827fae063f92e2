"""The command ``python -m common.view``."""

import sys

from ..run.errors import report_error
from .command import main

sys.excepthook = report_error
sys.exit(main(sys.argv[1:]))
